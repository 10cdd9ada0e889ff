"""What stands in a section: tables, badges, figures, things to unfold, places in files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from stockade.page.markup import Child, Html, element

Tone = Literal["good", "bad", "warn", "info", "plain"]
SIGNS: dict[Tone, str] = {"good": "✓", "bad": "✗", "warn": "!", "info": "i", "plain": ""}
"""Said before the words of a badge, so that no meaning hangs on a colour."""


def paragraph(*children: Child, quiet: bool = False) -> Html:
    """A paragraph; a quiet one explains and stands back."""
    return element("p", *children, class_="quiet" if quiet else None)


def code(text: str) -> Html:
    """A name or a line of a machine's language."""
    return element("code", text)


def place(text: str) -> Html:
    """Where something stands, as `file:line` or `file:line:column`."""
    return element("code", text, class_="place")


def badge(tone: Tone, *words: Child) -> Html:
    """A state in a word or two, with a sign and a colour."""
    sign = element("span", SIGNS[tone], " ", aria_hidden="true") if SIGNS[tone] else None
    return element("span", sign, *words, class_=f"badge {tone}")


def facts(pairs: Iterable[tuple[Child, Child]]) -> Html:
    """Names and what they are, one below the other."""
    rows = [element("div", element("dt", name), element("dd", value)) for name, value in pairs]
    return element("dl", rows, class_="facts")


def figures(pairs: Iterable[tuple[Child, Child]]) -> Html:
    """Large figures, each with its words: (figure, words)."""
    return element(
        "ul",
        [element("li", element("strong", figure), " ", element("span", words)) for figure, words in pairs],
        class_="figures",
    )


def listed(items: Iterable[Child], *, name: str = "") -> Html:
    """A list with points; `name` is a class of the style, such as `chips` for short names side by side."""
    return element("ul", [element("li", item) for item in items], class_=name or None)


def disclosure(summary: Child, *body: Child, unfolded: bool = False, anchor: str | None = None, name: str = "") -> Html:
    """Something to unfold: a pointer's click, or Enter on it. `name` is a class of the style."""
    return element(
        "details", element("summary", summary), element("div", *body, class_="inside"),
        class_=name or None, id=anchor, open=unfolded,
    )  # fmt: skip


def table(
    columns: Sequence[Child], rows: Iterable[Sequence[Child]], *, label: str, stacked: bool = False, name: str = ""
) -> Html:
    """A table whose first column heads each row. `label` names it for those who hear it.

    On a narrow screen a `stacked` one shows each row as a block with the headings (text) beside the fields;
    any other scrolls by itself, by the keyboard too.
    """
    head = element("tr", [element("th", column, scope="col") for column in columns])
    titles = [column if isinstance(column, str) else None for column in columns]
    body = []
    for row in rows:
        first, *rest = row
        if len(row) != len(columns):
            raise ValueError(f"{label}: a row of {len(row)} fields under {len(columns)} headings")
        fields = [element("td", field, data_label=title) for field, title in zip(rest, titles[1:], strict=True)]
        body.append(element("tr", element("th", first, scope="row"), fields))
    whole = element("table", element("thead", head), element("tbody", body), class_="stacked" if stacked else None)
    scrolls = None if stacked else "0"
    kind = "scroll " + name if name else "scroll"
    return element("div", whole, class_=kind, role="region", aria_label=label, tabindex=scrolls)


def share(part: int, whole: int) -> Html:
    """How much of a whole something is, as a bar; the numbers stand in its name for those who hear it."""
    width = 100 if whole <= 0 else round(100 * max(0, min(part, whole)) / whole)
    drawn = [
        element("rect", width="100", height="6", rx="3", class_="track"),
        element("rect", width=width, height="6", rx="3", class_="fill"),
    ]
    return element(
        "svg", drawn, viewBox="0 0 100 6", preserveAspectRatio="none", class_="share", role="img",
        aria_label=f"{part} of {whole}",
    )  # fmt: skip
