"""What stands at a place in a document that is being written, and so is often not yet YAML.

The text is cut at the place and a mark put there, as a value first and as a key where that is no YAML. The events up to
the mark are those of the document so far, whatever comes after it; their nesting is the way to the place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

_MARK = "\ue000"  # of the private use area: no policy file has it
_WORD = re.compile(r"[@A-Za-z0-9_./+-]*\Z")
_REST = re.compile(r"[A-Za-z0-9_./+-]*")
_END = re.compile(r"^---", re.MULTILINE)

Step = str | int


@dataclass(frozen=True, slots=True)
class Context:
    """A place in a document: `path` are the keys and indices from its top to the value, or to the mapping of a key.

    `word` is what stands before the place. `beside` has the scalars said so far in each mapping on the way, the
    innermost last, so that an argument is known by the call beside it.
    """

    path: tuple[Step, ...]
    is_key: bool
    word: str
    beside: tuple[dict[str, str], ...] = field(default=())

    @property
    def key(self) -> str:
        """The innermost key on the way, empty at the top."""
        return next((step for step in reversed(self.path) if isinstance(step, str)), "")


@dataclass(frozen=True, slots=True)
class Word:
    """A word in a line: its text, and its first and last-but-one column, from 0."""

    text: str
    start: int
    end: int


def context_at(text: str, line: int, column: int) -> Context | None:
    """The context of a place (`line` and `column` from 0, in characters); None in a comment or where nothing fits."""
    lines = text.split("\n")
    if line >= len(lines):
        return None
    head = lines[line][:column]
    if re.search(r"(^|\s)#", re.sub(r"\"[^\"]*\"|'[^']*'", "", head)):
        return None
    word = _WORD.search(head)
    said = word[0] if word else ""
    head = head.removesuffix(said)
    if head[-1:] in ("'", '"') and head.count(head[-1]) % 2:
        head = head[:-1]  # the quotation mark that opens what the mark stands in
    before = "\n".join([*lines[:line], head])
    ends = [match.start() for match in _END.finditer(before)]
    if ends:
        before = before[ends[-1] :]
    # In a list of flow style a lone word is a value or a key alike; what fits there is decided by the schema.
    for marked in (f"{before}{_MARK}", f"{before}{_MARK}: 0"):
        found = _find(marked, said)
        if found is not None:
            return found
    return None


def word_at(text: str, line: int, column: int) -> Word | None:
    """The word that a place is in or at the end of; None where there is none."""
    lines = text.split("\n")
    if line >= len(lines):
        return None
    before = _WORD.search(lines[line][:column])
    after = _REST.match(lines[line], column)
    start = before.start() if before else column
    end = after.end() if after else column
    found = lines[line][start:end].rstrip(".")
    return Word(found, start, start + len(found)) if found else None


class _Frame:
    """A collection that is open: a mapping with the key whose value comes next, or a list with the next index."""

    def __init__(self, is_map: bool) -> None:
        self.is_map = is_map
        self.key: str | None = None
        self.index = 0
        self.said: dict[str, str] = {}

    def step(self) -> Step:
        return (self.key or "") if self.is_map else self.index

    def took(self, value: str | None) -> None:
        """A value is complete; `value` is its text when it is a scalar."""
        if self.is_map and self.key is not None:
            if value is not None:
                self.said[self.key] = value
            self.key = None
        else:
            self.index += 1


def _find(marked: str, word: str) -> Context | None:
    frames: list[_Frame] = []
    for event in _events(marked):
        if isinstance(event, yaml.ScalarEvent):
            top = frames[-1] if frames else None
            as_key = top is not None and top.is_map and top.key is None
            if _MARK in event.value:
                # Text before the mark that no word has is the beginning of a sentence, where no name fits.
                if event.value != _MARK:
                    return None
                steps = [frame.step() for frame in (frames[:-1] if as_key else frames)]
                return Context(tuple(steps), as_key, word, tuple(frame.said for frame in frames if frame.is_map))
            if top is None:
                continue
            if as_key:
                top.key = event.value
            else:
                top.took(event.value)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            frames.append(_Frame(isinstance(event, yaml.MappingStartEvent)))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            frames.pop()
            if frames:
                frames[-1].took(None)
        elif isinstance(event, yaml.AliasEvent) and frames:
            frames[-1].took(None)
    return None


def _events(text: str) -> Iterator[Any]:
    """The events before the first fault; the scanner of Python reads no further ahead than it must."""
    try:
        yield from yaml.parse(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return
