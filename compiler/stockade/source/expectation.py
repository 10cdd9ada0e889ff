"""Builds expectations; what they ask is understood when it is asked."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from stockade.model.expectation import Expectation, Question
from stockade.model.position import Position
from stockade.source.diagnostics import Diagnostics
from stockade.source.yaml import Map, Seq


def expectations(documents: Iterable[Map], known: Collection[str], report: Diagnostics) -> dict[str, Expectation]:
    """Every expectation by name; `known` are the container types and subjects that one may speak of."""
    found: dict[str, Expectation] = {}
    for body in documents:
        name, at = body["expect"], body.values_at["expect"]
        if name in found:
            report.error(at, f"expectation `{name}` is declared twice", f"the first is at {found[name].at}")
            continue
        who = list(_items(body, "who"))
        for one, place in who:
            if one not in known:
                report.unknown(place, "container type or subject", one, known)
        asked = [Question(text, True, place) for text, place in _items(body, "may")]
        denied = [Question(text, False, place) for text, place in _items(body, "may-not")]
        for both in {question.text for question in asked} & {question.text for question in denied}:
            report.error(at, f"expectation `{name}` wants `{both}` both allowed and denied")
        found[name] = Expectation(
            name=name,
            who=tuple(one for one, _ in who),
            questions=(*asked, *denied),
            level=body.get("level", "s0"),
            why=body["why"],
            at=at,
        )
    return dict(sorted(found.items()))


def _items(body: Map, key: str) -> Iterable[tuple[Any, Position]]:
    value = body.get(key, ())
    if isinstance(value, Seq):
        return zip(value, value.items_at, strict=True)
    return [(value, body.values_at[key])] if key in body else []
