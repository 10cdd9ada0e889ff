"""A report as a ClusterReport of openreports.io/v1alpha1, which Kubernetes keeps beside those of other scanners."""

from __future__ import annotations

import re
from typing import Any, Final

from stockade.audit.report.model import Report, Result, Status
from stockade.plain import plain

_RESULTS: Final = {
    Status.PASS: "pass",
    Status.FAIL: "fail",
    Status.WAIVED: "warn",
    Status.ERROR: "error",
    Status.MANUAL: "skip",
    Status.NOT_APPLICABLE: "skip",
}
_UNSAID: Final = re.compile(r"[^a-z0-9]+")
_NAME_LIMIT: Final = 100
"""Characters of the host's and of the profile's name; that of an object may have 253."""
_SHOWN: Final = 20
"""Findings of one rule; an object of Kubernetes has room for a megabyte and a half, all in all."""


def openreports(report: Report) -> dict[str, Any]:
    """The object as plain JSON values; `kubectl apply` takes it. A waived failure is `warn`: not met, not scored.

    Its name is that of the host and the profile, so that a later report of the same takes its place.
    """
    results = [_result(report, one) for one in report.results]
    node = {"scope": {"apiVersion": "v1", "kind": "Node", "name": plain(report.host.name)}} if report.host.name else {}
    annotations = {f"stockade/{key}": value for key, value in report.host.as_dict().items() if value}
    if report.bundle:
        annotations["stockade/bundle"] = report.bundle
    if report.coverage:
        annotations["stockade/containers"] = f"{report.coverage.judged} of {report.coverage.found} judged"
    if report.faults:
        annotations["stockade/faults"] = "\n".join(report.faults)
    return {
        "apiVersion": "openreports.io/v1alpha1",
        "kind": "ClusterReport",
        "metadata": {
            "name": f"stockade-{_name(report.host.said)}-{_name(report.profile)}",
            "labels": {"app.kubernetes.io/managed-by": "stockade"},
            "annotations": {key: plain(value) for key, value in annotations.items()},
        },
        "source": "stockade",
        **node,
        "summary": {
            name: sum(one["result"] == name for one in results) for name in ("pass", "fail", "warn", "error", "skip")
        },
        "results": results,
    }


def _result(report: Report, one: Result) -> dict[str, Any]:
    properties = {"title": one.title, "status": str(one.status), **one.references}
    if one.digest:
        properties["digest"] = one.digest
    if one.waiver:
        properties |= {f"waiver-{key}": value for key, value in one.waiver.as_dict().items()}
    more = [f"and {len(one.findings) - _SHOWN} more"] if len(one.findings) > _SHOWN else []
    return {
        "source": "stockade",
        "policy": report.profile,
        "rule": one.rule,
        "severity": one.severity,
        "timestamp": {"seconds": report.judged, "nanos": 0},
        "result": _RESULTS[one.status],
        "scored": one.status in (Status.PASS, Status.FAIL, Status.ERROR),
        "message": plain("\n".join([one.message, *one.findings[:_SHOWN], *more])),
        "properties": {key: plain(value) for key, value in properties.items()},
    }


def _name(text: str) -> str:
    """Text as a part of an object's name: small letters, digits, and dashes between them."""
    return _UNSAID.sub("-", text.lower()).strip("-")[:_NAME_LIMIT].strip("-") or "host"
