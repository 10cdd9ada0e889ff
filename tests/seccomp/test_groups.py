"""The groups of system calls: a partition, and none too generous."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import yaml
from stockade.model.syscalls import numbers

from tests.seccomp.reference_profile import ReferenceProfile

GROUPS = Path(__file__).resolve().parents[2] / "policy/containers/groups.yaml"
REFERENCE = Path("/usr/share/containers/seccomp.json")
DEFAULT_CAPS = frozenset(
    f"CAP_{name}"
    for name in (
        "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL "
        "AUDIT_WRITE"
    ).split()
)
# A group that is not named here is taken to be harmless, and so has to stand before the reference profile.
GUARDED = {
    "conditional", "clone3", "module-load", "kexec", "reboot", "mount", "namespaces", "bpf", "perf", "trace", "probes",
    "clock-set", "host-name", "kernel-log", "swap", "quota", "accounting", "keyring", "raw-io", "open-by-handle",
    "fanotify", "terminal", "userfault", "page-transfer", "async-extended", "lsm", "recent-files", "recent-threads",
    "recent-memory", "legacy",
}  # fmt: skip


@pytest.fixture(scope="module")
def groups() -> dict[str, list[str]]:
    loaded = yaml.safe_load(GROUPS.read_text(encoding="utf-8"))["groups"]
    assert all(set(group) == {"why", "syscalls"} and group["why"].endswith(".") for group in loaded.values())
    return {name: group["syscalls"] for name, group in loaded.items()}


def test_every_call_of_x86_64_is_in_exactly_one_group(groups: dict[str, list[str]]) -> None:
    count = Counter(call for calls in groups.values() for call in calls)
    assert [call for call, times in count.items() if times > 1] == []
    assert set(count) == set(numbers("x86_64"))
    assert set(numbers("aarch64")) <= set(count)


def test_guarded_groups_exist(groups: dict[str, list[str]]) -> None:
    assert set(groups) >= GUARDED


@pytest.mark.parametrize(("arch", "docker"), [("x86_64", "amd64"), ("aarch64", "arm64")])
def test_unguarded_groups_are_within_the_reference_profile(
    groups: dict[str, list[str]], arch: str, docker: str
) -> None:
    oracle = ReferenceProfile(json.loads(REFERENCE.read_text(encoding="utf-8")), DEFAULT_CAPS, docker)
    calls = {call for name, group in groups.items() if name not in GUARDED for call in group} & set(numbers(arch))
    assert len(calls) > 200
    assert [call for call in sorted(calls) if not oracle.always_allows(call)] == []


def test_the_oracle_can_say_no() -> None:
    profile = json.loads(REFERENCE.read_text(encoding="utf-8"))
    oracle = ReferenceProfile(profile, DEFAULT_CAPS, "amd64")
    assert not oracle.always_allows("personality")
    assert oracle.actions("personality", [8]) == {("SCMP_ACT_ALLOW", None)}
    assert oracle.actions("personality", [9]) == {("SCMP_ACT_ERRNO", 38)}
    assert oracle.actions("bpf", [0]) == {("SCMP_ACT_ERRNO", 1)}
    assert ReferenceProfile(profile, {"CAP_SYS_ADMIN"}, "amd64").actions("bpf", [0]) == {("SCMP_ACT_ALLOW", None)}
    assert not oracle.always_allows("mseal")
