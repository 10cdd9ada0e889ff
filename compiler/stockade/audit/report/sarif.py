"""A report as SARIF 2.1.0, which code-scanning services read: every verdict that somebody should look at."""

from __future__ import annotations

from typing import Any

from stockade.audit.report.model import Report, Result, Status

_LEVELS = {"high": "error", "medium": "warning", "low": "note"}
_KINDS = {
    Status.PASS: "pass",
    Status.FAIL: "fail",
    Status.WAIVED: "fail",
    Status.ERROR: "open",
    Status.MANUAL: "review",
    Status.NOT_APPLICABLE: "notApplicable",
}


def sarif(report: Report) -> dict[str, Any]:
    """The log as plain JSON values. A waived failure is there, suppressed, with whoever answers for it."""
    rules = [
        {
            "id": one.rule,
            "shortDescription": {"text": one.title},
            "fullDescription": {"text": one.why or one.title},
            "help": {"text": one.remediation or one.title},
            "properties": {"tags": sorted(f"{source}:{number}" for source, number in one.references.items())},
        }
        for one in report.results
    ]
    driver = {"name": "stockade", "version": report.version, "rules": rules}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "results": [_result(report, index, one) for index, one in enumerate(report.results)],
                "properties": {"host": report.host.as_dict(), "profile": report.profile},
            }
        ],
    }


def _result(report: Report, index: int, one: Result) -> dict[str, Any]:
    host = report.host.said
    said: dict[str, Any] = {
        "ruleId": one.rule,
        "ruleIndex": index,
        "kind": _KINDS[one.status],
        # The specification wants `none` for every kind but a failure.
        "level": _LEVELS[one.severity] if _KINDS[one.status] == "fail" else "none",
        "message": {"text": "\n".join([one.message, *one.findings])},
        "locations": [{"logicalLocations": [{"name": host, "kind": "resource", "fullyQualifiedName": host}]}],
    }
    if one.digest:
        said["partialFingerprints"] = {"found/v1": one.digest}
    if one.waiver:
        why = f"{one.waiver.owner}, until {one.waiver.expires}: {one.waiver.reason}"
        said["suppressions"] = [{"kind": "external", "status": "accepted", "justification": why}]
    return said
