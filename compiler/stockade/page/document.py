"""A whole page: head, style, navigation, sections. One file that needs no other and lets nothing in."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from stockade.page.markup import Child, Html, element, joined

_NAME = re.compile(r"[a-z][a-z0-9-]*\Z")


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page: `name` is its anchor (lower case, hyphens), `note` a word beside it in the navigation."""

    name: str
    title: str
    body: Child
    note: str = ""


def document(title: str, sections: Sequence[Section], *, lead: Child = None, foot: Child = None) -> bytes:
    """The page as UTF-8, `lead` under its title and `foot` at its end. ValueError where anchors collide or are none.

    The policy of the page allows its own style, by digest, and nothing else: no script, picture, frame or connection.
    """
    names = [section.name for section in sections]
    if len(set(names)) != len(names) or not all(map(_NAME.match, names)):
        raise ValueError(f"sections need anchors of their own, in lower case: {', '.join(names)}")
    style = stylesheet()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    allowed = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    links = [
        element("li", element("a", s.title, " " if s.note else None, _note(s.note), href=f"#{s.name}"))
        for s in sections
    ]
    body = joined(
        element("a", "To the content", class_="skip", href="#content"),
        element("header", element("h1", title), lead, class_="head"),
        element("nav", element("ul", links), aria_label="Sections"),
        element("main", [_section(section) for section in sections], id="content", tabindex="-1"),
        element("footer", foot) if foot is not None else None,
    )
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{allowed}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"{element('title', title).text}\n<style>{style}</style>\n</head>\n"
    )
    return f"{head}<body>\n{body.text}\n</body>\n</html>\n".encode()


def written(path: Path, page: bytes) -> None:
    """Put a page at `path`, whole or not at all: what stood there before survives a failure. Raises OSError."""
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with new.open("xb") as file:
            file.write(page)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


@cache
def stylesheet() -> str:
    """The one style of all pages."""
    return resources.files(__package__).joinpath("style.css").read_text("utf-8")


def _note(note: str) -> Html | None:
    return element("span", note, class_="note") if note else None


def _section(section: Section) -> Html:
    heading = f"{section.name}-title"
    return joined(
        "\n",
        element(
            "section",
            element("h2", section.title, id=heading),
            section.body,
            id=section.name,
            aria_labelledby=heading,
        ),
    )
