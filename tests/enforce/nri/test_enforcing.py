"""The plugin beside containerd 1.7 on the guest host: SELinux enforcing, cgroup v2, a sealed root, and a CRI call."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from stockade.lab.host import HostRun


@pytest.fixture(scope="module")
def found(guest: HostRun) -> dict[str, Any]:
    assert guest.enforcing == (True, True)
    assert guest["import"].status == 0, guest["import"].stderr
    asked = guest["asked"]
    assert asked.status == 0, (asked.stderr.decode()[-3000:], guest["plugin"].stderr, guest.containerd_log[-3000:])
    return dict(json.loads(asked.stdout))


def test_it_registers_with_containerd_s_own_socket(guest: HostRun, found: dict[str, Any]) -> None:
    assert 'registered as \\"90-stockade\\"' in guest.containerd_log
    assert found["events"][:3] == ["connected", "configured", "synchronized"]


def test_a_container_is_labelled_and_limited(found: dict[str, Any]) -> None:
    assert re.fullmatch(r"system_u:system_r:container_t:s0:c\d+,c\d+", found["label"])
    assert re.search(r"Max open files\s+65536\s+65536 ", found["limits"])
    assert (found["memory.max"], found["pids.max"]) == (str(2 << 30), "2048")
    assert found["after the update"] == str(2 << 30)


def test_what_nri_does_not_reach_the_hook_holds(found: dict[str, Any]) -> None:
    status = dict(re.findall(r"^(\w+):\t(.+)$", found["status"], re.MULTILINE))
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
    assert status["CapBnd"] == status["CapEff"] and int(status["CapBnd"], 16).bit_count() == 9
    assert "stockade: process.capabilities.bounding: has CAP_" in found["plain"]
    assert "stockade: process.noNewPrivileges: is absent, the type has True" in found["without no_new_privs"]
    assert "stockade: linux.maskedPaths: lacks /proc/acpi" in found["plain"]
    assert "stockade: linux.seccomp: is absent" in found["without seccomp"]


def test_the_host_s_network_is_refused_by_name(found: dict[str, Any]) -> None:
    assert "stockade: container type ordinary: no-host-namespaces" in found["host network"]


def test_the_policy_denies_the_plugin_nothing(guest: HostRun) -> None:
    assert guest["plugin"].denials == () and guest["plugin"].stderr == b""
