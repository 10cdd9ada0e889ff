"""Reads the manual's pages into what can be checked: fenced blocks, links, and the tables that list keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^]\n]*\]\(([^)\s]+)\)")
_CONTAINER = re.compile(r"container: (\S+)\n")


@dataclass(frozen=True)
class Block:
    """A fenced block: the words behind the fence, its text, and the line it begins at."""

    words: tuple[str, ...]
    text: str
    line: int

    @property
    def kind(self) -> str:
        """The first word: `yaml`, `console`, `json`, or empty."""
        return self.words[0] if self.words else ""

    @property
    def file(self) -> str:
        """The policy file that a YAML block is: named by `file=`, or a container type by its own name; else empty."""
        for word in self.words:
            if word.startswith("file="):
                return word.removeprefix("file=")
        named = _CONTAINER.match(self.text)
        return f"containers/{named[1]}.yaml" if named else ""


@dataclass(frozen=True)
class Command:
    """A command line of a console block, and the lines of its answer as they are written."""

    line: str
    answer: tuple[str, ...]


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page in their order."""
    return [
        Block(tuple(found[1].split()), found[2], text.count("\n", 0, found.start()) + 1)
        for found in _FENCE.finditer(text)
    ]


def commands(block: Block) -> list[Command]:
    """The commands of a console block: a line that begins with `$ `, then its answer."""
    found: list[Command] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(Command(line.removeprefix("$ "), ()))
        else:
            last = found.pop()
            found.append(Command(last.line, (*last.answer, line)))
    return found


def pattern(answer: tuple[str, ...]) -> re.Pattern[str]:
    """What an answer must be, whole: `...` in a line is any text, and a line of nothing else is any lines."""
    lines = [
        r"(?:[^\n]*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", r"[^\n]*") + r"\n" for line in answer
    ]
    return re.compile("".join(lines))


def links(text: str) -> list[str]:
    """The targets of links, fenced blocks left out."""
    return _LINK.findall(_FENCE.sub("", text))


def key_tables(text: str) -> Iterator[tuple[tuple[str, ...], frozenset[str]]]:
    """Each marked table: the places of the schemas whose keys it lists, and the names in code of its first column."""
    for mark in re.finditer(r"<!-- keys: (.*?) -->\n((?:\|.*\n)+)", text):
        cells = [row.split("|")[1] for row in mark[2].splitlines()[2:]]
        yield tuple(mark[1].split()), frozenset(name for cell in cells for name in re.findall(r"`([^`]+)`", cell))
