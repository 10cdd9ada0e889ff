"""What a policy still has to say about the calls of a region: its rules without what the region has settled."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from stockade.model.seccomp import Condition, Verdict
from stockade.seccomp.regions import EVERYTHING, Domain, Region, split_condition
from stockade.seccomp.semantics import settle, strictness


class Meaning(NamedTuple):
    """The answer if none of `rules` holds, and the rules, each stricter than that where it is `settled`.

    `settled` says that a rule holds already: then `floor` is its verdict, and weaker rules are gone.
    """

    floor: Verdict
    settled: bool
    rules: tuple[tuple[tuple[Condition, ...], Verdict], ...]


def meaning(floor: Verdict, rules: Iterable[tuple[tuple[Condition, ...], Verdict]] = ()) -> Meaning:
    """The meaning of rules of which nothing is known yet."""
    return _settle(floor, False, rules)


def within(said: Meaning, region: Region) -> Meaning:
    """What is left of `said` for the calls of `region`."""
    left = []
    for conditions, verdict in said.rules:
        open_conditions = []
        for condition in conditions:
            lower = 4 + 2 * condition.argument
            holds, fails = _outcomes(region[lower], region[lower + 1], condition)
            if not holds:
                break
            if fails:
                open_conditions.append(condition)
        else:
            left.append((tuple(open_conditions), verdict))
    return _settle(said.floor, said.settled, left)


def words(said: Meaning) -> int:
    """The words of struct seccomp_data on which the answer may depend, as bits."""
    found = 0
    for conditions, _ in said.rules:
        for condition in conditions:
            found |= (1 if condition.width == 32 else 3) << (4 + 2 * condition.argument)
    return found


def _settle(floor: Verdict, settled: bool, rules: Iterable[tuple[tuple[Condition, ...], Verdict]]) -> Meaning:
    floor, settled, left = settle(floor, settled, rules)
    return Meaning(floor, settled, tuple(sorted(left, key=lambda rule: (repr(rule[0]), strictness(rule[1])))))


@lru_cache(maxsize=4096)
def _outcomes(lower: Domain, upper: Domain, condition: Condition) -> tuple[bool, bool]:
    """Whether a condition can hold, and whether it can fail, where its argument's words lie in these domains."""
    at = 4 + 2 * condition.argument
    yes, no = split_condition((*EVERYTHING[:at], lower, upper, *EVERYTHING[at + 2 :]), condition)
    return bool(yes), bool(no)
