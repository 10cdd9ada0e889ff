"""A container's seccomp filters against the compiled one: the same decisions, whatever the bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

Found = tuple[str, str, str, str]
Json = Mapping[str, Any]


def filter_findings(processes: Sequence[Json], compiled: Json) -> Iterator[Found]:
    """Each process has a filter that lets nothing through which the compiled one stops.

    Filters on one another answer with the strictest of them, so one that is no wider is enough.
    """
    wanted = list(compiled["filters"].values())
    for process in processes:
        best: str | None = None
        for program in process["programs"]:
            said = [wider(one, program) for one in wanted]
            if said and not all(said):
                best = None
                break
            best = best or next(iter(said), "the bundle has no program")
        else:
            who = f"thread {process['pid']} of process" if "thread_of" in process else "process"
            number = process.get("thread_of", process["pid"])
            yield "filter", f"{who} {number}", "the compiled filter", best or "none"


@lru_cache(maxsize=256)
def wider(compiled: str, live: str) -> str:
    """The first call that a live program lets through and the compiled one does not; nothing where there is none."""
    from stockade.seccomp.diff import Kind, compare
    from stockade.seccomp.emulate import BadProgram
    from stockade.seccomp.judge import FilterJudge
    from stockade.seccomp.regions import Unprovable

    if compiled == live:
        return ""
    try:
        found = compare(FilterJudge(bytes.fromhex(compiled)), FilterJudge(bytes.fromhex(live)))
    except (BadProgram, Unprovable, ValueError) as error:
        return f"a program that cannot be followed: {error}"
    return next((f"allows {one.witness}" for one in found if one.kind is Kind.WIDENED), "")
