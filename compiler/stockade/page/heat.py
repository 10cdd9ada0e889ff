"""A heat map: rows with a number for each column, a row unfolding to what is behind its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stockade.page.markup import Child, Html, element, joined

DEEPEST = 6
"""Tones are 0 (nothing holds) to this; every larger number has the last."""
WIDE = 9
"""Columns that a telephone shows without scrolling."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its name, a number for each column, and what unfolds; `anchor` is its place in the page, if any."""

    name: str
    values: Sequence[int]
    inside: Child
    anchor: str | None = None


def tone(value: int) -> str:
    """The class of a number."""
    return f"heat h{max(0, min(value, DEEPEST))}"


def cell(value: int, hears: str) -> Html:
    """A number on its colour; `hears` is said before it to those who hear the page and shown by the pointer."""
    return element("span", element("span", f"{hears} ", class_="heard"), value, class_=tone(value), title=hears)


def legend(words: Sequence[str]) -> Html:
    """What the numbers 0, 1, ... mean; the last stands for all larger ones."""
    last = len(words) - 1
    shown = [
        element("li", element("span", f"{n}+" if n == last else n, class_=tone(n), aria_hidden="true"), " ", word)
        for n, word in enumerate(words)
    ]
    return element("ul", shown, class_="legend")


def heat(columns: Sequence[str], groups: Iterable[tuple[str, Sequence[Row]]]) -> Html:
    """The map: columns at its head, rows in groups under a title each; a group without rows is left out.

    More columns than `WIDE` scroll sideways. Raises ValueError where a row has not one number for each column.
    """
    head = element(
        "div",
        element("span", class_="rowname"),
        [element("span", element("span", name), class_="column") for name in columns],
        class_="heathead",
        aria_hidden="true",
    )
    body = []
    for title, rows in groups:
        if rows:
            body.append(element("h3", title, " ", element("small", len(rows))))
            body += [_row(columns, row) for row in rows]
    return element("div", head, body, class_="heatmap wide" if len(columns) > WIDE else "heatmap")


def _row(columns: Sequence[str], row: Row) -> Html:
    if len(row.values) != len(columns):
        raise ValueError(f"{row.name}: {len(row.values)} numbers under {len(columns)} columns")
    cells = [cell(value, name) for name, value in zip(columns, row.values, strict=True)]
    return joined(
        "\n",
        element(
            "details",
            element("summary", element("span", row.name, class_="rowname"), cells),
            element("div", row.inside, class_="inside"),
            class_="heatrow",
            id=row.anchor,
        ),
    )
