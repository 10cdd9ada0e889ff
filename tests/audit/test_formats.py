"""A report in the formats of others, read by their own public readers: every verdict of a genuine and of a bad host."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from junitparser import Error, Failure, JUnitXml, Skipped
from oscal_bindings.v1 import OscalDocument
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError
from sarif_kit.validate import validation_errors
from stockade.audit.facts.fact import Fact, Facts
from stockade.audit.judge import judge
from stockade.audit.report.html import html
from stockade.audit.report.junit import junit
from stockade.audit.report.model import Report, Status
from stockade.audit.report.openreports import openreports
from stockade.audit.report.oscal import oscal
from stockade.audit.report.prometheus import prometheus
from stockade.audit.report.sarif import sarif
from stockade.audit.rules.load import shipped
from stockade.audit.waivers import load

HOSTILE = 'a "quoted" <tag> & \x1b[31m\x00\ud800 line\nbreak \\ end '
WAIVED = "kernel-no-user-namespaces"
NOW = 1_800_000_000


def report(facts: Facts) -> Report:
    """Every shipped rule on a host with one failure that is waived."""
    found = {**facts.facts, "sysctl:user.max_user_namespaces": Fact.of(7)}
    host = Facts(facts.kind, found, NOW - 5)
    (failed,) = (one for one in judge(host, shipped(), now=NOW).results if one.rule == WAIVED)
    excuse = {"rule": WAIVED, "owner": "o", "reason": HOSTILE, "expires": "2030-01-01", "scope": "*"}
    waivers = load([{**excuse, "pinned": failed.digest}])
    return judge(host, shipped(), profile="all", waivers=waivers, bundle="ab" * 32, now=NOW)


@pytest.fixture(scope="module")
def bad(genuine: Facts) -> Report:
    """A host that fails, lies and cannot be read, with every status among its verdicts, and hostile words in each."""
    changed = {name: Fact.malformed("/proc/x", HOSTILE) for name in list(genuine.facts)[::7]}
    changed |= {"kernel.hostname": Fact.of(HOSTILE), "host.machine_id": Fact.of(HOSTILE)}
    changed |= {"kernel.lockdown": Fact.of(HOSTILE), "modules": Fact.absent(), "containers": Fact.absent()}
    said = report(Facts(genuine.kind, {**genuine.facts, **changed}))
    results = tuple(replace(one, message=one.message + HOSTILE, findings=(HOSTILE,) * 30) for one in said.results)
    return replace(said, results=results, faults=(HOSTILE,))


@pytest.fixture(params=["genuine", "bad"])
def said(request: pytest.FixtureRequest, genuine: Facts) -> Report:
    if request.param == "genuine":
        return report(genuine)
    found: Report = request.getfixturevalue("bad")
    return found


def test_the_bad_host_has_every_verdict(bad: Report) -> None:
    assert {one.status for one in bad.results} == set(Status)


def test_oscal(said: Report) -> None:
    document = json.loads(json.dumps(oscal(said), allow_nan=False))
    OscalDocument.model_validate(document)
    (result,) = document["assessment-results"]["results"]
    states = {one["target"]["target-id"]: one["target"]["status"]["state"] for one in result["findings"]}
    wanted = {Status.PASS: "satisfied", Status.NOT_APPLICABLE: None, Status.MANUAL: None}
    for one in said.results:
        assert states.get(one.rule) == wanted.get(one.status, "not-satisfied"), one.rule
    risks = {one["uuid"]: one["status"] for one in result["risks"]}
    assert len(risks) == sum(state == "not-satisfied" for state in states.values())
    assert sorted(set(risks.values())) == ["deviation-approved", "open"][: 1 + (len(risks) > 1)]


def references(value: Any) -> Iterator[tuple[str, str]]:
    """(key, identifier) of all that is named by its identifier."""
    if isinstance(value, list):
        for one in value:
            yield from references(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            if key.endswith("uuid"):
                yield key, one
            else:
                yield from references(one)


def test_oscal_names_nothing_that_is_not_there_and_is_the_same_each_time(said: Report) -> None:
    document = oscal(said)
    found = list(references(document))
    defined = [one for key, one in found if key == "uuid"]
    assert len(set(defined)) == len(defined) > len(said.results)
    assert {one for key, one in found if key != "uuid"} <= set(defined)
    assert document["assessment-results"]["import-ap"]["href"].removeprefix("#") in defined
    assert json.dumps(oscal(said)) == json.dumps(document)
    again = oscal(replace(said, collected=NOW + 100, judged=NOW + 101))
    findings, later = (
        [one["uuid"] for one in each["assessment-results"]["results"][0]["findings"]] for each in (document, again)
    )
    assert findings == later
    assert again["assessment-results"]["uuid"] != document["assessment-results"]["uuid"]


def test_the_reader_of_oscal_refuses_what_is_none(genuine: Facts) -> None:
    document = oscal(report(genuine))
    document["assessment-results"]["results"][0]["findings"][0]["target"]["status"]["state"] = "perhaps"
    with pytest.raises(ValidationError):
        OscalDocument.model_validate(document)


def test_sarif(said: Report) -> None:
    log = json.loads(json.dumps(sarif(said), allow_nan=False))
    assert validation_errors(log) == []
    assert validation_errors({**log, "runs": [{"tool": {}}]}) != []


def test_junit(said: Report) -> None:
    read = JUnitXml.fromstring(junit(said).encode())
    (suite,) = read
    kinds = {Failure: Status.FAIL, Error: Status.ERROR, Skipped: None}
    counts = [(Failure, suite.failures), (Error, suite.errors), (Skipped, suite.skipped)]
    cases = {str(case.name).partition(":")[0]: case.result for case in suite}
    assert list(cases) == [one.rule for one in said.results] and suite.tests == len(cases)
    for one in said.results:
        got = [kinds[type(each)] for each in cases[one.rule]]
        assert got == {Status.PASS: [], Status.FAIL: [Status.FAIL], Status.ERROR: [Status.ERROR]}.get(
            one.status, [None]
        )
    for kind, count in counts:
        assert count == sum(isinstance(each, kind) for every in cases.values() for each in every)


def test_metrics(said: Report) -> None:
    families = {one.name: one.samples for one in text_string_to_metric_families(prometheus(said))}
    rules = {sample.labels["rule"]: sample.labels["status"] for sample in families["stockade_audit_rule"]}
    assert rules == {one.rule: str(one.status) for one in said.results}
    counts = {sample.labels["status"]: sample.value for sample in families["stockade_audit_rules"]}
    assert counts == {str(status): said.count(status) for status in Status}
    # The stricter format that grew out of this one, but for the line at its end.
    strict = {one.name: one.samples for one in openmetrics(f"{prometheus(said)}# EOF\n")}
    assert strict == families


class Page(HTMLParser):
    """The rules that a page tells of, by section, and the tags it is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.sections: dict[str, list[str]] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        name = dict(attrs).get("id") or ""
        if tag == "section":
            self.sections[name] = []
        elif tag == "details" and name:
            list(self.sections.values())[-1].append(name.removeprefix("rule-"))


def test_a_page(said: Report) -> None:
    text = html(said)
    page = Page(text)
    told = {rule: section for section, rules in page.sections.items() for rule in rules}
    assert told == {one.rule: str(one.status) for one in said.results}
    assert sum(map(len, page.sections.values())) == len(said.results)
    assert not page.tags & {"script", "img", "iframe", "tag"} and "http-equiv" in text and "\x1b" not in text
    for one in said.results:
        if one.status is Status.FAIL:
            assert one.digest in text and escape(one.remediation, quote=False) in text
    answer = {0: "all of it holds", 1: "not all of it holds", 3: "could be decided"}[said.answer]
    assert answer in text and html(said) == text


def closed(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": properties, "additionalProperties": False}


TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
TEXTS = {"type": "object", "additionalProperties": TEXT}
COUNT = {"type": "integer", "minimum": 0}
KEY = r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$"
REPORT = closed(
    "apiVersion kind metadata source summary results",
    apiVersion={"const": "openreports.io/v1alpha1"},
    kind={"const": "ClusterReport"},
    metadata=closed(
        "name",
        name={"type": "string", "maxLength": 253, "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
        labels={**TEXTS, "propertyNames": {"pattern": KEY}},
        annotations={**TEXTS, "propertyNames": {"pattern": KEY}},
    ),
    source=TEXT,
    scope=closed("kind name", apiVersion=TEXT, kind=TEXT, name=TEXT),
    summary=closed("pass fail warn error skip", **dict.fromkeys(("pass", "fail", "warn", "error", "skip"), COUNT)),
    results={
        "type": "array",
        "items": closed(
            "policy result",
            source=TEXT,
            policy=TEXT,
            rule=TEXT,
            category=TEXT,
            severity={"enum": ["critical", "high", "low", "medium", "info"]},
            timestamp=closed("nanos seconds", seconds={"type": "integer"}, nanos=COUNT),
            result={"enum": ["pass", "fail", "warn", "error", "skip"]},
            scored={"type": "boolean"},
            message=TEXT,
            properties=TEXTS,
        ),
    },
)
"""What a ClusterReport may hold; the fields of the custom resource, closed. There is no public package of it."""


def test_openreports(said: Report) -> None:
    found = json.loads(json.dumps(openreports(said), allow_nan=False))
    assert [error.message for error in Draft202012Validator(REPORT).iter_errors(found)] == []
    wanted = {"pass": "pass", "fail": "fail", "waived": "warn", "error": "error"}
    assert [one["result"] for one in found["results"]] == [wanted.get(str(one.status), "skip") for one in said.results]
    assert sum(found["summary"].values()) == len(said.results)
    assert len(json.dumps(found)) < 1_000_000
