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
class Mark:
    """A field that is no count: a few letters, the tone behind them (0 worst; None for nothing), what they say."""

    text: str
    tone: int | None
    says: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its name, a field for each column, and what unfolds; `anchor` is its place in the page, if any."""

    name: str
    values: Sequence[int | Mark]
    inside: Child
    anchor: str | None = None


def tone(value: int | None) -> str:
    """The class of a field."""
    return "heat none" if value is None else f"heat h{max(0, min(value, DEEPEST))}"


def cell(value: int | Mark, column: str) -> Html:
    """A field on its colour; the column is said before it to those who hear the page and shown by the pointer."""
    mark = value if isinstance(value, Mark) else Mark(str(value), value)
    shown = f"{column}: {mark.says}" if mark.says else column
    heard = element("span", f"{shown} ", class_="heard")
    return element("span", heard, mark.text, class_=tone(mark.tone), title=shown)


def legend(words: Sequence[str]) -> Html:
    """What the numbers 0, 1, ... mean; the last stands for all larger ones."""
    last = len(words) - 1
    shown = [
        element("li", element("span", f"{n}+" if n == last else n, class_=tone(n), aria_hidden="true"), " ", word)
        for n, word in enumerate(words)
    ]
    return element("ul", shown, class_="legend")


def key(marks: Iterable[tuple[int, str, str]], *, letters: bool = False) -> Html:
    """What the fields of a map of what is given mean: (tone, example, meaning)."""
    shown = [
        element("li", element("span", text, class_=tone(number), aria_hidden="true"), " ", word)
        for number, text, word in marks
    ]
    return element("ul", shown, class_="legend open letters" if letters else "legend open")


def heat(
    columns: Sequence[str], groups: Iterable[tuple[str, Sequence[Row]]], *, given: bool = False, letters: bool = False
) -> Html:
    """The map: columns at its head, rows in groups under a title each; a group without rows is left out.

        Tones are those of what holds, or of how much is `given`; `letters` are set small.
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
    return element(
        "div",
        element("div", head, body, class_="inner"),
        class_=" ".join(["heatmap", *["wide"] * (len(columns) > WIDE), *["open"] * given, *["letters"] * letters]),
    )


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
