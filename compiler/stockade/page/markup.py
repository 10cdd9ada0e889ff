"""Elements of HTML and SVG, escaped by construction: the only way to text of a page is through here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

TAGS = frozenset(
    "a abbr aside b br caption circle code col colgroup dd defs details div dl dt em figcaption figure footer g "
    "h1 h2 h3 h4 header hr input label legend li line main marker nav ol p path pre rect section small span strong "
    "sub summary sup svg table tbody td text tfoot th thead title tr tspan ul".split()
)
"""Elements that may be made: none that runs, fetches, frames or submits anything."""
VOID = frozenset({"br", "col", "hr", "input"})
ATTRIBUTES = frozenset(
    "aria-hidden aria-label aria-labelledby checked class colspan cx cy d dx dy for height href id lang name open r "
    "role rowspan rx scope tabindex text-anchor title transform type value viewBox width x x1 x2 y y1 y2 "
    "marker-end markerHeight markerWidth orient preserveAspectRatio refX refY".split()
)
"""Attributes that may be set, beside `data-*`: no handler, no style, nothing that names another file but `href`."""
_DATA = re.compile(r"data-[a-z]+\Z")


@dataclass(frozen=True, slots=True)
class Html:
    """A piece of a page that is escaped already. Not a string, so that nothing joins the two by accident."""

    text: str


Child: TypeAlias = "Html | str | int | Iterable[Child] | None"
"""What an element may hold: elements, text to be escaped, numbers, any of these in a row, nothing."""


def element(tag: str, *children: Child, **attributes: str | int | bool | None) -> Html:
    """An element. Attributes: `class_="x"`, `data_part="x"`; True sets a bare one, None and False leave it out.

    Raises ValueError for an element, attribute or link that no page of ours may have.
    """
    if tag not in TAGS:
        raise ValueError(f"<{tag}> is no element of our pages")
    opening = tag + "".join(_attribute(name, value) for name, value in attributes.items())
    inside = "".join(_pieces(children))
    if tag in VOID:
        if inside:
            raise ValueError(f"<{tag}> holds nothing")
        return Html(f"<{opening}>")
    return Html(f"<{opening}>{inside}</{tag}>")


def joined(*children: Child) -> Html:
    """Children in a row, without an element around them."""
    return Html("".join(_pieces(children)))


def spelled(text: str) -> str:
    """`text` with what does not print (controls, marks that turn its direction, lone surrogates) spelled as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode("ascii") for c in text)


def _attribute(name: str, value: str | int | bool | None) -> str:
    if value is None or value is False:
        return ""
    spelling = name.rstrip("_").replace("_", "-")
    if spelling not in ATTRIBUTES and not _DATA.match(spelling):
        raise ValueError(f"{spelling} is no attribute of our pages")
    if value is True:
        return f" {spelling}"
    if spelling == "href" and not str(value).startswith(("#", "https://")):
        raise ValueError(f"a link to {str(value)!r}: only https and places of the page itself")
    return f' {spelling}="{escape(spelled(str(value)), quote=True)}"'


def _pieces(children: Child) -> Iterable[str]:
    if children is None:
        return
    if isinstance(children, Html):
        yield children.text
    elif isinstance(children, str | int):
        yield escape(spelled(str(children)), quote=False)
    else:
        for child in children:
            yield from _pieces(child)
