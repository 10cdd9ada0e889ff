"""Waivers: who answers for a failure, until when, where, and for exactly what."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from stockade.audit.facts.fact import Fact, Facts
from stockade.audit.judge import judge
from stockade.audit.report.model import Report, Status
from stockade.audit.rules.load import shipped
from stockade.audit.waivers import WaiverError, load

RULES = shipped()
RULE = "kernel-no-user-namespaces"
NOW = int(datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp())


def report(genuine: Facts, value: Any, waivers: list[dict[str, str]], now: int = NOW) -> Report:
    facts = {**genuine.facts, "sysctl:user.max_user_namespaces": value if isinstance(value, Fact) else Fact.of(value)}
    rules = tuple(one for one in RULES if one.name == RULE)
    return judge(Facts("live", facts), rules, waivers=load(waivers), now=now)


def waiver(genuine: Facts, **changes: str) -> dict[str, str]:
    (result,) = report(genuine, 100, []).results
    said = {
        "rule": RULE,
        "owner": "o",
        "reason": "r",
        "expires": "2026-12-31",
        "scope": "node-*",
        "pinned": result.digest,
    }
    return {**said, **changes}


def test_a_waiver_is_applied(genuine: Facts) -> None:
    said = report(genuine, 100, [waiver(genuine)])
    assert said.results[0].status is Status.WAIVED
    assert said.results[0].waiver is not None
    assert said.answer == 0


@pytest.mark.parametrize(
    ("changes", "now", "reason"),
    [
        ({"expires": "2026-05-31"}, NOW, "expired"),
        ({}, int(datetime(2027, 1, 1, tzinfo=UTC).timestamp()), "expired"),
        ({"pinned": "0" * 64}, NOW, "something else"),
        ({"scope": "other-*"}, NOW, ""),
        ({"scope": ""}, NOW, None),
    ],
)
def test_one_that_does_not_fit_leaves_the_failure(
    genuine: Facts, changes: dict[str, str], now: int, reason: str | None
) -> None:
    if reason is None:
        with pytest.raises(WaiverError):
            load([waiver(genuine, **changes)])
        return
    said = report(genuine, 100, [waiver(genuine, **changes)], now)
    assert said.results[0].status is Status.FAIL
    assert reason in said.results[0].message
    assert said.answer == 1


def test_the_last_day_counts(genuine: Facts) -> None:
    now = int(datetime(2026, 12, 31, 23, 59, tzinfo=UTC).timestamp())
    assert report(genuine, 100, [waiver(genuine)], now).results[0].status is Status.WAIVED


def test_another_value_is_not_waived(genuine: Facts) -> None:
    assert report(genuine, 101, [waiver(genuine)]).results[0].status is Status.FAIL


def test_an_error_cannot_be_waived(genuine: Facts) -> None:
    said = report(genuine, Fact.malformed("", "x"), [waiver(genuine)])
    assert said.results[0].status is Status.ERROR
    assert said.answer == 3


def test_a_waiver_for_no_rule_is_a_fault(genuine: Facts) -> None:
    said = report(genuine, 0, [waiver(genuine, rule="no-such-rule")])
    assert said.faults
    assert said.answer == 3


@pytest.mark.parametrize(
    "document",
    [{}, "x", [1], [{}], [{"rule": "a"}], [None]],
)
def test_a_document_that_is_none_is_refused(document: Any) -> None:
    with pytest.raises(WaiverError):
        load(document)


@pytest.mark.parametrize(
    "change", [{"expires": "soon"}, {"expires": "2026-02-31"}, {"pinned": "x"}, {"owner": " "}, {"more": "x"}]
)
def test_a_waiver_without_what_it_needs_is_refused(genuine: Facts, change: dict[str, str]) -> None:
    with pytest.raises(WaiverError):
        load([waiver(genuine, **change)])
