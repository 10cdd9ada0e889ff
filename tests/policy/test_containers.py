"""The types that extend `ordinary` are no wider in any layer: shown on what was compiled, without the proofs' code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from stockade.bundle.compile import Compiled
from stockade.model.policy import Policy
from stockade.model.seccomp import Action
from stockade.model.syscalls import numbers
from stockade.seccomp.emulate import decode, run
from stockade.selinux.binary import Binary
from stockade.selinux.libsepol import Decisions

from tests.seccomp.reference_profile import ReferenceProfile

NARROWER = ("batch", "database", "web")
PARENT = "ordinary"
TOKENS = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ARCHES = tuple(TOKENS)
DEFAULT_PROFILE = Path("/usr/share/containers/seccomp.json")
PASSES = {Action.ALLOW, Action.LOG}
LEVELS = ("s0", "s0:c1,c2", "s0:c3", "s0-s0:c0.c1023")


@pytest.fixture(scope="module")
def artefacts(compiled: Compiled) -> dict[str, bytes]:
    return {artefact.path: artefact.content for artefact in compiled.artefacts}


def spec(artefacts: Mapping[str, bytes], name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(artefacts[f"containers/{name}/oci.json"])
    return document


def interesting(*profiles: Mapping[str, Any]) -> dict[str, list[tuple[int, ...]]]:
    """Call -> arguments to try: each bit by itself, and what is on and beside every boundary that a profile names."""
    values: dict[str, dict[int, set[int]]] = {}
    for profile in profiles:
        for entry in profile["syscalls"]:
            for test in entry.get("args") or ():
                edges = {test["value"] + step for step in (-1, 0, 1)}
                edges |= {test.get("valueTwo", 0) + step for step in (-1, 0, 1)}
                edges |= {1 << bit for bit in range(64)} | {0, (1 << 32) - 1, (1 << 64) - 1}
                for call in entry["names"]:
                    known = values.setdefault(call, {}).setdefault(test["index"], set())
                    known |= {edge for edge in edges if 0 <= edge < 1 << 64}
    return {
        call: [
            tuple(value if index == at else 0 for index in range(6))
            for at, found in by.items()
            for value in sorted(found)
        ]
        for call, by in values.items()
    }


def attempts(*profiles: Mapping[str, Any], arch: str) -> Iterator[tuple[int, tuple[int, ...]]]:
    """(number, arguments): every number there is and some that are not, with plain and with interesting arguments."""
    tried = interesting(*profiles)
    names = {number: name for name, number in numbers(arch).items()}
    for number in [*range(max(names) + 40), 0x40000000, 0x40000001, 0x7FFFFFFF, 0xFFFFFFFF]:
        yield number, (0,) * 6
        yield number, ((1 << 64) - 1,) * 6
        for arguments in tried.get(names.get(number, ""), ()):
            yield number, arguments


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("name", NARROWER)
def test_no_call_passes_that_the_parent_stops(
    artefacts: Mapping[str, bytes], compiled: Compiled, name: str, arch: str
) -> None:
    mine = decode(artefacts[f"containers/{name}/seccomp.{arch}.bpf"])
    parents = decode(artefacts[f"containers/{PARENT}/seccomp.{arch}.bpf"])
    count, passed, wider = 0, set(), []
    for number, arguments in attempts(compiled.profiles[name], compiled.profiles[PARENT], arch=arch):
        count += 1
        if run(mine, TOKENS[arch], number, arguments)[0].action in PASSES:
            passed.add(number)
            if run(parents, TOKENS[arch], number, arguments)[0].action not in PASSES:
                wider.append((number, arguments))
    assert wider == []
    assert len(passed) > 200
    assert count > 1000


@pytest.mark.parametrize("name", [PARENT, *NARROWER])
def test_foreign_calls_pass_nowhere(artefacts: Mapping[str, bytes], name: str) -> None:
    """No call of any other architecture, and none of x32."""
    for arch in ARCHES:
        code = decode(artefacts[f"containers/{name}/seccomp.{arch}.bpf"])
        for token in {*TOKENS.values(), 0x40000003, 0x40000028, 0} - {TOKENS[arch]}:
            for number in range(460):
                assert run(code, token, number, (0,) * 6)[0].action is Action.KILL_PROCESS
        if arch == "x86_64":
            for number in range(460):
                assert run(code, TOKENS[arch], 0x40000000 | number, (0,) * 6)[0].action is Action.KILL_PROCESS


@pytest.mark.parametrize(("arch", "docker"), [("x86_64", "amd64"), ("aarch64", "arm64")])
def test_ordinary_is_within_the_default_profile(
    artefacts: Mapping[str, bytes], compiled: Compiled, arch: str, docker: str
) -> None:
    """Whatever passes is allowed by the profile that container engines use by default, for the same capabilities."""
    default = json.loads(DEFAULT_PROFILE.read_text(encoding="utf-8"))
    held = spec(artefacts, PARENT)["process"]["capabilities"]["bounding"]
    oracle = ReferenceProfile(default, held, docker)
    code = decode(artefacts[f"containers/{PARENT}/seccomp.{arch}.bpf"])
    names = {number: name for name, number in numbers(arch).items()}
    passed, wider = set(), []
    for number, arguments in attempts(compiled.profiles[PARENT], default, arch=arch):
        if number in names and run(code, TOKENS[arch], number, arguments)[0].action in PASSES:
            passed.add(names[number])
            answers = oracle.actions(names[number], [_as_given(names[number], value) for value in arguments])
            if answers != {("SCMP_ACT_ALLOW", None)}:
                wider.append((names[number], arguments, answers))
    assert wider == []
    assert len(passed) > 200


def _as_given(call: str, value: int) -> int:
    """A C int as a C library hands it to the kernel: the upper half is not looked at by these calls."""
    return value & 0xFFFFFFFF if call in ("socket", "socketpair", "personality") else value


@pytest.mark.parametrize("name", NARROWER)
def test_the_spec_is_no_wider(artefacts: Mapping[str, bytes], name: str) -> None:
    mine, parents = spec(artefacts, name), spec(artefacts, PARENT)
    for held in ("bounding", "effective", "permitted", "inheritable", "ambient"):
        assert set(mine["process"]["capabilities"][held]) <= set(parents["process"]["capabilities"][held])
    limits = {limit["type"]: limit for limit in mine["process"]["rlimits"]}
    for limit in parents["process"]["rlimits"]:
        assert limits[limit["type"]]["hard"] <= limit["hard"]
        assert limits[limit["type"]]["soft"] <= limit["soft"]
    assert mine["process"]["noNewPrivileges"] is parents["process"]["noNewPrivileges"] is True
    assert mine["root"]["readonly"] is parents["root"]["readonly"] is True
    for key in ("maskedPaths", "readonlyPaths"):
        assert set(parents["linux"][key]) <= set(mine["linux"][key])
    assert mine["linux"]["namespaces"] == parents["linux"]["namespaces"]
    assert mine["linux"]["devices"] == parents["linux"]["devices"] == []
    assert mine["linux"]["mountLabel"] == parents["linux"]["mountLabel"]
    ours, theirs = mine["linux"]["resources"], parents["linux"]["resources"]
    assert ours["devices"] == theirs["devices"]
    assert ours["memory"]["limit"] <= theirs["memory"]["limit"]
    assert ours["memory"]["swap"] - ours["memory"]["limit"] <= theirs["memory"]["swap"] - theirs["memory"]["limit"]
    assert ours["pids"]["limit"] <= theirs["pids"]["limit"]
    assert int(ours["unified"].get("cpu.weight", 100)) <= int(theirs["unified"].get("cpu.weight", 100))
    assert {m["destination"] for m in mine["mounts"]} <= {m["destination"] for m in parents["mounts"]}
    assert all(m["type"] == "tmpfs" and {"nodev", "noexec", "nosuid"} <= set(m["options"]) for m in mine["mounts"])
    assert mine["linux"]["sysctl"] == parents["linux"]["sysctl"]


@pytest.mark.parametrize("name", NARROWER)
def test_the_domain_is_no_wider(policy: Policy, ours: Binary, name: str) -> None:
    """By setools, before constraints: as subject and as object, its own label standing for the parent's."""
    label, parent = policy.containers[name].domain, policy.containers[PARENT].domain
    narrower = 0
    for other in sorted(ours.types):
        mine, theirs = ours.allow.get((label, other), {}), ours.allow.get((parent, other), {})
        if other == label:
            theirs = ours.allow[parent, parent]
        for tclass, found in mine.items():
            assert found <= theirs.get(tclass, frozenset()), (other, tclass)
        narrower += sum(len(found - mine.get(tclass, frozenset())) for tclass, found in theirs.items())
        if other not in (label, parent):
            reached, known = ours.allow.get((other, label), {}), ours.allow.get((other, parent), {})
            assert all(found <= known.get(tclass, frozenset()) for tclass, found in reached.items()), other
    assert narrower > 1000


@pytest.mark.parametrize("name", NARROWER)
def test_decisions_are_no_wider(policy: Policy, compiled: Compiled, name: str) -> None:
    """By libsepol, constraints applied, for containers of the same and of other categories."""
    label, parent = policy.containers[name].domain, policy.containers[PARENT].domain
    subjects = policy.host.subject_labels
    classes = ("file", "dir", "fifo_file", "process", "unix_stream_socket", "tcp_socket", "capability", "key", "shm")
    with Decisions(compiled.kernel_policy) as oracle:
        given = 0
        for other in sorted(subjects | policy.host.object_labels):
            for level in LEVELS:
                for tclass in classes:
                    role = "system_r" if other in subjects else "object_r"
                    mine = oracle.allowed(
                        f"system_u:system_r:{label}:s0:c1,c2", f"system_u:{role}:{other}:{level}", tclass
                    )
                    same = parent if other == label else other
                    theirs = oracle.allowed(
                        f"system_u:system_r:{parent}:s0:c1,c2", f"system_u:{role}:{same}:{level}", tclass
                    )
                    assert mine <= theirs, (other, level, tclass)
                    given += len(mine)
    assert given > 500


def test_containers_are_kept_apart(compiled: Compiled) -> None:
    """Two containers with pairs of their own: no file of the one for the other, no signal, no shared memory."""
    with Decisions(compiled.kernel_policy) as oracle:
        for mine in ("container_t", "web_t", "database_t", "batch_t"):
            source = f"system_u:system_r:{mine}:s0:c1,c2"
            data = oracle.allowed(source, "system_u:object_r:data_t:s0:c3,c4", "file")
            assert not data & {"read", "write", "open", "execute", "append", "unlink", "map"}
            own = oracle.allowed(source, "system_u:object_r:data_t:s0:c1,c2", "file")
            assert {"read", "write", "open", "unlink"} <= own
            for other in ("container_t", "web_t", "database_t", "batch_t"):
                target = f"system_u:system_r:{other}:s0:c3,c4"
                assert not oracle.allowed(source, target, "process") & {"signal", "sigkill", "ptrace", "transition"}
                assert not oracle.allowed(source, target, "shm")
                assert not oracle.allowed(source, target, "file") & {"write", "append", "unlink"}
                assert not oracle.allowed(source, target, "unix_stream_socket") & {"connectto"}
                assert not oracle.allowed(source, target, "key")
