"""The shipped policy against the reference's decisions: never wider, and narrower only where a promise says so."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from stockade.bundle.compile import Compiled
from stockade.model.access import mask, words
from stockade.model.policy import Policy
from stockade.model.promise import LabelPromise
from stockade.selinux.binary import Binary
from stockade.selinux.libsepol import Decisions

from tests.selinux.reference import permissions

LEVELS = ("s0", "s0:c1,c2", "s0:c3", "s0-s0:c0.c1023")
CLASSES = (
    "file", "dir", "fifo_file", "sock_file", "chr_file", "blk_file", "filesystem", "process", "process2", "fd",
    "unix_stream_socket", "unix_dgram_socket", "tcp_socket", "capability", "capability2", "shm", "key", "system",
    "user_namespace", "security", "bpf",
)  # fmt: skip
FILES = ("file", "dir", "lnk_file", "sock_file", "fifo_file", "chr_file", "blk_file")
SAMPLES = 8_000


@pytest.fixture(scope="module")
def denied(policy: Policy) -> dict[tuple[str, str], int]:
    """What promises with a reason deny."""
    found: dict[tuple[str, str], int] = {}
    for promise in policy.promises.values():
        if isinstance(promise, LabelPromise) and promise.why.strip():
            for subject in frozenset().union(*(part.members for part in promise.who.parts)):
                for target in promise.what.members(subject):
                    found[subject, target] = found.get((subject, target), 0) | promise.access
    return found


def test_the_reference_knows_the_same_classes_and_permissions(ours: Binary, decided: dict[str, Any]) -> None:
    assert {name: set(found) for name, found in ours.classes.items()} == {
        name: set(found) for name, found in decided["classes"].items()
    }


def test_nothing_is_wider(ours: Binary, decided: dict[str, Any], parent: Mapping[str, str]) -> None:
    count, wider = 0, []
    for (subject, target), vector in ours.allow.items():
        known = permissions(decided, parent.get(subject, subject), parent.get(target, target))
        for tclass, found in vector.items():
            count += len(found)
            if extra := found - known.get(tclass, frozenset()):
                wider.append((subject, target, tclass, sorted(extra)))
    print(f"{count} permissions of ours are within the reference")
    assert wider == []
    assert count > 200_000


def test_everything_narrower_is_promised(
    ours: Binary, decided: dict[str, Any], denied: Mapping[tuple[str, str], int], parent: Mapping[str, str]
) -> None:
    """Own domains stand beside the type they narrow as objects; what they lose as subjects their files say."""
    unexplained, total, narrower = [], 0, 0
    targets = {label: [label, *(own for own, of in parent.items() if of == label)] for label in decided["types"]}
    for subject, reached in decided["allow"].items():
        for known in reached:
            vectors = permissions(decided, subject, known)
            for target in targets[known]:
                given = ours.allow.get((subject, target), {})
                for tclass, found in vectors.items():
                    total += len(found)
                    gone = found - given.get(tclass, frozenset())
                    narrower += len(gone)
                    if left := mask(tclass, gone) & ~denied.get((subject, target), 0):
                        unexplained.append((subject, target, words(left)))
    print(f"of {total} permissions of the reference {narrower} are taken away")
    assert unexplained == []
    assert narrower > 100_000


def test_types_and_aliases_are_kept(ours: Binary, decided: dict[str, Any], parent: Mapping[str, str]) -> None:
    assert set(ours.types) - set(parent) == set(decided["types"])
    assert dict(ours.aliases) == {a: name for name, facts in decided["types"].items() for a in facts["aliases"]}


def test_transitions_are_those_of_the_reference(ours: Binary, decided: dict[str, Any]) -> None:
    found = [(t.source, t.target, t.tclass, t.result, *([t.name] if t.name else [])) for t in ours.type_transitions]
    assert sorted(found) == sorted(tuple(row) for row in decided["type_transitions"])
    ranges = [
        [t.source, t.target, t.tclass, t.low if t.low == t.high else f"{t.low} - {t.high}"]
        for t in ours.range_transitions
    ]
    assert sorted(ranges) == sorted(decided["range_transitions"])
    assert {t.kind for t in ours.type_transitions} == {"type_transition"}


def test_identity_and_labels_are_those_of_the_reference(ours: Binary, decided: dict[str, Any]) -> None:
    assert dict(ours.initial_sids) == decided["initial_sids"]
    assert sorted([kind, name, text] for name, (kind, text) in ours.fs_use.items()) == sorted(decided["fs_use"])
    assert sorted([name, path, text] for (name, path, _), text in ours.genfscon.items()) == sorted(decided["genfscon"])
    assert ours.handle_unknown == decided["handle_unknown"] == "deny"
    assert sorted(ours.policycaps) == sorted(decided["policy_capabilities"])
    spelled = {f"{d.kind} {d.tclass} {d.value} {d.part};" for d in ours.defaults}
    assert spelled == set(decided["defaults"])
    assert set(ours.users) == set(decided["users"])
    assert (ours.users["system_u"].low, ours.users["system_u"].high) == ("s0", "s0:c0.c1023")
    assert not ours.permissive
    assert not ours.booleans


def context(label: str, level: str, subjects: Iterable[str]) -> str:
    return f"system_u:{'system_r' if label in subjects else 'object_r'}:{label}:{level}"


def test_constraints_are_at_least_as_strict(
    policy: Policy,
    compiled: Compiled,
    reference_kernel_policy: bytes,
    parent: Mapping[str, str],
) -> None:
    """Sampled over all types and levels, and in full where categories decide: workloads and their data."""
    subjects = policy.host.subject_labels
    labels, actors = sorted(subjects | policy.host.object_labels), sorted(subjects)
    draw = random.Random(1)
    questions = {
        (draw.choice(actors), draw.choice(LEVELS), draw.choice(labels), draw.choice(LEVELS), draw.choice(CLASSES))
        for _ in range(SAMPLES)
    }
    workloads = ["container_t", *parent]
    questions |= {
        (actor, low, label, high, tclass)
        for actor in workloads
        for label in [*workloads, "data_t"]
        for low in LEVELS
        for high in LEVELS
        for tclass in CLASSES
    }
    ordered = sorted(questions)

    def answers(kernel_policy: bytes, names: Mapping[str, str]) -> list[frozenset[str]]:
        with Decisions(kernel_policy) as oracle:
            return [
                oracle.allowed(
                    context(names.get(actor, actor), low, subjects),
                    context(names.get(label, label), high, subjects),
                    tclass,
                )
                for actor, low, label, high, tclass in ordered
            ]

    mine, theirs = answers(compiled.kernel_policy, {}), answers(reference_kernel_policy, parent)
    wider = [(q, sorted(a - b)) for q, a, b in zip(ordered, mine, theirs, strict=True) if a - b]
    assert wider == []
    stricter = sum(1 for a, b in zip(mine, theirs, strict=True) if b - a)
    same = sum(1 for a, b in zip(mine, theirs, strict=True) if a == b and a)
    print(f"of {len(ordered)} questions {stricter} get a stricter answer and {same} the same")
    assert stricter > 1000
    assert same > 1000


def test_relabelling_is_at_least_as_strict(
    policy: Policy, compiled: Compiled, reference_kernel_policy: bytes, parent: Mapping[str, str]
) -> None:
    subjects = policy.host.subject_labels
    objects, actors = sorted(policy.host.object_labels), sorted(subjects)
    draw = random.Random(2)
    questions = {
        (draw.choice(actors), draw.choice(LEVELS), draw.choice(objects), draw.choice(LEVELS), draw.choice(objects),
         draw.choice(LEVELS), draw.choice(FILES))
        for _ in range(SAMPLES // 4)
    }  # fmt: skip
    questions |= {
        (actor, "s0:c1,c2", "data_t", old, "data_t", new, tclass)
        for actor in actors
        for old in LEVELS
        for new in LEVELS
        for tclass in FILES
    }
    ordered = sorted(questions)

    def answers(kernel_policy: bytes, names: Mapping[str, str]) -> list[bool]:
        with Decisions(kernel_policy) as oracle:
            return [
                oracle.relabel(
                    context(old, was, subjects), context(new, becomes, subjects),
                    context(names.get(actor, actor), level, subjects), tclass,
                ).allowed
                for actor, level, old, was, new, becomes, tclass in ordered
            ]  # fmt: skip

    mine, theirs = answers(compiled.kernel_policy, {}), answers(reference_kernel_policy, parent)
    assert [q for q, a, b in zip(ordered, mine, theirs, strict=True) if a and not b] == []
    assert mine.count(True) > 500
    assert mine.count(False) > 500
