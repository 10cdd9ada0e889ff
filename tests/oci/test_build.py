"""What a container type becomes as a runtime-spec document, and what cannot be said."""

from __future__ import annotations

import json
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
from stockade.model.names import STANDARD_DEVICES
from stockade.oci.build import OciError, to_json, to_runtime_spec
from stockade.oci.check import check_runtime_spec
from stockade.oci.prove import prove_oci

from .samples import AT, KINDS, container, types

LIMIT = settings(max_examples=25, deadline=None)


def built(**changes: Any) -> dict[str, Any]:
    return json.loads(json.dumps(to_runtime_spec(container(**changes))))


def test_the_whole_of_a_type() -> None:
    spec = built()
    assert spec["process"] == {
        "capabilities": {
            "ambient": ["CAP_NET_BIND_SERVICE"],
            "bounding": ["CAP_CHOWN", "CAP_NET_BIND_SERVICE", "CAP_SETUID"],
            "effective": ["CAP_CHOWN", "CAP_NET_BIND_SERVICE", "CAP_SETUID"],
            "inheritable": ["CAP_NET_BIND_SERVICE"],
            "permitted": ["CAP_CHOWN", "CAP_NET_BIND_SERVICE", "CAP_SETUID"],
        },
        "noNewPrivileges": True,
        "rlimits": [
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            {"type": "RLIMIT_NOFILE", "soft": 512, "hard": 1024},
            {"type": "RLIMIT_NPROC", "soft": 2**64 - 1, "hard": 2**64 - 1},
        ],
        "selinuxLabel": "system_u:system_r:web_t:s0",
    }
    assert spec["root"] == {"readonly": True}
    assert spec["mounts"] == [
        {"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["nodev", "noexec", "nosuid"]},
        {
            "destination": "/srv",
            "type": "bind",
            "source": "/srv/web",
            "options": ["bind", "nodev", "nosuid", "ro", "rprivate"],
        },
        {
            "destination": "/tmp",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nodev", "noexec", "nosuid", "size=8388608"],
        },
    ]
    assert spec["annotations"] == {
        "io.stockade.type": "web",
        "io.stockade.level": "pair",
        "io.stockade.user-namespace": "optional",
    }
    linux = spec["linux"]
    resources = linux.pop("resources")
    rules = resources.pop("devices")
    assert resources == {
        "memory": {"limit": 512 << 20, "swap": 513 << 20},
        "pids": {"limit": 64},
        "cpu": {"quota": 50_000, "period": 100_000, "cpus": "0"},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
        "unified": {
            "cpu.weight": "50",
            "memory.high": str(400 << 20),
            "memory.low": str(16 << 20),
            "memory.oom.group": "1",
        },
    }
    assert rules[0] == {"allow": False, "access": "rwm"}
    assert {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"} in rules
    assert {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"} in rules
    assert {"allow": True, "type": "c", "major": 136, "access": "rw"} in rules
    assert len(rules) == 1 + len(STANDARD_DEVICES) + 2 + 1
    assert linux == {
        "devices": [
            {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666, "uid": 0, "gid": 0}
        ],
        "maskedPaths": ["/proc/kcore", "/proc/keys", "/sys/firmware"],
        "mountLabel": "system_u:object_r:web_data_t:s0",
        "namespaces": [{"type": kind} for kind in sorted(KINDS)],
        "readonlyPaths": ["/proc/bus", "/proc/sys"],
        "rootfsPropagation": "rprivate",
        "sysctl": {"net.core.somaxconn": "1024"},
    }


@pytest.mark.parametrize(
    ("files", "resources"),
    [
        ({"memory.max": None}, {"unified": {"memory.max": "max"}}),
        ({"memory.max": 4096, "memory.swap.max": 0}, {"memory": {"limit": 4096, "swap": 4096}}),
        (
            {"memory.max": 4096, "memory.swap.max": None},
            {"memory": {"limit": 4096}, "unified": {"memory.swap.max": "max"}},
        ),
        # A zero in the fields of v1 would be read as "not said", and swap alone cannot be said there.
        ({"memory.max": 0}, {"unified": {"memory.max": "0"}}),
        ({"memory.max": 0, "memory.swap.max": 5}, {"unified": {"memory.max": "0", "memory.swap.max": "5"}}),
        ({"memory.swap.max": 0}, {"unified": {"memory.swap.max": "0"}}),
        ({"memory.max": None, "memory.swap.max": 7}, {"unified": {"memory.max": "max", "memory.swap.max": "7"}}),
        ({"pids.max": 0}, {"unified": {"pids.max": "0"}}),
        ({"pids.max": None}, {"unified": {"pids.max": "max"}}),
        ({"cpu.max": None}, {"unified": {"cpu.max": "max"}}),
        ({"cpu.max": Quota(1000, 50_000)}, {"cpu": {"quota": 1000, "period": 50_000}}),
        ({"hugetlb.1GB.max": None}, {"unified": {"hugetlb.1GB.max": "max"}}),
        ({"memory.min": None}, {"unified": {"memory.min": "max"}}),
    ],
)
def test_cgroup_files(files: dict[str, Any], resources: dict[str, Any]) -> None:
    kind = container(cgroup=files)
    spec = to_runtime_spec(kind)
    found = dict(spec["linux"]["resources"])  # type: ignore[index]  # the document is plain JSON
    found.pop("devices")
    assert found == resources
    assert prove_oci(kind, spec) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cgroup": {"memory.maxx": 1}}, "unknown control file"),
        ({"cgroup": {"cpu.weight": 0}}, "the kernel takes no 0"),
        ({"cgroup": {"cpu.weight": None}}, "the kernel takes no None"),
        ({"cgroup": {"cpu.max.burst": None}}, "the kernel takes no None"),
        ({"cgroup": {"cpu.max": Quota(0)}}, "the kernel takes no Quota"),
        ({"cgroup": {"cpu.max": 5000}}, "the kernel takes no 5000"),
        ({"cgroup": {"memory.max": -1}}, "the kernel takes no -1"),
        ({"cgroup": {"cpuset.cpus": None}}, "the kernel takes no None"),
        ({"cgroup": {"cpuset.cpus": "0-"}}, "a list of CPUs"),
        ({"tmpfs": (Tmpfs("/tmp", 0),)}, "no limit"),
        ({"tmpfs": (Tmpfs("tmp", 1),)}, "not an absolute path"),
        ({"tmpfs": (Tmpfs("/srv", 1),)}, "already mounted"),
        ({"mounts": (Mount("/a", "/b", ("suid",), "", AT),)}, "contradicts nosuid"),
        ({"mounts": (Mount("/a", "/b", ("ro", "rw"), "", AT),)}, "contradicts ro"),
        ({"mounts": (Mount("/a", "/b", ("size=5",), "", AT),)}, "unknown option"),
        ({"mounts": (Mount("a", "/b", (), "", AT),)}, "not an absolute path"),
        ({"mounts": (Mount("/a", "/b/../c", (), "", AT),)}, "not an absolute path"),
        ({"masked": ("proc/kcore",)}, "not an absolute path"),
        ({"masked": ("/",)}, "covers everything"),
        ({"namespaces": Namespaces(frozenset(), frozenset(KINDS), UserNamespace.OPTIONAL)}, "needs a mount namespace"),
        (
            {"namespaces": Namespaces(frozenset(KINDS[1:]), frozenset(), UserNamespace.OPTIONAL)},
            "not said whose mount is",
        ),
        (
            {"namespaces": Namespaces(frozenset(KINDS), frozenset(["pid"]), UserNamespace.OPTIONAL)},
            "pid cannot be both",
        ),
        (
            {"namespaces": Namespaces(frozenset(KINDS) - {"network"}, frozenset(["network"]), UserNamespace.OPTIONAL)},
            "needs a network namespace",
        ),
        (
            {"namespaces": Namespaces(frozenset([*KINDS, "user"]), frozenset(), UserNamespace.OPTIONAL)},
            "user is neither new nor host",
        ),
        ({"sysctls": {"kernel.panic": "1"}}, "belongs to no namespace"),
        ({"rlimits": {"core": Rlimit(2, 1)}}, "soft limit 2"),
        ({"rlimits": {"core": Rlimit(None, 1)}}, "soft limit 18446744073709551615"),
        ({"rlimits": {"cor": Rlimit(1, 1)}}, "did you mean 'RLIMIT_CORE'"),
        ({"capabilities": container().capabilities | {"bounding": frozenset()}}, "is not in bounding"),
        ({"capabilities": container().capabilities | {"ambient": frozenset(["CHOWN"])}}, "is not in inheritable"),
        ({"all_devices": True}, "all devices and a list"),
        ({"devices": (Device("/dev/x", "c", None, 3, "r"),)}, "without a major"),
        ({"devices": (Device("/dev/x", "c", 4, 3, ""),)}, "letters of 'rwm'"),
        ({"devices": (Device("/dev/x", "q", 4, 3, "r"),)}, "unknown device type"),
        ({"domain": "web t"}, "an SELinux context"),
    ],
)
def test_what_cannot_be_said_is_an_error(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(OciError) as caught:
        to_runtime_spec(container(**changes))
    assert any(reason in said for said in caught.value.reasons), caught.value.reasons
    assert str(caught.value).startswith("container type web: ")


@pytest.mark.parametrize(("level", "label"), [(Level.PAIR, "s0"), (Level.ALL, "s0-s0:c0.c1023"), (Level.NONE, "s0")])
def test_levels(level: Level, label: str) -> None:
    spec = built(level=level)
    assert spec["process"]["selinuxLabel"] == f"system_u:system_r:web_t:{label}"
    assert spec["annotations"]["io.stockade.level"] == level.value


def test_a_required_user_namespace_is_a_new_one() -> None:
    for user in UserNamespace:
        spec = built(namespaces=Namespaces(frozenset(KINDS), frozenset(), user))
        assert ({"type": "user"} in spec["linux"]["namespaces"]) == (user is UserNamespace.REQUIRED)


def test_the_filter_is_taken_over_and_checked() -> None:
    kind = container()
    seccomp = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}
    spec = to_runtime_spec(kind, seccomp)
    assert spec["linux"]["seccomp"] == seccomp  # type: ignore[index]  # the document is plain JSON
    assert prove_oci(kind, spec) == []
    with pytest.raises(OciError, match="SCMP_ACT_ALOW"):
        to_runtime_spec(kind, seccomp | {"defaultAction": "SCMP_ACT_ALOW"})


@LIMIT
@given(types())
def test_any_type_is_built_valid_and_proven(kind: ContainerType) -> None:
    spec = to_runtime_spec(kind)
    again = json.loads(to_json(spec))
    assert to_json(again) == to_json(spec)
    assert check_runtime_spec(again) == []
    assert prove_oci(kind, again) == []
