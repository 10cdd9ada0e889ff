"""Where something was said: a file, a line and a column, carried by every named thing of the model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the source; `file` is relative to the policy folder, `line` and `column` count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What every statement of the source carries: the reason its author gave, and where."""

    why: str
    at: Position
