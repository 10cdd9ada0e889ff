"""The mutation score: what it counts, that libsepol refuses the same, what waivers may say, and derived guards."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from stockade.bundle.compile import kernel_cil
from stockade.model.grants import grants
from stockade.model.policy import Policy
from stockade.model.promise import LabelPromise
from stockade.prove.exact import refused
from stockade.prove.guards import blocks, derive, document
from stockade.prove.labels import DERIVED
from stockade.prove.mutation import grouped, measure, rejected, score, unguarded
from stockade.prove.policy import source_findings, statement_findings
from stockade.source.files import SourceFile, read_files
from stockade.source.load import build

SHIPPED = Path(__file__).resolve().parents[2] / "policy"
Table = dict[tuple[str, str], int]


def without(policy: Policy, *names: str) -> Policy:
    assert set(names) <= policy.promises.keys()
    return replace(policy, promises={n: p for n, p in policy.promises.items() if n not in names})


def loosened(*gone: str) -> list[SourceFile]:
    """The shipped files without some promises, and one container type without what it may not."""
    files = []
    for file in read_files(SHIPPED):
        documents = file.data.decode().split("---\n")
        kept = [d for d in documents if not any(f"promise: {name}\n" in d for name in gone)]
        files.append(replace(file, data="---\n".join(kept).encode()))
    return files


GONE = ("nobody-changes-the-image", "only-the-clock-writes-measurements", "only-containers-have-writable-code")


def test_every_widening_of_the_shipped_policy_is_refused(policy: Policy, table: Table) -> None:
    found = score(policy, table)
    assert policy.complete
    assert found.silent == ()
    assert found.share == 1.0
    assert found.total == sum(found.rejected.values()) > 45_000
    assert found.tried.keys() == policy.host.verbs.keys()


def test_the_tables_count_what_is_there() -> None:
    verbs = {"read": 0b011, "write": 0b100}
    given = {("a", "x"): 0b001, ("a", "y"): 0b111}
    denied = {("a", "x"): 0b010, ("b", "x"): 0b001, ("b", "y"): 0b100}
    found = measure(["a", "b"], ["x", "y"], verbs, given, denied, {("b", "y"): 0b011})
    assert found.tried == {"read": 3, "write": 3}
    assert found.rejected == {"read": 2, "write": 1}
    assert [(m.verb, m.subject, m.target, m.silent) for m in found.survivors] == [
        ("write", "a", "x", 4),
        ("write", "b", "x", 4),
    ]
    assert [(m.verb, m.subject, m.target, m.silent) for m in found.partly] == [("read", "b", "x", 2)]
    assert [(m.verb, m.subject, m.target) for m in found.waived] == [("read", "b", "y")]
    assert found.share == pytest.approx(3 / 5)


def test_libsepol_refuses_what_the_tables_refuse_and_nothing_else(policy: Policy) -> None:
    loose = replace(without(policy, *GONE), complete=False)
    table = grants(loose.host)
    survivors = list(score(loose, table).survivors)
    assert len(survivors) > 100
    tried = [*survivors, *random.Random(7).sample(list(rejected(loose, table)), 200)]
    verbs = {name: verb.access for name, verb in loose.host.verbs.items()}
    no = set(refused(verbs, kernel_cil(loose), tried))
    assert no == set(tried) - set(survivors)


def test_a_promise_less_is_found_where_guards_are_to_be_complete(policy: Policy, table: Table) -> None:
    """Taking away any promise on labels leaves a gap that is named, unless other promises close it."""
    gaps = 0
    for name, promise in policy.promises.items():
        if isinstance(promise, LabelPromise):
            weaker = without(policy, name)
            silent = score(weaker, table).silent
            found = list(unguarded(weaker, table))
            assert len(found) == len(grouped(policy.host, silent))
            gaps += bool(silent)
    assert gaps > 60


def test_derived_guards_close_every_gap_and_are_promises() -> None:
    files = loosened(*GONE)
    policy = build(files)
    table = grants(policy.host)
    assert [f for f in source_findings(policy, table) if "nothing forbids" not in f.message] == []
    text = document(policy, derive(policy, table))
    again = build([*reversed(files), SourceFile(DERIVED, text.encode())])
    assert source_findings(again, grants(again.host)) == []
    assert score(again, table).silent == ()
    assert document(policy, derive(policy, table)) == text


def test_a_rule_that_is_widened_later_breaks_a_derived_guard() -> None:
    files = loosened(*GONE)
    policy = build(files)
    guards = SourceFile(DERIVED, document(policy, derive(policy, grants(policy.host))).encode())
    wider = [
        replace(f, data=f.data.replace(b"{who: clocks, may:", b"{who: [clocks, bus], may:"))
        if f.name == "host/rules.yaml"
        else f
        for f in files
    ]
    assert wider != files
    changed = build([*wider, guards])
    (first, *_) = statement_findings(changed, grants(changed.host))
    assert "breaks promise `derived-modify" in first.message
    assert "--derive" in first.hint


@pytest.mark.parametrize(
    ("waiver", "says"),
    [
        ("who: bus\nmay: modify\nwhat: os", "leaves open what promise `nobody-changes-the-image` forbids"),
        ("who: [clock, super]\nmay: modify\nwhat: measure", "leaves open what rules give"),
        ("who: api\nmay: [describe, read]\nwhat: os", "leaves open what rules give"),
    ],
)
def test_a_stale_waiver_is_found(waiver: str, says: str) -> None:
    text = f"open: one\nwhy: it was once true\n{waiver}\n"
    policy = build([*read_files(SHIPPED), SourceFile("promises/open.yaml", text.encode())])
    (finding,) = source_findings(policy, grants(policy.host))
    assert says in finding.message
    assert (finding.at.file, finding.at.line) == ("promises/open.yaml", 1)


def test_a_waiver_with_a_reason_stands_for_a_gap() -> None:
    gone = "only-the-clock-writes-measurements"
    policy = build(loosened(gone))
    table = grants(policy.host)
    silent = score(policy, table).silent
    who = sorted({one.subject.removesuffix("_t") for one in silent})
    assert {one.target for one in silent} == {"measure_t"}
    text = f"open: time\nwhy: a test\nwho: [{', '.join(who)}]\nmay: [modify, modify-blocks]\nwhat: measure\n"
    waived = build([*loosened(gone), SourceFile("promises/open.yaml", text.encode())])
    assert source_findings(waived, grants(waived.host)) == []
    found = score(waived, table)
    assert (found.silent, found.waived) == ((), silent)
    assert found.share == 1.0


def test_blocks_cover_exactly_what_they_are_given() -> None:
    draw = random.Random(3)
    for _ in range(50):
        rows = {f"r{n}": {c for c in "abcdef" if draw.random() < 0.5} for n in range(6)}
        covered = {(r, c) for who, what in blocks(rows) for r in who for c in what}
        assert covered == {(r, c) for r, columns in rows.items() for c in columns}
