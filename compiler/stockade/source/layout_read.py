"""A file of the policy with all that a reader of it sees: values as they were spelled, comments, blank lines.

The tree of `source/yaml.py` is what a file means. This one is what it looks like, for `stockade fmt`. Every comment
belongs to one entry: those on lines of their own to the entry that follows, those behind something to what they stand
behind, and what follows the last entry of a collection to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from stockade.source.yaml import scalar

_DASHES = re.compile(r"(---)?\s*(-\s+)*-?\s*\Z")


@dataclass(slots=True)
class Entry:
    """A key with its value, or an item of a list (then `key` is empty).

    `before` are comments above it, an empty text being a blank line; `behind` is the comment on its line.
    """

    key: str
    value: Node
    start: int
    before: list[str] = field(default_factory=list)
    behind: str = ""


@dataclass(slots=True)
class Node:
    """A value. `kind` is map, list, word or alias; `word` the text of a scalar as the language has it, or its spelling.

    `text` says that a scalar is text, whatever it looks like, and `quoted` that it stood in quotes. `opened` marks a
    flow collection with comments in it. `foot` are comments after the last entry. Offsets are in characters.
    """

    kind: str
    start: int
    end: int
    column: int
    flow: bool = False
    anchor: str = ""
    word: str = ""
    text: bool = False
    quoted: bool = False
    opened: bool = False
    entries: list[Entry] = field(default_factory=list)
    foot: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Page:
    """One document: the comments at its head, and its value."""

    start: int
    root: Node
    head: list[str] = field(default_factory=list)
    anchors: bool = False


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment: where it begins, its column from 0, its text with `#`, and whether it has its line for itself."""

    at: int
    column: int
    text: str
    alone: bool


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = text.split("\n")
        self.starts: list[int] = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line) + 1)
        self.events: Any = yaml.parse(text, Loader=yaml.CLoader)
        self.covered: list[tuple[int, int]] = []
        self.anchors = False

    def offset(self, mark: Any) -> int:
        place: int = self.starts[mark.line] + mark.column
        return min(place, len(self.text))

    def pages(self) -> list[Page]:
        found = []
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                self.anchors = False
                start = self.offset(event.start_mark)
                found.append(Page(start, self.node(next(self.events)), anchors=self.anchors))
        return found

    def node(self, event: Any) -> Node:
        node = Node("word", self.offset(event.start_mark), self.offset(event.end_mark), event.start_mark.column)
        if isinstance(event, yaml.AliasEvent):
            node.kind, node.word = "alias", f"*{event.anchor}"
            return node
        node.anchor = event.anchor or ""
        self.anchors = self.anchors or bool(event.anchor)
        if isinstance(event, yaml.ScalarEvent):
            self.word(node, event)
        elif isinstance(event, yaml.SequenceStartEvent):
            node.kind, node.flow = "list", bool(event.flow_style)
            while not isinstance(inner := next(self.events), yaml.SequenceEndEvent):
                node.entries.append(Entry("", self.node(inner), self.offset(inner.start_mark)))
            node.end = self.offset(inner.end_mark)
        else:
            node.kind, node.flow = "map", bool(event.flow_style)
            while not isinstance(inner := next(self.events), yaml.MappingEndEvent):
                key = self.node(inner)
                node.entries.append(Entry(key.word, self.node(next(self.events)), key.start))
            node.end = self.offset(inner.end_mark)
        return node

    def word(self, node: Node, event: Any) -> None:
        value = scalar(event.value) if event.implicit[0] and not event.style else event.value
        node.text = isinstance(value, str)
        node.quoted = event.style in ("'", '"')
        node.word = event.value or "null"
        if node.text:
            node.word = " ".join(value.split()) if "\n" in value else value
        start = node.start
        if event.style in ("|", ">"):  # a comment may stand behind the sign
            start = self.text.find("\n", start) + 1 or node.end
        self.covered.append((start, max(start, node.end)))

    def comments(self) -> Iterator[Comment]:
        spans = iter(sorted(self.covered))
        span = next(spans, (len(self.text) + 1, 0))
        for number, line in enumerate(self.lines):
            at = self.starts[number]
            for column, character in enumerate(line):
                here = at + column
                while here >= span[1] and span[0] <= len(self.text):
                    span = next(spans, (len(self.text) + 1, 0))
                if character == "#" and here < span[0] and (column == 0 or line[column - 1] == " "):
                    alone = bool(_DASHES.match(line[:column]))
                    shown = column if not line[:column].strip() else -1
                    yield Comment(here, shown, line[column:].rstrip(), alone)
                    break

    def blank_before(self, at: int) -> bool:
        line = self.text.count("\n", 0, at)
        return line > 0 and not self.lines[line - 1].strip()


def read_pages(text: str) -> list[Page]:
    """The documents of a file that `source/yaml.py` reads without a fault."""
    reader = _Reader(text)
    pages = reader.pages()
    found = list(reader.comments())
    for number, page in enumerate(pages):
        last = pages[number + 1].start if number + 1 < len(pages) else len(text) + 1
        first = page.start if number else 0
        _attach(page, [comment for comment in found if first <= comment.at < last], reader)
    return pages


def comments_of(text: str) -> list[str]:
    """The comments of a file, in their order."""
    reader = _Reader(text)
    reader.pages()
    return [comment.text for comment in reader.comments()]


def _attach(page: Page, comments: list[Comment], reader: _Reader) -> None:
    entries = sorted(_below(page.root, 0), key=lambda each: (each[0].start, each[1]))
    for comment in comments:
        if not comment.alone:
            entry = _behind(page.root, comment.at)
            if entry is not None and not entry.behind:
                entry.behind = comment.text
            continue
        blank = [""] if reader.blank_before(comment.at) else []
        following = next((entry for entry, _ in entries if entry.start > comment.at), None)
        home = _flow_around(page.root, comment.at)
        if home is not None and (following is None or following.start >= home.end):
            home.foot.append(comment.text)
        elif following is None or (home is None and 0 <= _column(following, reader) < comment.column):
            inner = _deepest(page.root, comment)
            if following is not None and following in inner.entries:
                following.before += [*blank, comment.text]
            else:
                inner.foot += [*blank, comment.text]
        elif page.root.entries and following is page.root.entries[0]:
            page.head += [*(blank if page.head else []), comment.text]
        else:
            following.before += [*blank, comment.text]
    for entry, _ in entries:
        if not reader.blank_before(entry.start):
            continue
        if page.root.entries and entry is page.root.entries[0]:
            page.head += [""] if page.head else []
        else:
            entry.before.append("")


def _below(node: Node, depth: int) -> Iterator[tuple[Entry, int]]:
    for entry in node.entries:
        yield entry, depth
        yield from _below(entry.value, depth + 1)


def _column(entry: Entry, reader: _Reader) -> int:
    """The column at which an entry begins on its line, its dash included."""
    line = reader.text.rfind("\n", 0, entry.start) + 1
    return len(reader.text[line : entry.start]) - len(reader.text[line : entry.start].lstrip(" "))


def _behind(node: Node, at: int) -> Entry | None:
    """The entry that a comment stands behind; flow collections are entered only where the comment is inside."""
    entry = next((entry for entry in reversed(node.entries) if entry.start < at), None)
    if entry is None:
        return None
    if entry.value.flow:
        if not entry.value.start < at < entry.value.end:
            return entry
        entry.value.opened = True
    return _behind(entry.value, at) or entry


def _flow_around(node: Node, at: int) -> Node | None:
    """The innermost flow collection around a place; it and those around it are opened."""
    for entry in node.entries:
        if entry.value.entries and entry.value.start < at < entry.value.end:
            inner = _flow_around(entry.value, at)
            if entry.value.flow:
                entry.value.opened = True
                return inner or entry.value
            return inner
    return None


def _deepest(root: Node, comment: Comment) -> Node:
    """The innermost collection above a comment that begins no further right."""
    node = root
    while True:
        entry = next((entry for entry in reversed(node.entries) if entry.start < comment.at), None)
        if entry is None or entry.value.flow or entry.value.kind not in ("map", "list"):
            return node
        if entry.value.column > comment.column:
            return node
        node = entry.value
