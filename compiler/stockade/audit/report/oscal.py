"""A report as OSCAL assessment results: an observation a rule, a finding a verdict, a risk a failure.

Identifiers are of version 5, made of what they name, so that the same report gives the same bytes, and so that the same
rule on the same host has the same finding in every assessment.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from stockade.audit.report.model import Report, Result, Status
from stockade.plain import plain

VERSION: Final = "1.1.3"
NAMESPACE: Final = "urn:stockade:audit"
"""Of the properties that are ours; their names are those of the JSON report."""

_ROOT: Final = uuid.uuid5(uuid.NAMESPACE_URL, NAMESPACE)

_STATES: Final = {
    Status.PASS: ("satisfied", "pass"),
    Status.FAIL: ("not-satisfied", "fail"),
    Status.WAIVED: ("not-satisfied", "fail"),
    # Nobody may read out of what could not be determined that it holds.
    Status.ERROR: ("not-satisfied", "other"),
}


def oscal(report: Report) -> dict[str, Any]:
    """The document as plain JSON values. A rule that does not apply, or that a person judges, has no finding."""
    host = _id("host", report.host.machine_id or report.host.said)
    decided = [one for one in report.results if one.status in _STATES]
    risky = [one for one in decided if one.status is not Status.PASS]
    plan, when = _id("plan", report.profile), _time(report.collected or report.judged)
    result = {
        "uuid": _id("result", host, report.profile, report.collected, report.judged),
        "title": _line(f"Profile {report.profile} on {report.host.said}"),
        "description": _text(_summary(report)),
        "start": when,
        "end": _time(report.judged),
        "props": _properties({"bundle": report.bundle, **{str(one): report.count(one) for one in Status}}),
        "local-definitions": {"inventory-items": [_host(report, host)]},
        "reviewed-controls": {
            "control-selections": [{"include-controls": [{"control-id": one.rule} for one in report.results]}]
        },
        "observations": [_observation(one, host, when) for one in report.results],
        "risks": [_risk(one, host, when) for one in risky],
        "findings": [_finding(one, host, when) for one in decided],
        "remarks": "\n".join(map(_line, report.faults)),
    }
    return {
        "assessment-results": {
            "uuid": _id("document", host, report.profile, report.collected, report.judged),
            "metadata": {
                "title": _line(f"Audit of {report.host.said}"),
                "last-modified": _time(report.judged),
                "version": report.version,
                "oscal-version": VERSION,
            },
            "import-ap": {"href": f"#{plan}"},
            "results": [{key: value for key, value in result.items() if value not in ("", [])}],
            "back-matter": {
                "resources": [
                    {
                        "uuid": plan,
                        "title": _line(f"The rules of profile {report.profile}"),
                        "description": "There is no document of a plan: each rule of the profile is judged once.",
                    }
                ]
            },
        }
    }


def _summary(report: Report) -> str:
    counts = ", ".join(f"{report.count(one)} {one}" for one in Status)
    covered = report.coverage
    containers = f"; {covered.judged} of {covered.found} containers judged" if covered else ""
    return f"{len(report.results)} rules: {counts}{containers}"


def _host(report: Report, host: str) -> dict[str, Any]:
    said = {name: value for name, value in report.host.as_dict().items() if value}
    return {"uuid": host, "description": _text(report.host.said), "props": _properties(said)}


def _observation(one: Result, host: str, when: str) -> dict[str, Any]:
    said = {"rule": one.rule, "status": str(one.status), "severity": one.severity, "digest": one.digest}
    evidence = [
        {
            "description": _text(f"{each.fact}: {json.dumps(each.value) if each.outcome == 'value' else each.why}"),
            "props": _properties({"fact": each.fact, "path": each.path, "outcome": each.outcome}),
        }
        for each in one.evidence
    ]
    return {
        "uuid": _id("observation", host, one.rule, when),
        "title": _line(one.title),
        "description": _text("\n".join([one.message, *one.findings])),
        "props": _properties(said) + _properties(one.references, "reference"),
        "methods": ["EXAMINE" if one.status is Status.MANUAL else "TEST"],
        "subjects": [{"subject-uuid": host, "type": "inventory-item"}],
        **({"relevant-evidence": evidence} if evidence else {}),
        "collected": when,
    }


def _finding(one: Result, host: str, when: str) -> dict[str, Any]:
    state, reason = _STATES[one.status]
    risk = {"related-risks": [{"risk-uuid": _id("risk", host, one.rule)}]} if one.status is not Status.PASS else {}
    return {
        "uuid": _id("finding", host, one.rule),
        "title": _line(one.title),
        "description": _text(one.message),
        "target": {"type": "objective-id", "target-id": one.rule, "status": {"state": state, "reason": reason}},
        "related-observations": [{"observation-uuid": _id("observation", host, one.rule, when)}],
        **risk,
    }


def _risk(one: Result, host: str, when: str) -> dict[str, Any]:
    """What is not known to hold: open, or accepted by whoever answers for it, until the end of the last day."""
    found = {
        "uuid": _id("risk", host, one.rule),
        "title": _line(one.title),
        "description": _text(one.message),
        "statement": _text(one.why or one.title),
        "status": "open",
        "remediations": [
            {
                "uuid": _id("remediation", host, one.rule),
                "lifecycle": "recommendation",
                "title": _line(one.title),
                "description": _text("\n".join(filter(None, [one.remediation, one.impact])) or one.title),
            }
        ],
        "related-observations": [{"observation-uuid": _id("observation", host, one.rule, when)}],
    }
    if one.waiver:
        found["status"] = "deviation-approved"
        found["props"] = _properties(one.waiver.as_dict())
        found["deadline"] = f"{one.waiver.expires}T23:59:59+00:00"
    return found


def _properties(said: Mapping[str, Any], kind: str = "") -> list[dict[str, str]]:
    """Properties of our namespace; what has no value is none."""
    more = {"class": kind} if kind else {}
    return [
        {"name": name, "ns": NAMESPACE, "value": _line(str(value)), **more}
        for name, value in said.items()
        if str(value).strip()
    ]


def _id(*parts: object) -> str:
    """An identifier for what these parts name together."""
    return str(uuid.uuid5(_ROOT, json.dumps([str(part) for part in parts])))


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _text(text: str) -> str:
    """Text in whole; never empty."""
    return plain(text).strip() or "-"


def _line(text: str) -> str:
    """The same in one line, as titles and values have to be."""
    return " ".join(_text(text).split())
