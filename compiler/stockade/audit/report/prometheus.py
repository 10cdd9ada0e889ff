"""A report as metrics in Prometheus' text format, for the text file collector of its node exporter."""

from __future__ import annotations

from stockade.audit.report.model import Report, Status

_FAMILIES = (
    ("stockade_audit_rule", "Whether the rule has this verdict: one line a rule."),
    ("stockade_audit_rules", "How many rules have this verdict."),
    ("stockade_audit_containers", "Containers that were found, and that were judged."),
    ("stockade_audit_judged_seconds", "When the host was judged, in seconds since 1970."),
)


def prometheus(report: Report) -> str:
    """The metrics; every status has its count, so that none is missing from a graph while it is zero."""
    rules = [
        f'{{rule="{_label(one.rule)}",severity="{_label(one.severity)}",status="{one.status}"}} 1'
        for one in report.results
    ]
    counts = [f'{{status="{status}"}} {report.count(status)}' for status in Status]
    coverage = report.coverage
    containers = [f'{{state="found"}} {coverage.found}', f'{{state="judged"}} {coverage.judged}'] if coverage else []
    lines = []
    for (name, about), samples in zip(_FAMILIES, (rules, counts, containers, [f" {report.judged}"]), strict=True):
        if samples:
            lines += [f"# HELP {name} {about}", f"# TYPE {name} gauge", *(f"{name}{sample}" for sample in samples)]
    return "\n".join(lines) + "\n"


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
