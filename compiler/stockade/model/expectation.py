"""What a policy's author expects of it, asked one question at a time like a unit test."""

from __future__ import annotations

from dataclasses import dataclass

from stockade.model.position import Position, Said


@dataclass(frozen=True, slots=True)
class Question:
    """Something that is asked as `stockade can` asks it, in its words; `allowed` is the answer that is expected."""

    text: str
    allowed: bool
    at: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation(Said):
    """Questions about container types or subjects `who`; `level` is that of the objects in them."""

    name: str
    who: tuple[str, ...]
    questions: tuple[Question, ...]
    level: str
