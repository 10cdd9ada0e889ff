"""How commands speak: answers on standard output as text or one JSON document, everything else on standard error."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Answer(IntEnum):
    """The exit codes, the same for every command."""

    YES = 0
    NO = 1
    USAGE = 2
    UNDETERMINED = 3


class Stop(Exception):
    """Ends a command with this answer and, unless empty, this message on standard error."""

    def __init__(self, message: str = "", answer: Answer = Answer.UNDETERMINED) -> None:
        super().__init__(message)
        self.answer = answer


class _Name(click.Path):
    """A name that a line can show."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        shown(str(value))
        return super().convert(value, param, ctx)


PLACE = _Name(path_type=Path, readable=False)
FILE = _Name(path_type=Path, readable=False, dir_okay=False)
STREAM = _Name(path_type=Path, readable=False, allow_dash=True)
"""What a command line names: a file or folder, a file to write, what `-` may stand for. Whether it can be read is not
asked here: click would answer with 2, and a file that cannot be read is undetermined, which is 3."""


def format_option(command: Decorated) -> Decorated:
    """Give a command `--format text|json`, passed to it as `form`."""
    choice = click.Choice(["text", "json"])
    option = click.option("--format", "form", type=choice, default="text", show_default=True, help="How to report.")
    return option(command)


def json_document(value: object) -> None:
    """Write `value` as the one JSON document on standard output; keys keep their order, so the caller fixes it."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def text(line: str = "") -> None:
    """Write one line of the answer to standard output."""
    click.echo(printable(line))


def message(line: str) -> None:
    """Write one line that is not part of the answer to standard error."""
    click.echo(printable(line), err=True)


def printable(line: str) -> str:
    """`line` with control characters (a hostile file name may hold some) and unpaired surrogates spelled as escapes."""
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode("ascii") for c in line)


def spelled(name: str) -> str:
    """A name as it can stand in a line: the same, and a line's end and a tab as escapes too."""
    return printable(name).replace("\n", "\\n").replace("\t", "\\t")


def shown(name: str) -> str:
    """The same name. Stop where it has a control character, which would make two lines of one, or clear a terminal."""
    if any(unicodedata.category(letter) == "Cc" for letter in name):
        raise Stop(f"{spelled(name)}: a name with a control character")
    return name


def on_terminal(stream: TextIO | None = None) -> bool:
    """Whether `stream` (default: standard output) is a terminal that a person looks at."""
    where = sys.stdout if stream is None else stream
    return where.isatty() and os.environ.get("TERM") != "dumb"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write rows under headings: drawn by rich on a terminal, otherwise plain columns two spaces apart."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if on_terminal() and find_spec("rich"):  # `stockade doctor` must work without it, to say that it is missing
        _draw(columns, cells)
        return
    lines = [list(columns), *cells]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _draw(columns: Sequence[str], cells: list[list[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in cells:
        drawn.add_row(*(Text(cell) for cell in row))
    Console(highlight=False, no_color=bool(os.environ.get("NO_COLOR"))).print(drawn)
