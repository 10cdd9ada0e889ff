"""A report as JUnit XML: one suite a profile, one case a rule."""

from __future__ import annotations

from typing import Final

from stockade import junit as xml
from stockade.audit.report.model import Report, Result, Status

_OUTCOMES: Final[dict[Status, xml.Outcome]] = {
    Status.PASS: "passed",
    Status.FAIL: "failure",
    Status.ERROR: "error",
    Status.NOT_APPLICABLE: "skipped",
    Status.MANUAL: "skipped",
    Status.WAIVED: "skipped",
}


def junit(report: Report) -> str:
    """The document. A failure that is waived, and what is a person's to judge, are skipped and say why."""
    return xml.junit((_case(report, one) for one in report.results), report.host.said)


def _case(report: Report, one: Result) -> xml.Case:
    outcome = _OUTCOMES[one.status]
    name = f"{one.rule}: {one.title}"
    if outcome == "skipped":
        return xml.Case(report.profile, name, outcome, f"{one.status}: {one.message}")
    if outcome == "passed":
        return xml.Case(report.profile, name)
    body = "\n".join([*one.findings, f"why: {one.why}", f"do: {one.remediation}"])
    return xml.Case(report.profile, name, outcome, one.message, body)
