"""Every shipped rule against its cases, a genuine host against every rule, and rules that must not load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stockade.audit.facts.catalogue import KNOWN
from stockade.audit.facts.fact import Facts
from stockade.audit.judge import verdict
from stockade.audit.report.model import Status
from stockade.audit.rules.cases import changed, judged
from stockade.audit.rules.load import packed, shipped
from stockade.audit.rules.rule import Rule, RuleError, rule

POLICY = Path(__file__).resolve().parents[2] / "policy/audit"
PACKED = Path(__file__).resolve().parents[2] / "compiler/stockade/audit/rules.json"


def test_every_case_has_its_verdict(rules: tuple[Rule, ...], cases: dict[str, Any], genuine: Facts) -> None:
    wrong, count = [], 0
    for one in rules:
        for wanted, case, result in judged(one, cases[one.name], genuine):
            count += 1
            if result.status != wanted:
                wrong.append(f"{one.name} {case}: {result.status}, not {wanted}: {result.message}")
    assert wrong == []
    assert count > 300


def test_a_genuine_host_breaks_no_rule(rules: tuple[Rule, ...], genuine: Facts) -> None:
    found = {one.name: verdict(one, changed(genuine, {})) for one in rules}
    wrong = {name: one.message for name, one in found.items() if one.status in (Status.FAIL, Status.ERROR)}
    assert wrong == {}
    assert sum(one.status is Status.PASS for one in found.values()) > 80


def test_what_travels_in_the_package_is_what_the_policy_says(rules: tuple[Rule, ...]) -> None:
    documents = [(path.name, path.read_text()) for path in sorted(POLICY.glob("*.yaml"))]
    assert PACKED.read_text() == packed(documents), "run `python -m stockade.audit.rules policy/audit`"
    assert [one.name for one in shipped()] == [one.name for one in rules]


GOOD = {
    "rule": "a-rule",
    "title": "T",
    "severity": "low",
    "profiles": ["fortified"],
    "check": "selinux.enforce == 1",
    "why": "W",
    "remediation": "R",
    "cases": {"pass": [{}], "fail": [{"selinux.enforce": 0}]},
}


def test_a_rule_loads() -> None:
    assert rule(GOOD, KNOWN).facts == {"selinux.enforce"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"cases": {"pass": [{}]}}, "no failing case"),
        ({"cases": {"pass": [{}], "fail": []}}, "no failing case"),
        ({"cases": {"fail": [{}]}}, "no passing case"),
        ({"cases": None}, "cases"),
        ({"check": "selinux.enforced == 1"}, "did you mean `selinux.enforce`"),
        ({"check": "__import__('os')"}, "no function"),
        ({"check": "selinux.enforce.__class__()"}, "not of the language"),
        ({"check": "(lambda: 1)()"}, "not of the language"),
        ({"check": "1 if True else 0"}, "not of the language"),
        ({"check": "selinux.enforce is 1"}, "use =="),
        ({"check": "selinux.enforce =="}, "not an expression"),
        ({"check": "9" * 5000}, "not an expression"),
        ({"check": "all(selinux.booleans)"}, "takes"),
        ({"profiles": ["none"]}, "profiles"),
        ({"profiles": []}, "profiles"),
        ({"severity": "dire"}, "severity"),
        ({"why": ""}, "why"),
        ({"title": 3}, "title"),
        ({"rule": "A rule"}, "small letters"),
        ({"extra": 1}, "no key `extra`"),
        ({"manual": "look"}, "one of check and manual"),
        ({"references": {"cis": 1.1}}, "references"),
        ({"image": "yes"}, "image"),
    ],
)
def test_a_faulty_rule_does_not_load(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(RuleError, match=reason):
        rule({**GOOD, **change}, KNOWN)
