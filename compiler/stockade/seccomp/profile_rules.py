"""What the entries of a seccomp profile say of each call: conditions, answers, and where two of them disagree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stockade.model.seccomp import Condition, Verdict
from stockade.seccomp.profile_format import WORD64, Entry, Test
from stockade.seccomp.regions import EVERYTHING, Region, split_condition
from stockade.seccomp.semantics import strictness

Said = tuple[tuple[Condition, ...], Verdict, str]
"""What a rule says of a call: its conditions, its answer, and the JSON path of the entry."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two entries that answer a call differently where both match; `ordered`: libseccomp takes the first of them."""

    call: str
    first: str
    second: str
    ordered: bool


def conditions(test: Test) -> Condition | None:
    """A test as a condition on all 64 bits; None where it never holds. One that always holds has the full range."""
    value, top = test.value, WORD64
    if test.op == "MASKED_EQ":
        if not value:
            return Condition(test.index, 64, ((0, top),))
        # libseccomp drops the bits of valueTwo that lie outside the mask.
        return Condition(test.index, 64, (), ((value, test.two & value),))
    lines = {
        "EQ": ((value, value),),
        "NE": ((0, value - 1), (value + 1, top)),
        "LT": ((0, value - 1),),
        "LE": ((0, value),),
        "GT": ((value + 1, top),),
        "GE": ((value, top),),
    }
    ranges = tuple((low, high) for low, high in lines[test.op] if low <= high)
    return Condition(test.index, 64, ranges) if ranges else None


def by_call(entries: Iterable[Entry], default: Verdict) -> dict[str, list[Said]]:
    """What the entries say of each call, in their order, without what equals the default or never holds."""
    found: dict[str, list[Said]] = {}
    for entry in entries:
        if entry.verdict == default:
            continue
        for _, name in entry.names:
            for tests in alternatives(entry):
                found.setdefault(name, []).append((tests, entry.verdict, entry.path))
    return found


def alternatives(entry: Entry) -> list[tuple[Condition, ...]]:
    """The conjunctions of conditions for which an entry answers; none where it never does."""
    held = [conditions(test) for test in entry.tests]
    if entry.either:
        return [(condition,) for condition in held if condition]
    together = tuple(condition for condition in held if condition)
    return [tuple(sorted(together, key=lambda one: one.argument))] if len(together) == len(held) else []


def settle(call: str, said: list[Said]) -> tuple[list[Said], Conflict | None]:
    """The rules that count for a call, each once, and a conflict between two of them if there is one."""
    always = [one for one in said if not one[0]]
    said = always or said
    once: dict[tuple[tuple[Condition, ...], Verdict], Said] = {}
    for one in said:
        once.setdefault(one[:2], one)
    kept = list(once.values())
    conflict = next(
        (
            Conflict(call, one[2], other[2], bool(always))
            for at, one in enumerate(kept)
            for other in kept[at + 1 :]
            if one[1] != other[1] and _meet(one[0] + other[0])
        ),
        None,
    )
    if always:
        kept = [max(always, key=lambda one: strictness(one[1]))]
    return kept, conflict


def _meet(together: Iterable[Condition]) -> bool:
    """Whether some arguments pass all the conditions."""
    parts: list[Region] = [EVERYTHING]
    for condition in together:
        parts = [right for part in parts for right in split_condition(part, condition)[0]]
    return bool(parts)


def order(one: Said) -> tuple[object, ...]:
    """A key that sorts what is said of one call."""
    tests = tuple((test.argument, test.ranges, test.masks) for test in one[0])
    return strictness(one[1]), tests


def meaning(said: Iterable[Said]) -> set[tuple[tuple[Condition, ...], Verdict]]:
    """What rules say, wherever they stand."""
    return {one[:2] for one in said}
