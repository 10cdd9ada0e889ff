"""A report as one page to look at: the figures, then what is wrong and what to do, then what it rests on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from stockade.audit.report.model import Evidence, Report, Result, Status
from stockade.page.document import Section, document
from stockade.page.markup import Child, Html, element, joined
from stockade.page.parts import Tone, badge, code, disclosure, facts, figures, listed, paragraph, place, share, table

_PARTS: Final[dict[Status, tuple[str, Tone, str]]] = {
    Status.FAIL: ("Wrong", "bad", "What does not hold, and what to do."),
    Status.ERROR: ("Undecided", "bad", "What could not be determined. None of it counts as holding."),
    Status.WAIVED: ("Waived", "warn", "What does not hold, and somebody answers for it until a day."),
    Status.MANUAL: ("For a person", "info", "What no kernel can be asked."),
    Status.PASS: ("Holds", "good", "By values that were read."),
    Status.NOT_APPLICABLE: ("Does not apply", "plain", "What asks about something that this host does not have."),
}
"""The sections in the order of the page: title, tone, and the line under the title."""

_BROKEN: Final = (Status.FAIL, Status.ERROR)
_SEVERITY: Final = {"high": 0, "medium": 1, "low": 2}
_TONES: Final[dict[str, Tone]] = {"high": "bad", "medium": "warn", "low": "plain"}


def html(report: Report) -> str:
    """The page, whole: it needs no other file, runs nothing and fetches nothing."""
    sections = [Section("host", "The host", _host(report))]
    for status, (title, _, about) in _PARTS.items():
        found = sorted((one for one in report.results if one.status is status), key=lambda one: _SEVERITY[one.severity])
        if found:
            body = joined(paragraph(about, quiet=True), [_rule(one) for one in found])
            sections.append(Section(str(status), title, body, str(len(found))))
    lead = paragraph(_answer(report), " ", f"{len(report.results)} rules of profile ", code(report.profile), ".")
    foot = paragraph(f"Judged {_time(report.judged)} by stockade {report.version}.")
    return document(f"Audit of {report.host.said}", sections, lead=lead, foot=foot).decode()


def _answer(report: Report) -> Html:
    return {
        0: badge("good", "all of it holds"),
        1: badge("bad", "not all of it holds"),
        3: badge("bad", "not all of it could be decided"),
    }[report.answer]


def _host(report: Report) -> Html:
    counts = [
        (count, badge(tone if count else "plain", title))
        for status, (title, tone, _) in _PARTS.items()
        if (count := report.count(status)) or status in _BROKEN
    ]
    said: list[tuple[Child, Child]] = [
        (name.replace("_", " "), code(value)) for name, value in report.host.as_dict().items() if value
    ]
    if report.collected:
        said.append(("facts of", _time(report.collected)))
    said.append(("compared with", code(report.bundle) if report.bundle else "no bundle"))
    if covered := report.coverage:
        judged = f"{covered.judged} of {covered.found} judged"
        said.append(("containers", joined(judged, share(covered.judged, covered.found))))
        if covered.ended:
            said.append(("ended meanwhile", listed(covered.ended, name="chips")))
    faults = [paragraph(badge("bad", "fault"), " ", fault) for fault in report.faults]
    return joined(faults, figures(counts), facts(said))


def _rule(one: Result) -> Html:
    ids = [f"{source} {number}" for source, number in one.references.items()]
    tone = _TONES[one.severity] if one.status in _BROKEN else "plain"
    head = joined(badge(tone, one.severity), " ", one.title, " ", element("small", one.rule))
    return disclosure(
        head,
        paragraph(one.message) if one.message else None,
        listed(one.findings) if len(one.findings) > 1 else None,
        facts(list(_about(one))),
        listed(ids, name="chips") if ids else None,
        _evidence(one) if one.evidence else None,
        unfolded=one.status in _BROKEN,
        anchor=f"rule-{one.rule}",
    )


def _about(one: Result) -> Iterator[tuple[Child, Child]]:
    if one.waiver:
        yield "answered for by", f"{one.waiver.owner}, until {one.waiver.expires}: {one.waiver.reason}"
    for name, text in (("why", one.why), ("do", one.remediation), ("impact", one.impact)):
        if text:
            yield name, text
    if one.status is Status.FAIL and one.digest:
        yield "to waive it, pin", code(one.digest)


def _evidence(one: Result) -> Html:
    rows = [(code(each.fact), _value(each), place(each.path) if each.path else None) for each in one.evidence]
    asked = table(["fact", "value", "read from"], rows, label=f"What {one.rule} rests on", stacked=True)
    return disclosure(f"what it rests on ({len(one.evidence)})", asked)


def _value(each: Evidence) -> Html:
    if each.outcome == "value":
        return code(json.dumps(each.value, ensure_ascii=False))
    return joined(badge("bad" if each.outcome != "absent" else "plain", each.outcome), " ", each.why)


def _time(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
