"""A report from its JSON document, as `--format json` wrote it, so that it can be compared with a later one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stockade.audit.report.model import SCHEMA, Coverage, Evidence, HostIdentity, Report, Result, Status, Waived


class ReportError(Exception):
    """A document that is no report of this schema; the text says where and why."""


def from_dict(said: Any) -> Report:
    """The report of a document. ReportError where a key is missing, unknown, or of another kind."""
    if type(said) is not dict or said.get("schema") != SCHEMA:
        raise ReportError(f"not a report of schema {SCHEMA}")
    try:
        report = Report(
            said["profile"],
            HostIdentity(**said["host"]),
            tuple(_result(one) for one in said["results"]),
            Coverage(
                said["coverage"]["found"],
                said["coverage"]["judged"],
                *(tuple(said["coverage"].get(key, ())) for key in ("ended", "unread")),
            )
            if said["coverage"]
            else None,
            said["collected"],
            said["judged"],
            said["stockade"],
            said["bundle"],
            tuple(said["faults"]),
        )
    except KeyError as error:
        raise ReportError(f"a report without {error}") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise ReportError(f"not a report: {error}") from None
    names = [one.rule for one in report.results]
    if len(set(names)) != len(names):
        raise ReportError("two verdicts of one rule")
    # What was read says all that the document did, and nothing else: so each part was of its kind.
    if report.as_dict() != said:
        wrong = [key for key, value in report.as_dict().items() if said.get(key) != value]
        raise ReportError(f"{(wrong or sorted(set(said) - set(report.as_dict())))[0]}: not as a report has it")
    return report


def _result(said: Mapping[str, Any]) -> Result:
    waiver = Waived(**said["waiver"]) if "waiver" in said else None
    evidence = tuple(
        Evidence(one["fact"], one.get("path", ""), one["outcome"], one.get("value"), one.get("why", ""))
        for one in said.get("evidence", ())
    )
    return Result(
        said["rule"],
        said["title"],
        said["severity"],
        tuple(said.get("profiles", ())),
        Status(said["status"]),
        said.get("message", ""),
        tuple(said.get("findings", ())),
        evidence,
        dict(said.get("references", {})),
        **{key: said.get(key, "") for key in ("why", "remediation", "impact", "digest")},
        waiver=waiver,
    )
