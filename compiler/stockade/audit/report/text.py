"""A report for a person: the summary first, then what is wrong and what to do, then what holds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from stockade.audit.report.model import Report, Result, Status

_ORDER: Final = (Status.FAIL, Status.ERROR, Status.WAIVED, Status.MANUAL, Status.NOT_APPLICABLE, Status.PASS)
_SEVERITY: Final = {"high": 0, "medium": 1, "low": 2}
_SHOWN: Final = 10


def lines(report: Report, verbose: bool = False) -> Iterator[tuple[str, str]]:
    """(style, line) pairs; the style is a Status, `head`, `note` or nothing. `verbose` tells all, passes too."""
    host = report.host
    name = host.name or host.machine_id or f"an {host.kind}" if host.kind == "image" else host.name or "a host"
    what = ", ".join(part for part in (host.release, host.kernel and f"Linux {host.kernel}") if part)
    yield "head", f"{name}{f' ({what})' if what else ''}, profile {report.profile}"
    counts = [f"{report.count(status)} {status}" for status in _ORDER if report.count(status)]
    yield "head", f"{len(report.results)} rules: {', '.join(counts)}"
    if report.coverage and report.coverage.found:
        yield "head", f"{report.coverage.judged} of {report.coverage.found} containers judged"
        for why, names in (("ended meanwhile", report.coverage.ended), ("could not be read", report.coverage.unread)):
            if names:
                more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
                yield "note", f"{why}: {', '.join(name[:12] for name in names[:_SHOWN])}{more}"
    if report.collected:
        yield "note", f"facts of {datetime.fromtimestamp(report.collected, UTC):%Y-%m-%d %H:%M:%S} UTC"
    for fault in report.faults:
        yield str(Status.ERROR), f"! {fault}"
    ordered = sorted(report.results, key=lambda one: (_ORDER.index(one.status), _SEVERITY[one.severity]))
    for one in ordered:
        if one.status in (Status.PASS, Status.NOT_APPLICABLE) and not verbose:
            continue
        yield "", ""
        yield from _result(one)
    rest = report.count(Status.PASS) + report.count(Status.NOT_APPLICABLE)
    if rest and not verbose:
        yield "", ""
        yield (
            "note",
            f"{report.count(Status.PASS)} hold and {rest - report.count(Status.PASS)} do not apply (--verbose)",
        )


def _result(one: Result) -> Iterator[tuple[str, str]]:
    ids = ", ".join(f"{source} {number}" for source, number in one.references.items())
    yield str(one.status), f"{one.status.upper()}  {one.rule}: {one.title} ({one.severity}{f'; {ids}' if ids else ''})"
    yield "", f"    {one.message}"
    if len(one.findings) > 1:
        for finding in one.findings[:_SHOWN]:
            yield "", f"    - {finding}"
        if len(one.findings) > _SHOWN:
            yield "", f"    - and {len(one.findings) - _SHOWN} more (--format json has all)"
    if one.waiver:
        yield "", f"    waived by {one.waiver.owner} until {one.waiver.expires}: {one.waiver.reason}"
    if one.status is Status.FAIL:
        yield "note", f"    why: {one.why}"
        yield "note", f"    do: {one.remediation}"
        if one.impact:
            yield "note", f"    impact: {one.impact}"
        yield "note", f"    to waive it, pin {one.digest}"
