"""System calls by family: what each type's compiled filter allows of each group, and on which arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from stockade.model.syscalls import numbers
from stockade.page.heat import Mark, Row, heat, key
from stockade.page.markup import Child, Html, element, joined
from stockade.page.parts import code, disclosure, facts, listed, paragraph, table
from stockade.review.gather import Review
from stockade.review.stops import alike, heading
from stockade.seccomp.outline import Section

KEY = ((0, "27", "all of a group"), (1, "20", "half or more"), (2, "5", "some"), (3, "1?", "on some arguments"))
"""Tone, example and meaning of a field."""


def families(review: Review) -> Html:
    """A row for each group of calls: how many each type's filter allows, whatever the arguments."""
    columns = alike(review.matrix)
    parts: list[Child] = [_filters(review, columns)]
    groups = review.source.groups if review.source is not None else {}
    if groups:
        parts += [
            key(KEY),
            heat([heading(names) for names in columns], [("groups", list(rows(review, columns)))], given=True),
        ]
    else:
        parts.append(paragraph("The groups of calls are in the source, which is not at hand.", quiet=True))
    parts += [_in_words(review, names) for names in columns]
    return joined(*parts)


def _filters(review: Review, columns: Sequence[Sequence[str]]) -> Html:
    rows = []
    for names in columns:
        sections = review.filters[names[0]]
        rows.append(
            (
                heading(names),
                *(_count(sections.get(arch)) for arch in ("x86_64", "aarch64")),
                ", ".join(sorted({answer for section in sections.values() for answer, _ in section.answered})) or "–",
            )
        )
    headings = ["container type", "x86_64", "aarch64", "other calls get"]
    return table(headings, rows, label="Filters", stacked=True)


def _count(section: Section | None) -> str:
    if section is None:
        return "no filter: every call is killed"
    return f"{len(section.allowed)} allowed, {len(section.conditional)} on some arguments"


def rows(review: Review, columns: Sequence[Sequence[str]]) -> Iterator[Row]:
    """A row for each group of the source: of how many calls each type's filter lets pass, and which."""
    assert review.source is not None
    for group, calls in review.source.groups.items():
        fields, said = [], []
        for names in columns:
            section = first(review.filters[names[0]])
            there = [call for call in calls if section is None or call in numbers(section.arch)]
            allowed = [call for call in there if section is not None and call in section.allowed]
            argued = [call for call in there if section is not None and call in dict(section.conditional)]
            fields.append(_mark(len(allowed), len(argued), len(there)))
            if allowed or argued:
                what = [listed(allowed, name="chips") if allowed else None]
                what += [paragraph("on some arguments: ", ", ".join(argued))] if argued else []
                said.append((f"{heading(names)}: {len(allowed)} of {len(there)}", what))
        yield Row(f"@{group}", fields, facts(said) if said else paragraph("No type may make any of these calls."))


def first(sections: Mapping[str, Section]) -> Section | None:
    """The outline that stands for the type: that of x86_64 where there is one."""
    return next((sections[arch] for arch in ("x86_64", "aarch64") if arch in sections), None)


def _mark(allowed: int, argued: int, there: int) -> Mark:
    says = f"{allowed} of {there} allowed" + (f", {argued} on some arguments" if argued else "")
    text = f"{allowed}" + ("?" if argued else "")
    if not allowed:
        return Mark(f"{argued}?" if argued else "–", 3 if argued else None, says)
    share = allowed / there
    return Mark(text, 0 if share == 1 else 1 if share >= 0.5 else 2, says)


def _in_words(review: Review, names: Sequence[str]) -> Html:
    section = first(review.filters[names[0]])
    if section is None:
        return paragraph(heading(names), ": no filter")
    conditions = [
        (code(call), element("ul", [element("li", case) for case in cases], class_="reasons"))
        for call, cases in section.conditional
    ]
    refused = [(answer, listed(calls, name="chips")) for answer, calls in section.answered]
    return disclosure(
        joined(element("strong", heading(names)), f": the whole filter of {section.arch} in words"),
        element("h4", f"{len(section.conditional)} calls on some arguments"), facts(conditions),
        element("h4", f"{len(section.allowed)} calls always"), listed(section.allowed, name="chips"),
        element("h4", "the others"), facts(refused),
    )  # fmt: skip
