"""Launchers on the guest host: SELinux enforcing, cgroup v2, a sealed root, containerd 1.7, runc 1.1 and crun.

Every container asks for all capabilities, no filter, no limits and a root that it may write to.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from stockade.lab.host import HostRun
from stockade.model.names import CAPABILITIES

from tests.enforce.conftest import profile_of
from tests.enforce.guest import ATTEMPTS, CASES, TRIED

LINES = {"bounding": "CapBnd", "effective": "CapEff", "permitted": "CapPrm", "inheritable": "CapInh"}
SPACES = {"mount": "mnt", "network": "net"}


@pytest.fixture(scope="module")
def told(guest: HostRun) -> dict[str, Any]:
    launched = guest["launched"]
    assert guest.enforcing == (True, True)
    assert launched.status == 0, (launched.stderr.decode()[-3000:], guest.containerd_log[-3000:])
    return dict(json.loads(launched.stdout))


def label(kind: str) -> str:
    """What a container's process must have: the type of its profile, and the level that the runtime chose."""
    profile = profile_of(kind)
    level = "s0:c1,c2" if profile.level == "pair" else profile.own_range
    return ":".join([*profile.label[:3], level])


def judged(kind: str, output: str, *, less: bool = False) -> None:
    """Judge what the kernel said of a process: its status, context and limits, one after another.

    With `less` its limits may be below those of the type.
    """
    profile = profile_of(kind)
    (context,) = re.findall(r"^(\w+:\w+:\w+:\S+)\0", output, re.MULTILINE)
    assert context == label(kind)
    status = dict(re.findall(r"^(\w+):\t(.+)$", output, re.MULTILINE))
    for key, line in LINES.items():
        wanted = set() if key == "inheritable" else profile.capabilities[key]
        assert int(status[line], 16) == sum(1 << CAPABILITIES[name.removeprefix("CAP_")] for name in wanted), line
    assert int(status["CapAmb"], 16) == 0
    assert status["NoNewPrivs"] == str(int(profile.spec["process"]["noNewPrivileges"]))
    assert (status["Seccomp"], status["Seccomp_filters"]) == ("2", "1")
    names = {"RLIMIT_CORE": "core file size", "RLIMIT_NOFILE": "open files", "RLIMIT_NPROC": "processes"}
    for limit in profile.spec["process"]["rlimits"]:
        ((soft, hard),) = re.findall(rf"^Max {names[limit['type']]} +(\d+) +(\d+) ", output, re.MULTILINE)
        assert (int(soft), int(hard)) == (limit["soft"], limit["hard"]) or less
        assert int(soft) <= limit["soft"] and int(hard) <= limit["hard"]


@pytest.mark.parametrize("name", CASES)
def test_the_kernel_gives_a_container_exactly_what_its_type_has(told: dict[str, Any], name: str) -> None:
    kind, found = name.split("-")[0], told[name]
    assert found["run"]["status"] == 0, found["run"]["err"]
    judged(kind, found["first"]["out"])
    assert found["first"]["exec"] == ""
    assert set(found["first"]["own"]) == {SPACES.get(space, space) for space in profile_of(kind).namespaces}


@pytest.mark.parametrize("name", CASES)
def test_an_added_process_has_no_more(told: dict[str, Any], name: str) -> None:
    """The process is containerd's, of the specification that it remembers; or one that asks for as much."""
    added = told[name]["added"]
    assert added["status"] == 0, added["err"]
    judged(name.split("-")[0], added["out"])


@pytest.mark.parametrize("name", CASES)
def test_limits_are_the_type_s_and_stay(told: dict[str, Any], name: str) -> None:
    kind, found = name.split("-")[0], told[name]
    own = profile_of(kind).resources
    memory, cpu = own["memory"], own.get("cpu", {})
    wanted = {
        "memory.max": str(memory["limit"]),
        "memory.swap.max": str(memory["swap"] - memory["limit"]),
        "pids.max": str(own["pids"]["limit"]),
        "cpu.max": f"{cpu['quota']} {cpu['period']}" if "quota" in cpu else "max 100000",
    }
    assert found["update"]["status"] == 0, found["update"]["err"]
    assert found["first"]["limits"] == found["after"] == wanted


@pytest.mark.parametrize("attempt", [name for name in ATTEMPTS if name not in ("checkpoint", "plain", "update")])
@pytest.mark.parametrize("name", TRIED)
def test_what_would_widen_a_container_is_refused(told: dict[str, Any], name: str, attempt: str) -> None:
    promises = {"capability": "no-privileged-containers", "restore": "always-confined"}
    found = told[name][attempt]
    assert (found["status"], found["out"]) == (1, "")
    assert found["err"].startswith(f"stockade: policy denied: type {name.split('-')[0]}: ")
    assert f"[{promises.get(attempt, 'no-foreign-labels')}]" in found["err"]


@pytest.mark.parametrize("name", TRIED)
def test_saving_is_the_runtime_s_own_affair(told: dict[str, Any], name: str) -> None:
    """Neither the guest's kernel nor its runtimes can: what is shown is that the runtime was asked, and it said so."""
    found = told[name]["checkpoint"]
    assert found["status"] != 0 and "policy denied" not in found["err"], found
    assert "criu" in found["err"].lower(), found


@pytest.mark.parametrize("name", TRIED)
def test_a_process_added_by_the_runtime_itself_has_no_more(told: dict[str, Any], name: str) -> None:
    assert told[name]["plain"]["status"] == 0, told[name]["plain"]["err"]
    # crun gives it the limits of whoever calls, which the launcher lowers and does not raise.
    judged(name.split("-")[0], told[name]["plain"]["out"], less=name.endswith("crun"))


def test_the_policy_denies_launchers_and_runtimes_nothing(guest: HostRun) -> None:
    assert [str(denial) for denial in guest["launched"].denials if ":runtime_t:" in denial.scontext] == []
