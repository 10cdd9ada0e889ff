"""Each type's loadable module: linked with the host's policy it gives the domain the decisions of the whole policy."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from stockade.bundle.compile import POLICY_VERSION, Compiled, compile_policy
from stockade.model.policy import Policy
from stockade.selinux.binary import Binary
from stockade.selinux.cil import own_domains
from stockade.selinux.libsepol import Decisions, compile_cil
from stockade.selinux.module import module_to_cil
from stockade.source.load import load

POLICY = Path(__file__).parents[2] / "policy"

TYPES = ("admin", "batch", "bootstrap", "control", "database", "ordinary", "web")
OWN = ("batch", "database", "web")
LEVELS = ("s0", "s0:c1,c2", "s0:c3", "s0-s0:c0.c1023")
CLASSES = ("file", "fifo_file", "process", "unix_stream_socket", "shm", "key", "capability", "io_uring", "fd")

Vectors = Mapping[tuple[str, str], Mapping[str, frozenset[str]]]


@pytest.fixture(scope="module")
def modules(compiled: Compiled) -> dict[str, bytes]:
    """Container type -> its module as SELinux's own converter turns it into CIL."""
    return {
        artefact.path.split("/")[1]: module_to_cil(artefact.content).encode()
        for artefact in compiled.artefacts
        if artefact.path.endswith("selinux.pp")
    }


@pytest.fixture(scope="module")
def whole(compiled: Compiled) -> Binary:
    return Binary(compiled.kernel_policy)


def linked(compiled: Compiled, modules: Mapping[str, bytes], *names: str, rules: bool = True) -> bytes:
    """The kernel policy of the host's file and these modules; without `rules` the host's file gives no access."""
    host = compiled.cil[0][1]
    if not rules:
        host = re.sub(rb"(?m)^\(allow .*\n", b"", host)
        assert b"(allow " not in host
    files = [("host/policy.cil", host), *((f"{name}.cil", modules[name]) for name in names)]
    # What semodule has in its base module: the sets that the converter puts required names into.
    frame = b"(typeattribute cil_gen_require)\n(roleattribute cil_gen_require)\n"
    return compile_cil([("frame.cil", frame), *files], policy_version=POLICY_VERSION).policy


@pytest.fixture(scope="module")
def together(compiled: Compiled, modules: dict[str, bytes]) -> bytes:
    """The kernel policy of the host and all own domains by their modules."""
    return linked(compiled, modules, *OWN)


def given_to(vectors: Vectors, label: str, known: frozenset[str]) -> dict[tuple[str, str], object]:
    """What a table gives one label, as far as the other side of it is known."""
    return {pair: given for pair, given in vectors.items() if set(pair) <= known and pair[0] == label}


def test_every_type_has_a_module(policy: Policy, modules: Mapping[str, bytes]) -> None:
    assert tuple(sorted(modules)) == tuple(policy.containers) == TYPES
    assert {policy.containers[name].domain for name in OWN} == own_domains(policy).keys()


@pytest.mark.parametrize("name", TYPES)
def test_the_module_alone_gives_the_domain_its_access(
    policy: Policy, compiled: Compiled, whole: Binary, modules: Mapping[str, bytes], name: str
) -> None:
    """The host's rules are taken out, so that all access there is comes from modules, and is that of their domains.

    The own domains are declared by modules too: each type's module is linked with theirs.
    """
    label = policy.containers[name].domain
    built = Binary(linked(compiled, modules, *dict.fromkeys([name, *OWN]), rules=False))
    known = frozenset(built.types)
    found = given_to(built.allow, label, known)
    assert found == given_to(whole.allow, label, known)
    assert len(found) > 20
    assert {source for source, _ in built.allow} <= {label, *(policy.containers[own].domain for own in OWN)}


def test_linked_modules_are_the_whole_policy(whole: Binary, together: bytes) -> None:
    """Host and own domains by their modules: the same access, types, transitions and constraints, to the last one."""
    built = Binary(together)
    assert built.types.keys() == whole.types.keys()
    assert built.allow == whole.allow
    assert built.type_transitions == whole.type_transitions
    assert sorted(map(str, built.roles["system_r"])) == sorted(map(str, whole.roles["system_r"]))
    # Each set of types in a condition is compared by its members.
    assert sorted((c.kind, c.tclass, sorted(c.perms), _spelled(c.postfix)) for c in built.constraints) == sorted(
        (c.kind, c.tclass, sorted(c.perms), _spelled(c.postfix)) for c in whole.constraints
    )


def _spelled(postfix: tuple[str | frozenset[str], ...]) -> list[str]:
    return [term if isinstance(term, str) else " ".join(sorted(term)) for term in postfix]


@pytest.mark.parametrize("name", OWN)
def test_decisions_under_constraints(policy: Policy, compiled: Compiled, together: bytes, name: str) -> None:
    """libsepol decides the same for the domain, as subject and as object, at levels that differ."""
    label = policy.containers[name].domain
    subjects = policy.host.subject_labels
    others = sorted(subjects | policy.host.object_labels)
    pairs = [(label, other) for other in others] + [(other, label) for other in sorted(subjects - {label})]

    def answers(kernel_policy: bytes) -> list[frozenset[str]]:
        with Decisions(kernel_policy) as oracle:
            return [
                oracle.allowed(
                    f"system_u:system_r:{source}:{low}",
                    f"system_u:{'system_r' if target in subjects else 'object_r'}:{target}:{high}",
                    tclass,
                )
                for source, target in pairs
                for low, high in (("s0:c1,c2", level) for level in LEVELS)
                for tclass in CLASSES
            ]

    mine, theirs = answers(together), answers(compiled.kernel_policy)
    assert mine == theirs
    assert len({frozenset(found) for found in theirs}) > 10


@pytest.mark.parametrize("name", TYPES)
def test_sources_say_where_each_rule_comes_from(policy: Policy, compiled: Compiled, name: str) -> None:
    (te,) = (a.content.decode() for a in compiled.artefacts if a.path == f"containers/{name}/selinux.te")
    reasons = {
        f"{rule.at.file}:{rule.at.line} {' '.join(rule.why.split())}" for rule in policy.host.rules if rule.audit
    }
    seen, reason = 0, ""
    for line in te.splitlines():
        if line.startswith("#   "):
            reason += " " + line.removeprefix("#").strip()
        elif line.startswith("# "):
            reason = line.removeprefix("# ")
        elif line.startswith("allow "):
            assert reason in reasons, line
            seen += 1
    assert seen > 40


def test_a_module_names_no_other_container_type(tmp_path: Path) -> None:
    """Two more domains, with drops that split sets: the modules name sets, and linked they are the whole policy."""
    shutil.copytree(POLICY, tmp_path / "policy")
    for name, drop in (
        ("split", "{may: describe, what: {of: everything, except: [subjects, any]}, why: w}"),
        ("twice", "{may: inspect, what: [workloads, self], why: w}\n    - {may: describe, what: workloads, why: w}"),
    ):
        (tmp_path / f"policy/containers/{name}.yaml").write_text(
            f"container: {name}\nextends: ordinary\nwhy: w\nselinux:\n  domain: {name}_t\n  may-not:\n    - {drop}\n"
        )
    compiled = compile_policy(load(tmp_path / "policy"))
    packed = {a.path.split("/")[1]: a.content for a in compiled.artefacts if a.path.endswith("selinux.pp")}
    texts = {a.path.split("/")[1]: a.content for a in compiled.artefacts if a.path.endswith("selinux.te")}
    own = {name: f"{name}_t".encode() for name in (*OWN, "split", "twice")}
    for name, text in texts.items():
        assert not [label for other, label in own.items() if other != name and re.search(rb"\b%s\b" % label, text)]
    built = Binary(linked(compiled, {name: module_to_cil(packed[name]).encode() for name in own}, *own))
    whole = Binary(compiled.kernel_policy)
    assert built.allow == whole.allow
    described = {target for (source, target), vectors in whole.allow.items() if "getattr" in vectors.get("file", ())
                 and source == "split_t"}  # fmt: skip
    assert described == {*(s.label for s in load(POLICY).host.subjects.values()), "split_t", "twice_t", "any_t"}
