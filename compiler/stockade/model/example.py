"""The categories that a container is asked about where an example is needed, and those of its neighbour."""

from __future__ import annotations

from stockade.model.container import Level


def levels(level: Level, categories: int) -> tuple[str, str, str]:
    """(of processes, of their files, of another container) for one container of a type.

    `categories` is how many the policy has; of two there is one pair, and of four no second.
    """
    pair = "s0:c1,c2" if categories > 2 else "s0:c0.c1"
    other = "s0:c3,c4" if categories > 4 else "s0:c0"
    match level:
        case Level.PAIR:
            return pair, pair, other
        case Level.ALL:
            return f"s0-s0:c0.c{categories - 1}", "s0", other
        case Level.NONE:
            return "s0", "s0", other
