"""How an audit's report is written: for a person, or as the document of a format, to a file whole or not at all."""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stockade.cli.output import Stop, message, printable

if TYPE_CHECKING:
    from stockade.audit.report.model import Report

FORMATS: Final = ("text", "json", "junit", "sarif", "oscal", "html", "prometheus", "openreports")
"""Each but text and json is a module of `stockade.audit.report`, with a function of the same name."""

_STYLES: Final = {
    "fail": "bold red",
    "error": "bold magenta",
    "waived": "yellow",
    "manual": "cyan",
    "head": "bold",
    "note": "dim",
}


def show(report: Report, form: str, verbose: bool, output: Path | None) -> None:
    """Writes a report in one of FORMATS."""
    if form != "text":
        write(document(report, form), output)
        return
    from stockade.audit.report.text import lines

    said = list(lines(report, verbose))
    if output is not None or not sys.stdout.isatty() or not find_spec("rich"):
        write("".join(f"{printable(line)}\n" for _, line in said), output)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, no_color=bool(os.environ.get("NO_COLOR")))
    for style, line in said:
        console.print(Text(printable(line), style=_STYLES.get(style, "")))


def document(report: Report, form: str) -> str:
    """The report in a format that programs read."""
    said: Any = report.as_dict()
    if form != "json":
        said = getattr(import_module(f"stockade.audit.report.{form}"), form)(report)
    return said if isinstance(said, str) else json.dumps(said, indent=2, allow_nan=False) + "\n"


def write(content: str, path: Path | None) -> None:
    """Writes to standard output, or beside a file and then in its place, so that nothing half-written is left."""
    if path is None:
        sys.stdout.write(content)
        return
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise Stop(f"{path}: {error.strerror}") from None
    message(f"wrote {path}")
