"""Taking any one subject out of any promise fails the check, at the line of that promise: every case is tried."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from stockade.bundle.compile import Compiled
from stockade.model.policy import Policy
from stockade.model.position import Position
from stockade.model.promise import ActionPromise, LabelPromise
from stockade.prove.kept import action_promises
from stockade.prove.labels import names_of
from stockade.prove.matrix import policy_matrix
from stockade.selinux.libsepol import Decisions
from stockade.source.load import build
from stockade.source.yaml import Map, Seq

from tests.prove.mutate import Edit, Source, check, lines_of

SHIPPED = Path(__file__).resolve().parents[2] / "policy"


@pytest.fixture(scope="module")
def source() -> Source:
    return Source(SHIPPED)


def _listed(value: object) -> list[str]:
    return [str(name) for name in value] if isinstance(value, Seq) else [str(value)]


def _without(source: Source, clause: Map, key: str, kind: str, name: str, members: Iterable[str]) -> Edit:
    """An edit after which a promise speaks of `members`, of whom it spoke, but not of `name`."""
    value, at = clause[key], clause.values_at[key]
    if kind == "only":
        new = f"[{', '.join([*_listed(value), name])}]"
    elif isinstance(value, Map):
        left_out = [*_listed(value["except"]), name]
        new = f"{{of: [{', '.join(_listed(value.get('of', 'subjects')))}], except: [{', '.join(left_out)}]}}"
    elif key == "who":
        new = f"{{of: [{', '.join(_listed(value))}], except: {name}}}"
    else:
        new = f"[{', '.join(sorted(set(members) - {name}))}]"
    return Edit(at, source.text(at), new, f"{name} out of {clause.at}")


def _promises(source: Source) -> Iterator[tuple[str, str, Map]]:
    """(name, `never` or `only`, clause) of every promise."""
    for document in source.documents:
        if "promise" in document:
            kind = "only" if "only" in document else "never"
            yield document["promise"], kind, document[kind]


def test_every_subject_of_every_label_promise(source: Source, policy: Policy) -> None:
    """One subject is taken out of all promises at a time. A promise that no longer loads is set aside."""
    names = names_of(policy.host)
    cases: dict[str, list[Edit]] = {}
    for name, kind, clause in _promises(source):
        promise = policy.promises[name]
        if isinstance(promise, LabelPromise):
            spoken = {names[label] for part in promise.who.parts for label in part.members}
            for subject in sorted(spoken):
                cases.setdefault(subject, []).append(_without(source, clause, "who", kind, subject, spoken))
    survivors, count = [], 0
    for edits in cases.values():
        count += len(edits)
        left = edits
        while left:
            findings, mutant = check(source.mutant(*left))
            lines = lines_of(findings)
            missed = [edit for edit in left if (edit.at.file, edit.at.line) not in lines]
            if mutant is not None:
                survivors += [edit.what for edit in missed]
                break
            assert len(missed) < len(left), f"faults hide all of {[e.what for e in left]}"
            left = missed
    assert survivors == []
    assert count > 700
    assert cases.keys() >= policy.host.subjects.keys()


def test_every_container_of_every_action_promise(source: Source, policy: Policy, compiled: Compiled) -> None:
    """Promises do not change what is compiled, so the shipped kernel policy answers for every mutant."""
    count, survivors = 0, []
    cases: dict[str, list[tuple[Edit, bool]]] = {}
    for name, kind, clause in _promises(source):
        promise = policy.promises[name]
        if not isinstance(promise, ActionPromise):
            continue
        for container in sorted(promise.containers):
            edit = _without(source, clause, "container", kind, container, promise.containers)
            cases.setdefault(container, []).append((edit, len(promise.containers) == 1))
    with Decisions(compiled.kernel_policy) as oracle:
        for edits in cases.values():
            count += len(edits)
            # A promise on nobody does not load at all.
            alone = [edit for edit, last in edits if last]
            for edit in alone:
                survivors += [edit.what] if (edit.at.file, edit.at.line) not in _faults(source, edit) else []
            rest = [edit for edit, last in edits if not last]
            mutant = build(source.mutant(*rest))
            lines = lines_of(list(action_promises(mutant, policy_matrix(mutant, oracle))))
            survivors += [edit.what for edit in rest if (edit.at.file, edit.at.line) not in lines]
    assert survivors == []
    assert count > 50


def _faults(source: Source, edit: Edit) -> set[tuple[str, int]]:
    return lines_of(check(source.mutant(edit))[0])


def test_an_excuse_must_excuse_somebody(source: Source, policy: Policy) -> None:
    """`silent-on` for a subject that a promise names, or that is given what it denies, is refused at the promise."""
    first: dict[str, Position] = {d["promise"]: d.values_at["promise"] for d in source.documents if "promise" in d}
    name = "only-the-api-changes-settings"
    at = first[name]
    for subject in ("clock", "super"):
        edit = Edit(at, name, f"{name}\nsilent-on: {{{subject}: a reason that is none}}", subject)
        findings, _ = check(source.mutant(edit))
        assert [(f.at.file, f.at.line) for f in findings] == [(at.file, at.line)]
        assert f"`{subject}`" in findings[0].message
