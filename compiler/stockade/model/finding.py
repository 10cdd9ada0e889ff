"""One thing that is wrong with a policy: where, what, and a hint."""

from __future__ import annotations

from dataclasses import dataclass

from stockade.model.position import Position


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault in the source: `hint` is a nearest name, or a second place that matters."""

    at: Position
    message: str
    hint: str = ""
