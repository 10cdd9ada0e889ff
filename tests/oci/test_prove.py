"""The proof notices every departure of a document from its type, and nothing else."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from stockade.model.container import ContainerType, Level, Quota, Tmpfs, UserNamespace
from stockade.oci.build import to_runtime_spec
from stockade.oci.check import check_runtime_spec
from stockade.oci.prove import prove_oci

from .samples import container, types

LIMIT = settings(max_examples=25, deadline=None)


@LIMIT
@given(types(), types())
def test_the_proof_tells_two_types_apart(one: ContainerType, other: ContainerType) -> None:
    """Equal documents, and only those, prove a type."""
    mine, theirs = to_runtime_spec(one), to_runtime_spec(other)
    assert (prove_oci(one, theirs) == []) == (mine == theirs)


FIXED = [
    field.name
    for field in fields(ContainerType)
    if field.name
    not in {"why", "at", "extends", "widens", "syscalls", "listener", "architectures", "sockets", "places"}
]


@pytest.mark.parametrize("name", FIXED)
def test_every_member_of_a_type_matters(name: str) -> None:
    """A document of the type as it was before one member changed proves nothing of the type as it is."""
    kind = container()
    others = {
        "level": Level.ALL,
        "namespaces": replace(kind.namespaces, user=UserNamespace.REQUIRED),
        "capabilities": kind.capabilities | {"ambient": frozenset()},
        "read_only_root": False,
        "no_new_privileges": False,
        "all_devices": True,
        "complains": True,
        "records": True,
    }
    value = getattr(kind, name)
    other = others[name] if name in others else "other" if isinstance(value, str) else type(value)()
    changed = replace(kind, **{name: other})  # type: ignore[arg-type]  # one member of many types
    if name == "all_devices":
        changed = replace(changed, devices=())
    assert prove_oci(changed, to_runtime_spec(kind)) != []
    assert prove_oci(kind, to_runtime_spec(changed)) != []


def mutations(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str, Any]]:
    """Every way to drop, change, double or add one thing of a JSON document: (path, what, new value)."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield (*path, name), "drop", None
            yield from mutations(member, (*path, name))
        yield (*path, "surprise"), "set", "x"
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield (*path, index), "drop", None
            yield from mutations(member, (*path, index))
    elif isinstance(value, bool):
        yield path, "set", not value
    elif isinstance(value, int):
        yield path, "set", value + 1 if value < 2**63 else 5
        yield path, "set", -1
    else:
        yield path, "set", value + "9"
        yield path, "set", ""


def mutated(document: Any, path: tuple[Any, ...], what: str, new: Any) -> Any:
    changed = copy.deepcopy(document)
    place = changed
    for step in path[:-1]:
        place = place[step]
    if what == "drop":
        del place[path[-1]]
    else:
        place[path[-1]] = new
    return changed


def test_every_change_of_the_document_is_noticed() -> None:
    kind = container()
    spec = to_runtime_spec(kind)
    unnoticed = [
        (path, what, new)
        for path, what, new in mutations(spec)
        if prove_oci(kind, mutated(spec, path, what, new)) == []
    ]
    # Not a change: a quota has this period unless told.
    assert unnoticed == [(("linux", "resources", "cpu", "period"), "drop", None)]


SURPRISES = [
    ("process", {"user": {"uid": 0, "gid": 0}}),
    ("process", {"oomScoreAdj": -999}),
    ("process", {"args": ["sh"]}),
    ("linux", {"cgroupsPath": "/"}),
    ("linux", {"uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]}),
    ("linux", {"intelRdt": {"enableMonitoring": True}}),
    ("linux", {"resources": {"memory": {"swappiness": 3}}}),
    ("linux", {"resources": {"cpu": {"shares": 1024}}}),
    ("linux", {"resources": {"unified": {"memory.max": "max"}}}),
    ("linux", {"resources": {"unified": {"pids.max": "64"}}}),
    ("linux", {"resources": {"rdma": {"mlx5_0": {"hcaHandles": 3}}}}),
    ("root", {"path": "/"}),
    ("hooks", {"createRuntime": [{"path": "/bin/true"}]}),
    ("annotations", {"run.oci.seccomp_bpf_data": "AA=="}),
]


@pytest.mark.parametrize(("key", "members"), SURPRISES)
def test_valid_but_unsaid_parts_are_noticed(key: str, members: dict[str, Any]) -> None:
    def merge(into: Any, more: dict[str, Any]) -> None:
        for name, value in more.items():
            if isinstance(value, dict) and isinstance(into.get(name), dict):
                merge(into[name], value)
            else:
                into[name] = value

    kind = container()
    spec = copy.deepcopy(to_runtime_spec(kind))
    merge(spec, {key: members})
    assert check_runtime_spec(spec) == []
    assert len(prove_oci(kind, spec)) >= 1


def test_device_rules_are_read_as_the_kernel_reads_them() -> None:
    kind = container()
    spec: dict[str, Any] = copy.deepcopy(to_runtime_spec(kind))
    rules = spec["linux"]["resources"]["devices"]
    for changed, what in (
        (rules[1:], "without a denial of the rest everything is allowed"),
        (rules[1:] + rules[:1], "a denial at the end takes all away"),
        ([*rules, {"allow": True, "access": "rwm"}], "a type nobody named is every type"),
        ([*rules, {"allow": True, "type": "b", "access": "r"}], "no number is every number"),
        ([*rules, {"allow": False, "type": "c", "major": 1, "minor": 3, "access": "m"}], "a part is denied"),
        ([{"allow": False, "access": "rw"}, *rules[1:]], "mknod(2) is left"),
        ([{"allow": False, "type": "c", "access": "rwm"}, *rules[1:]], "block devices are left"),
        ([], "nothing said"),
    ):
        spec["linux"]["resources"]["devices"] = changed
        assert prove_oci(kind, spec) != [], what


def test_a_mount_that_hides_another_is_noticed() -> None:
    kind = container(tmpfs=(Tmpfs("/tmp", 1), Tmpfs("/tmp/deep", 1)), mounts=())
    spec: dict[str, Any] = copy.deepcopy(to_runtime_spec(kind))
    assert [mount["destination"] for mount in spec["mounts"]] == ["/tmp", "/tmp/deep"]
    spec["mounts"].reverse()
    assert any("hides it" in difference for difference in prove_oci(kind, spec))


def test_every_device_is_said_and_never_left_to_the_runtime() -> None:
    kind = container(devices=(), all_devices=True)
    spec: dict[str, Any] = copy.deepcopy(to_runtime_spec(kind))
    assert spec["linux"]["resources"].pop("devices") == [{"allow": True, "access": "rwm"}]
    assert prove_oci(kind, spec) == ["linux.resources.devices: missing; what a runtime allows is then its own choice"]


def test_the_words_of_a_difference() -> None:
    kind = container()
    spec: dict[str, Any] = copy.deepcopy(to_runtime_spec(kind))
    del spec["linux"]["resources"]["pids"], spec["linux"]["rootfsPropagation"]
    spec["linux"]["resources"]["unified"]["cpu.weight"] = "51"
    assert prove_oci(kind, spec) == [
        "linux.rootfsPropagation: missing, the type says 'rprivate'",
        "linux.resources: cpu.weight: 51, the type says 50",
        "linux.resources: pids.max: missing, the type says 64",
    ]


def test_a_joined_namespace_and_a_mapped_mount_are_noticed() -> None:
    kind = container()
    spec: dict[str, Any] = copy.deepcopy(to_runtime_spec(kind))
    spec["linux"]["namespaces"][0]["path"] = "/proc/1/ns/cgroup"
    spec["mounts"][1]["uidMappings"] = [{"containerID": 0, "hostID": 0, "size": 1}]
    assert prove_oci(kind, spec) == [
        "mounts: /srv has uidMappings, the type does not say it",
        "linux.namespaces: cgroup is joined at /proc/1/ns/cgroup, the type says a new one",
    ]


@pytest.mark.parametrize(
    ("files", "resources"),
    [
        ({"cpuset.cpus": "0"}, {"unified": {"cpuset.cpus": "0"}}),
        ({"cpu.max": Quota(5000)}, {"unified": {"cpu.max": "5000 100000"}}),
        ({"cpu.max": Quota(5000)}, {"unified": {"cpu.max": "5000"}}),
        ({"cpu.max": Quota(5000)}, {"cpu": {"quota": 5000}}),
        ({"cpu.max": None}, {"cpu": {"quota": -1}}),
        ({"memory.max": None, "memory.swap.max": None}, {"memory": {"limit": -1, "swap": -1}}),
        ({"memory.max": 5, "memory.swap.max": 3}, {"unified": {"memory.max": "5", "memory.swap.max": "3"}}),
        ({"pids.max": None}, {"pids": {"limit": -1}}),
    ],
)
def test_the_proof_reads_what_the_builder_would_say_otherwise(files: dict[str, Any], resources: dict[str, Any]) -> None:
    kind = container(cgroup=files)
    spec: dict[str, Any] = copy.deepcopy(to_runtime_spec(kind))
    spec["linux"]["resources"] = {"devices": spec["linux"]["resources"]["devices"], **resources}
    assert prove_oci(kind, spec) == []
    assert prove_oci(container(cgroup={}), spec) != []
