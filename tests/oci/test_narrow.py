"""Narrowing: an order on container types, key by key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from stockade.model.container import (
    ContainerType,
    Device,
    Level,
    Mount,
    Namespaces,
    Quota,
    Rlimit,
    Tmpfs,
    UserNamespace,
)
from stockade.model.names import CAPABILITIES
from stockade.oci.narrow import narrower

from .samples import AT, KINDS, capability_sets, container, types

LIMIT = settings(max_examples=25, deadline=None)
USER = UserNamespace


def shared(*kinds: str, user: UserNamespace = USER.OPTIONAL) -> Namespaces:
    return Namespaces(frozenset(KINDS) - set(kinds), frozenset(kinds), user)


def bind(*options: str, source: str = "/a", destination: str = "/b") -> tuple[Mount, ...]:
    return (Mount(source, destination, options, "", AT),)


def device(access: str, major: int | None = 10, minor: int | None = 229, kind: str = "c") -> tuple[Device, ...]:
    return (Device("/dev/x", kind, major, minor, access),)


ORDERED: list[tuple[str, str, Any, Any]] = [
    ("selinux", "level", Level.PAIR, Level.NONE),
    ("selinux", "level", Level.NONE, Level.ALL),
    ("capabilities", "capabilities", capability_sets({"CHOWN"}), capability_sets({"CHOWN", "SYS_ADMIN"})),
    ("capabilities", "capabilities", capability_sets({"CHOWN"}), capability_sets({"CHOWN"}, {"CHOWN"})),
    ("namespaces", "namespaces", shared(), shared("pid")),
    ("namespaces", "namespaces", shared("pid"), shared("pid", "ipc")),
    (
        "namespaces",
        "namespaces",
        Namespaces(frozenset(KINDS) | {"time"}, frozenset(), USER.OPTIONAL),
        shared(),
    ),
    ("namespaces", "namespaces", shared(user=USER.REQUIRED), shared(user=USER.OPTIONAL)),
    ("namespaces", "namespaces", shared(user=USER.FORBIDDEN), shared(user=USER.OPTIONAL)),
    ("cgroup", "cgroup", {"memory.max": 5}, {"memory.max": 6}),
    ("cgroup", "cgroup", {"memory.max": 5}, {"memory.max": None}),
    ("cgroup", "cgroup", {"memory.max": 5}, {}),
    ("cgroup", "cgroup", {"memory.swap.max": 0}, {}),
    ("cgroup", "cgroup", {"pids.max": 5}, {"pids.max": 6}),
    ("cgroup", "cgroup", {}, {"memory.min": 1}),
    ("cgroup", "cgroup", {"memory.low": 5}, {"memory.low": None}),
    ("cgroup", "cgroup", {"cpu.max": Quota(1000, 2000)}, {"cpu.max": Quota(51_000, 100_000)}),
    ("cgroup", "cgroup", {"cpu.max": Quota(1000, 2000)}, {}),
    ("cgroup", "cgroup", {}, {"cpu.max.burst": 5}),
    ("cgroup", "cgroup", {"cpu.weight": 5}, {"cpu.weight": 6}),
    ("cgroup", "cgroup", {"cpu.weight": 99}, {}),
    ("cgroup", "cgroup", {}, {"io.weight": 101}),
    ("cgroup", "cgroup", {"cpu.idle": 1}, {}),
    ("cgroup", "cgroup", {"memory.oom.group": 1}, {"memory.oom.group": 0}),
    ("cgroup", "cgroup", {"cpuset.cpus": "1-2"}, {"cpuset.cpus": "0-1,2"}),
    ("cgroup", "cgroup", {"cpuset.mems": "0"}, {}),
    ("root", "read_only_root", True, False),
    ("tmpfs", "tmpfs", (), (Tmpfs("/tmp", 5),)),
    ("tmpfs", "tmpfs", (Tmpfs("/tmp", 5),), (Tmpfs("/tmp", 6),)),
    ("tmpfs", "tmpfs", (Tmpfs("/tmp", 5),), (Tmpfs("/tmp", None),)),
    ("mounts", "mounts", (), bind()),
    ("mounts", "mounts", bind("ro"), bind("rw")),
    ("mounts", "mounts", bind("rbind", "rro"), bind("rbind", "ro")),
    ("mounts", "mounts", bind("noexec"), bind()),
    ("mounts", "mounts", bind("nosymfollow"), bind()),
    ("mounts", "mounts", bind(), bind("rbind")),
    ("mounts", "mounts", bind(), bind("rslave")),
    ("mounts", "mounts", bind("slave"), bind("rslave")),
    ("mounts", "mounts", bind("rslave"), bind("shared")),
    ("mounts", "mounts", bind("rprivate"), bind("private")),
    ("mounts", "mounts", bind(), bind("idmap")),
    ("mask", "masked", ("/proc/kcore", "/proc/keys"), ("/proc/kcore",)),
    ("mask", "masked", ("/proc/sys",), ("/proc/sys/kernel",)),
    ("read-only", "read_only", ("/proc/sys", "/proc/bus"), ("/proc/bus",)),
    ("no-new-privileges", "no_new_privileges", True, False),
    ("rlimits", "rlimits", {"core": Rlimit(0, 0)}, {}),
    ("rlimits", "rlimits", {"core": Rlimit(0, 5)}, {"core": Rlimit(1, 5)}),
    ("rlimits", "rlimits", {"core": Rlimit(0, 5)}, {"core": Rlimit(0, 6)}),
    ("rlimits", "rlimits", {"core": Rlimit(0, 5)}, {"core": Rlimit(None, None)}),
    ("devices", "devices", (), device("r")),
    ("devices", "devices", device("rw"), device("rwm")),
    ("devices", "devices", device("rw"), device("rw", minor=None)),
    ("devices", "devices", device("rw", minor=None), device("rw", None, None)),
    ("devices", "devices", (), device("m", 1, 3)),
]


@pytest.mark.parametrize(("key", "member", "tight", "wide"), ORDERED)
def test_the_order(key: str, member: str, tight: Any, wide: Any) -> None:
    narrow_type, wide_type = container(**{member: tight}), container(**{member: wide})
    assert narrower(narrow_type, wide_type) == []
    assert {found for found, _ in narrower(wide_type, narrow_type)} == {key}


EQUAL: list[tuple[str, Any, Any]] = [
    ("cgroup", {"cpu.max": Quota(1000, 2000)}, {"cpu.max": Quota(2000, 4000)}),
    ("cgroup", {"cpuset.cpus": "0-2"}, {"cpuset.cpus": "2,0,1"}),
    ("cgroup", {"memory.max": None}, {}),
    ("cgroup", {"cpu.weight": 100, "cpu.idle": 0, "memory.min": 0, "cpu.max.burst": 0}, {}),
    ("devices", device("rw", 1, 3), ()),
    ("devices", (*device("r"), *device("w")), device("rw")),
    ("mounts", bind("noatime"), bind("rprivate", "nosuid")),
]


@pytest.mark.parametrize(("member", "one", "other"), EQUAL)
def test_what_is_the_same(member: str, one: Any, other: Any) -> None:
    assert narrower(container(**{member: one}), container(**{member: other})) == []
    assert narrower(container(**{member: other}), container(**{member: one})) == []


DIFFERENT: list[tuple[str, str, Any, Any]] = [
    ("sysctls", "sysctls", {"net.core.somaxconn": "1"}, {}),
    ("sysctls", "sysctls", {"net.core.somaxconn": "1"}, {"net.core.somaxconn": "2"}),
    ("namespaces", "namespaces", shared(user=USER.REQUIRED), shared(user=USER.FORBIDDEN)),
    ("mounts", "mounts", bind(source="/a"), bind(source="/c")),
    ("mounts", "mounts", bind(destination="/b"), bind(destination="/c")),
    ("devices", "devices", device("r", kind="b"), device("r", kind="c")),
    ("cgroup", "cgroup", {"cpuset.cpus": "0"}, {"cpuset.cpus": "1"}),
]


@pytest.mark.parametrize(("key", "member", "one", "other"), DIFFERENT)
def test_what_has_no_order(key: str, member: str, one: Any, other: Any) -> None:
    for child, parent in ((one, other), (other, one)):
        found = narrower(container(**{member: child}), container(**{member: parent}))
        assert {name for name, _ in found} == {key}


def test_a_mask_covers_what_lies_beneath_and_what_was_read_only() -> None:
    parent = container(masked=("/proc/sys/kernel/core_pattern",), read_only=("/proc/sys", "/proc/bus"))
    assert narrower(replace(parent, masked=("/proc",), read_only=()), parent) == []
    # A name that begins alike is another folder.
    assert narrower(replace(parent, masked=("/proc/sy", "/proc/sys/kern"), read_only=("/proc",)), parent) == [
        ("mask", "/proc/sys/kernel/core_pattern is no longer masked")
    ]
    assert narrower(container(read_only=("/proc",), masked=()), container(read_only=(), masked=("/proc",))) == [
        ("mask", "/proc is no longer masked")
    ]


@pytest.mark.parametrize(
    ("child", "parent", "message"),
    [
        ({"pids.max": None}, {"pids.max": 6}, "pids.max is max, where the parent has 6"),
        ({}, {"pids.max": 6}, "pids.max is not set, where the parent has 6"),
        ({"cpu.max": Quota(2000)}, {"cpu.max": Quota(1000)}, "cpu.max is 2000 of 100000, where the parent has 1000 of"),
        ({}, {"cpuset.cpus": "0-3"}, "cpuset.cpus is every one, not within 0-3"),
    ],
)
def test_the_words(child: dict[str, Any], parent: dict[str, Any], message: str) -> None:
    ((key, found),) = narrower(container(cgroup=child), container(cgroup=parent))
    assert key == "cgroup"
    assert found.startswith(message)


def test_every_device() -> None:
    some, every = container(), container(devices=(), all_devices=True)
    assert narrower(some, every) == []
    assert narrower(every, every) == []
    assert narrower(every, some) == [("devices", "every device of the host may be opened")]


@LIMIT
@given(types())
def test_reflexive(kind: ContainerType) -> None:
    assert narrower(kind, kind) == []


@LIMIT
@given(types(), types(), types())
def test_transitive(one: ContainerType, two: ContainerType, three: ContainerType) -> None:
    """Member by member, for whole types at random are seldom in any order."""
    for member in (
        "capabilities namespaces cgroup tmpfs mounts masked no_new_privileges read_only_root rlimits devices sysctls"
    ).split():
        a, b, c = (container(**{member: getattr(kind, member)}) for kind in (one, two, three))
        if not narrower(a, b) and not narrower(b, c):
            assert narrower(a, c) == [], member


@LIMIT
@given(types())
def test_taking_away_is_never_wider(kind: ContainerType) -> None:
    tightest = {
        "capabilities": capability_sets(set()),
        "no_new_privileges": True,
        "read_only_root": True,
        "tmpfs": (),
        "mounts": (),
        "devices": (),
        "all_devices": False,
        "masked": (*kind.masked, "/proc"),
        "cgroup": {**kind.cgroup, "memory.max": 0, "pids.max": 0},
        "rlimits": {**kind.rlimits, "core": Rlimit(0, 0)},
    }
    for member, value in tightest.items():
        assert narrower(replace(kind, **{member: value}), kind) == [], member
    assert narrower(replace(kind, **tightest), kind) == []


@LIMIT
@given(types())
def test_adding_a_capability_to_any_set_is_wider(kind: ContainerType) -> None:
    for name, held in kind.capabilities.items():
        added = sorted(CAPABILITIES.keys() - held)[0]
        wider = replace(kind, capabilities=dict(kind.capabilities) | {name: held | {added}})
        assert narrower(kind, wider) == []
        assert narrower(wider, kind) == [("capabilities", f"{added} is added to the {name} set")]
