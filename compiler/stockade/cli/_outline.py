"""What `stockade seccomp explain` prints: the calls of each architecture in words, what a runtime would not honour."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from stockade.cli.output import table, text

if TYPE_CHECKING:
    from stockade.seccomp.honour import Finding
    from stockade.seccomp.outline import Section


def finding(one: Finding) -> dict[str, object]:
    """A finding as JSON."""
    weight = "fatal" if one.fatal else "harmless" if one.harmless else "matters"
    return {"kind": str(one.kind), "path": one.path, "message": one.message, "weight": weight}


def section_document(section: Section) -> dict[str, Any]:
    """What is allowed on one architecture, as JSON."""
    return {
        "arch": section.arch,
        "allowed": list(section.allowed),
        "allowedNumbers": [list(run) for run in section.numbers],
        "conditional": [{"call": call, "cases": list(cases)} for call, cases in section.conditional],
        "answered": [{"answer": said, "calls": list(calls)} for said, calls in section.answered],
        "unnamedNumbers": list(section.unnamed),
    }


def show(section: Section) -> None:
    """Print what is allowed on one architecture."""
    count = len(section.allowed)
    text(f"{section.arch}: {count} {'call is' if count == 1 else 'calls are'} allowed whatever the arguments")
    _paragraph(section.allowed)
    text(f"  numbers: {', '.join(f'{low}-{high}' if high > low else str(low) for low, high in section.numbers)}")
    for call, cases in section.conditional:
        text(f"  {call}: {'; '.join(cases)}")
    for said, calls in section.answered:
        text(f"  {said}, {len(calls)} {'call' if len(calls) == 1 else 'calls'}:")
        _paragraph(calls)
    text(f"  numbers that no call has: {' or '.join(section.unnamed)}")


def _paragraph(words: Iterable[str]) -> None:
    for line in textwrap.wrap(" ".join(words), 110, break_on_hyphens=False):
        text(f"    {line}")


def _count(things: int) -> str:
    return f"{things} things" if things > 1 else "one thing" if things else "nothing"


def show_findings(findings: list[Finding], runtime: str, library: str) -> None:
    """Print what a runtime with that version of libseccomp would not honour."""
    count = sum(not one.harmless for one in findings)
    text(f"{runtime} with libseccomp {library} would not honour {_count(count)}")
    weights = [(str(finding(one)["weight"]), one) for one in findings]
    if findings:
        table(("weight", "kind", "path", "what"), [(w, one.kind, one.path, one.message) for w, one in weights])
