"""What `stockade diff` says of a host's facts, and of reports, from two times."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from stockade.audit import drift
from stockade.audit.drift import Turn
from stockade.audit.facts.fact import Fact, Facts
from stockade.audit.facts.selinux import packed
from stockade.audit.judge import judge
from stockade.audit.report.model import Coverage, Report, Result, Status
from stockade.audit.report.read import ReportError, from_dict
from stockade.audit.rules.load import shipped
from stockade.cli.main import main

GONE = object()


def other(genuine: Facts, **changes: Any) -> Facts:
    """The genuine host with facts (a dot spelled `__`) that are others, or gone."""
    found = dict(genuine.facts)
    for key, value in changes.items():
        name = key.replace("__", ".")
        found[name] = value if isinstance(value, Fact) else Fact.of(value, found[name].path)
        if value is GONE:
            del found[name]
    return Facts(genuine.kind, found, genuine.collected)


def said(old: Facts, new: Facts) -> list[str]:
    return [str(one) for one in drift.facts(old, new)]


def test_each_way_a_fact_can_change_is_said(genuine: Facts) -> None:
    modules = genuine.get("kernel.modules").value
    changes: dict[str, Any] = {
        "kernel__lockdown": "none",
        "kernel__modules": [*modules[1:], {"name": "evil", "state": "Live", "taint": "OE"}],
        "kernel__swaps": GONE,
        "kernel__lsm": [one for one in genuine.get("kernel.lsm").value if one != "yama"],
        "selinux__enforce": Fact.unreadable("/sys/fs/selinux/enforce", "Permission denied"),
        "host__release": {**genuine.get("host.release").value, "VERSION_ID": "9"},
    }
    assert said(genuine, other(genuine, **changes)) == [
        'host.release VERSION_ID: "1.40.0", now "9"',
        'kernel.lockdown: "integrity", now "none"',
        'kernel.lsm: "yama", now nothing',
        'kernel.modules evil: nothing, now {"name": "evil", "state": "Live", "taint": "OE"}',
        f"kernel.modules overlay: {json.dumps(modules[0], sort_keys=True)}, now nothing",
        "kernel.swaps: [], now nothing",
        "selinux.enforce: 1, now unreadable (Permission denied)",
    ]


def test_numbers_of_the_moment_are_no_drift_and_order_is(genuine: Facts) -> None:
    moved = [{**one, "pid": one["pid"] + 9, "start": 5} for one in genuine.get("processes").value]
    remounted = [{**one, "id": one["id"] + 9} for one in genuine.get("mounts").value]
    assert said(genuine, other(genuine, processes=moved[::-1], mounts=remounted)) == []
    label = [{**moved[0], "label": "system_u:system_r:other_t:s0"}, *moved[1:]]
    assert len(said(genuine, other(genuine, processes=label))) == 1
    twins = [{**moved[0], "name": "one"}, {**moved[1], "name": "one"}]
    changed = [{**twins[0], "label": "system_u:system_r:other_t:s0"}, twins[1]]
    assert len(said(other(genuine, processes=twins), other(genuine, processes=changed[::-1]))) == 2
    swapped = genuine.get("kernel.lsm").value[::-1]
    assert len(said(genuine, other(genuine, kernel__lsm=swapped))) == 1


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["a", "b"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "id", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def canonical(value: Any) -> str:
    """A value as text; the order of objects in a list means nothing."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{canonical(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        entries = [canonical(one) for one in value]
        return f"[{','.join(sorted(entries) if all(isinstance(one, dict) for one in value) else entries)}]"
    return json.dumps(value)


@settings(max_examples=200, deadline=None)
@given(VALUES, VALUES)
@example({"x": True}, {"x": 1})
def test_two_values_have_a_difference_exactly_when_they_are_others(old: Any, new: Any) -> None:
    one, another = (Facts("live", {"a": Fact.of(value)}) for value in (old, new))
    assert (drift.facts(one, another) == ()) is (canonical(old) == canonical(new))
    assert [str(each) for each in drift.facts(one, one)] == []


def report(status: Status, *findings: str) -> Report:
    result = Result("r", "T", "high", ("all",), status, "m", findings)
    return Report("all", judge(Facts("live"), ()).host, (result,), None, 1, 2, "0")


ORDER = [Status.PASS, Status.MANUAL, Status.WAIVED, Status.ERROR, Status.FAIL]


@pytest.mark.parametrize(("old", "new"), [pair for pair in product(ORDER, ORDER) if pair[0] != pair[1]])
def test_a_verdict_gets_better_only_where_it_is_known_to(old: Status, new: Status) -> None:
    (change,) = drift.rules(report(old), report(new))
    worse, known = ORDER.index(new) > ORDER.index(old), new not in (Status.ERROR, Status.FAIL)
    assert change.turn is (Turn.WORSE if worse else Turn.BETTER if known else Turn.CHANGED)


def test_findings_that_come_make_a_failure_worse() -> None:
    (more,) = drift.rules(report(Status.FAIL, "a"), report(Status.FAIL, "a", "b"))
    assert (more.turn, more.more, more.less) == (Turn.WORSE, ("b",), ())
    (less,) = drift.rules(report(Status.FAIL, "a", "b"), report(Status.FAIL, "a"))
    assert (less.turn, less.more, less.less) == (Turn.CHANGED, (), ("b",))
    assert drift.rules(report(Status.FAIL, "a"), report(Status.FAIL, "a")) == ()


def test_a_rule_that_is_asked_no_longer_is_worse_where_it_held() -> None:
    for status, turn in ((Status.PASS, Turn.WORSE), (Status.FAIL, Turn.CHANGED)):
        (change,) = drift.rules(report(status), replace(report(status), results=()))
        assert (change.turn, change.new) == (turn, "")
    for status, turn in ((Status.PASS, Turn.CHANGED), (Status.ERROR, Turn.WORSE)):
        (change,) = drift.rules(replace(report(status), results=()), report(status))
        assert (change.turn, change.old) == (turn, "")


def test_containers_that_are_judged_no_longer_are_worse() -> None:
    old, new = (replace(report(Status.PASS), coverage=Coverage(10, judged)) for judged in (10, 9))
    assert drift.less_covered(old, new) and not drift.less_covered(new, old)
    assert list(drift.about(old, new)) == ["containers judged: 10 of 10, now 9 of 10"]


def test_a_report_is_read_as_it_was_written(genuine: Facts) -> None:
    whole = judge(genuine, shipped(), profile="all", now=7, bundle="ab")
    document = json.loads(json.dumps(whole.as_dict()))
    assert from_dict(document).as_dict() == document
    spoilt: list[Any] = [{**document, "summary": {}}, {**document, "more": 1}, {**document, "schema": 2}, [], None]
    spoilt += [{key: value for key, value in document.items() if key != gone} for gone in document]
    results = document["results"]
    spoilt += [{**document, "results": each} for each in ([1], [{}], [*results, results[0]], None)]
    spoilt += [{**document, "host": each} for each in (None, {"kind": 1, "x": 2}, [])]
    spoilt.append({**document, "results": [{**results[0], "status": "fine"}, *results[1:]]})
    for each in spoilt:
        with pytest.raises(ReportError):
            from_dict(each)


@pytest.fixture
def files(genuine: Facts, tmp_path: Path) -> tuple[Path, Path]:
    """A host's facts, and those of the same host without lockdown."""
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(genuine.to_json())
    new.write_text(other(genuine, kernel__lockdown="none").to_json())
    return old, new


@pytest.mark.parametrize(("swap", "fail_on", "code"), [(0, "widen", 1), (1, "widen", 0), (1, "any", 1), (0, "", 0)])
def test_facts_from_the_command_line(
    files: tuple[Path, Path], swap: int, fail_on: str, code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    sides = [str(path) for path in (files[::-1] if swap else files)]
    more = ["--fail-on", fail_on] if fail_on else []
    assert main(["diff", *sides, *more]) == code
    first = capfd.readouterr().out.splitlines()
    assert first[0].startswith("better  kernel-lockdown: fail, now pass" if swap else "worse   kernel-lockdown: pass")
    assert first[-2].startswith("fact    kernel.lockdown: ") and first[-1].endswith("1 facts")
    assert main(["diff", *sides, "--format", "json", *more]) == code
    document = json.loads(capfd.readouterr().out)
    assert [one["rule"] for one in document["rules"]] == ["kernel-lockdown"] and document["worse"] is not bool(swap)
    assert [one["fact"] for one in document["facts"]] == ["kernel.lockdown"] and not document["same"]


def test_reports_from_the_command_line(
    files: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    reports = [tmp_path / "a.json", tmp_path / "b.json"]
    for facts, path, code in zip(files, reports, (0, 1), strict=True):
        words = ["--facts", str(facts), "--rule", "kernel-lockdown", "--format", "json", "-o", str(path)]
        assert main(["audit", *words]) == code
    capfd.readouterr()
    assert main(["diff", *map(str, reports), "--fail-on", "widen"]) == 1
    assert capfd.readouterr().out.splitlines()[-1] == "1 rules (1 worse), 0 facts"
    assert main(["diff", str(reports[0]), str(reports[0]), "--fail-on", "any"]) == 0
    assert "say the same" in capfd.readouterr().out


def test_a_policy_that_allows_more_is_worse(genuine: Facts, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from stockade.selinux.libsepol import compile_cil

    cil = (
        "(handleunknown deny)(mls true)(class file (read write))(classorder (file))(sid kernel)(sidorder (kernel))"
        "(user u)(role r)(userrole u r)(type a)(type b)(roletype r a)(roletype r b)(sensitivity s0)"
        "(sensitivityorder (s0))(level l (s0))(levelrange lr (l l))(userlevel u l)(userrange u lr)"
        "(sidcontext kernel (u r a lr))"
        "(policycap open_perms)(allow a b (file (read)))"
    )
    paths = []
    for at, text in enumerate((cil, cil + "(allow a b (file (write)))")):
        paths.append(tmp_path / f"{at}.json")
        loaded = compile_cil([("a.cil", text.encode())]).policy
        paths[-1].write_text(other(genuine, selinux__policy=packed(loaded)).to_json())
    assert main(["diff", *map(str, paths), "--fail-on", "widen"]) == 1
    assert any("write" in line for line in capfd.readouterr().out.splitlines() if line.startswith("policy  "))
    assert main(["diff", *map(str, paths[::-1]), "--fail-on", "widen"]) == 0
    paths[0].write_text(other(genuine, selinux__policy=packed(b"\x8c\xff\x7c\xf9 none")).to_json())
    assert main(["diff", *map(str, paths)]) == 3


@pytest.mark.parametrize("content", ['{"schema": 1, "kind": "live", "collected": 1, "facts": {"a": 1}}', "[]", "{", ""])
def test_what_no_audit_wrote_is_not_compared(
    files: tuple[Path, Path], content: str, capfd: pytest.CaptureFixture[str]
) -> None:
    files[1].write_text(content)
    assert main(["diff", *map(str, files)]) == 3
    out, err = capfd.readouterr()
    assert out == "" and len(err.splitlines()) == 1
