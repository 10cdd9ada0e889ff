"""Cuts one call's argument space into parts that a single rule of an OCI profile can say, disjoint and complete."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from stockade.model.seccomp import SyscallRule, Verdict
from stockade.seccomp.semantics import settle, strictness

MAX_PARTS = 1024
FULL = (1 << 64) - 1


class TooManyParts(ValueError):
    """The rules of a call fall into more parts than a profile can reasonably list."""


class Comparison(NamedTuple):
    """One OCI argument condition: `op` is EQ, NE, LT, GE or MASKED_EQ (then `value` is the mask, `other` the datum)."""

    argument: int
    op: str
    value: int
    other: int = 0


Part = tuple[tuple[Comparison, ...], Verdict]


class Pending(NamedTuple):
    """A condition as far as the bits above `width` have not settled it; `ranges` count from where those bits put us."""

    argument: int
    width: int
    ranges: tuple[tuple[int, int], ...]
    mask: int
    value: int


class Rules(NamedTuple):
    """What is left of a call's rules: the verdict if nothing else holds, and the rules that could still change it."""

    floor: Verdict
    settled: bool
    left: tuple[tuple[tuple[Pending, ...], Verdict], ...]


Cube = tuple[int, int, Rules]


def parts(rules: Iterable[SyscallRule], denied: Verdict) -> list[Part]:
    """Every combination of arguments in exactly one part, each part a conjunction with one comparison an argument.

    TooManyParts beyond 1024.
    """
    start = []
    for rule in rules:
        pending = []
        for condition in rule.conditions:
            mask = value = 0
            for bits, wanted in condition.masks:
                if (value ^ wanted) & mask & bits:
                    break
                mask, value = mask | bits, value | wanted
            else:
                pending.append(Pending(condition.argument, condition.width, condition.ranges, mask, value))
        if len(pending) == len(rule.conditions):
            start.append((tuple(sorted(pending)), rule.verdict))
    return _parts(_simplify(denied, False, start))


def _parts(rules: Rules) -> list[Part]:
    if not rules.left:
        return [((), rules.floor)]
    argument = min(pending[0].argument for pending, _ in rules.left)
    found: list[Part] = []
    for comparison, rest in _by_argument(rules, argument):
        found += [((comparison, *more) if comparison else more, verdict) for more, verdict in _parts(rest)]
        if len(found) > MAX_PARTS:
            raise TooManyParts(f"the conditions fall into more than {MAX_PARTS} parts")
    return found


def _by_argument(rules: Rules, argument: int) -> list[tuple[Comparison | None, Rules]]:
    here = [pending[0] for pending, _ in rules.left if pending[0].argument == argument]
    width = max(pending.width for pending in here)
    plain = _compare_once(rules, argument, here) if width == 64 else None
    if plain is not None:
        return plain
    cubes = _split(rules, argument, width, {})
    return [(Comparison(argument, "MASKED_EQ", mask, value) if mask else None, rest) for mask, value, rest in cubes]


def _compare_once(rules: Rules, argument: int, here: list[Pending]) -> list[tuple[Comparison | None, Rules]] | None:
    """The two sides of a single threshold or a single value on a 64-bit argument; None where it is more than that."""
    if any(pending.mask or pending.width != 64 for pending in here):
        return None
    starts = sorted(
        {0, *(cut for pending in here for low, high in pending.ranges for cut in (low, high + 1))} - {FULL + 1}
    )
    values = [(start, _at(rules, argument, start)) for start in starts]
    pieces = [values[0]]
    for start, rest in values[1:]:
        if rest != pieces[-1][1]:
            pieces.append((start, rest))
    if len(pieces) == 2:
        k = pieces[1][0]
        return [(Comparison(argument, "LT", k), pieces[0][1]), (Comparison(argument, "GE", k), pieces[1][1])]
    if len(pieces) == 3 and pieces[0][1] == pieces[2][1] and pieces[1][0] + 1 == pieces[2][0]:
        k = pieces[1][0]
        return [(Comparison(argument, "EQ", k), pieces[1][1]), (Comparison(argument, "NE", k), pieces[0][1])]
    return None


def _at(rules: Rules, argument: int, value: int) -> Rules:
    """The rules once `argument` is known to be `value`; its conditions have ranges only."""
    kept = []
    for pending, verdict in rules.left:
        if pending[0].argument != argument:
            kept.append((pending, verdict))
        elif any(low <= value <= high for low, high in pending[0].ranges):
            kept.append((pending[1:], verdict))
    return _simplify(rules.floor, rules.settled, kept)


def _split(rules: Rules, argument: int, width: int, memo: dict[tuple[Rules, int], list[Cube]]) -> list[Cube]:
    """Disjoint (mask, value, what is left) for the lowest `width` bits of an argument, from the highest bit down."""
    here = [pending[0] for pending, _ in rules.left if pending[0].argument == argument]
    if not here:
        return [(0, 0, rules)]
    width = min(width, max(pending.width if pending.ranges else pending.mask.bit_length() for pending in here))
    found = memo.get((rules, width))
    if found is None:
        top = 1 << width - 1
        zero = _split(_bit(rules, argument, width, 0), argument, width - 1, memo)
        one = _split(_bit(rules, argument, width, 1), argument, width - 1, memo)
        same = set(zero) & set(one)
        found = [cube for cube in zero if cube in same]
        found += [(mask | top, value, rest) for mask, value, rest in zero if (mask, value, rest) not in same]
        found += [(mask | top, value | top, rest) for mask, value, rest in one if (mask, value, rest) not in same]
        if len(found) > MAX_PARTS:
            raise TooManyParts(f"argument {argument} falls into more than {MAX_PARTS} parts")
        memo[rules, width] = found
    return found


def _bit(rules: Rules, argument: int, width: int, bit: int) -> Rules:
    """The rules once the highest of the lowest `width` bits of an argument is known."""
    kept = []
    half = 1 << width - 1
    base = bit * half
    for pending, verdict in rules.left:
        first = pending[0]
        if first.argument != argument or width > first.width:
            kept.append((pending, verdict))
            continue
        if first.mask & half and bool(first.value & half) != bool(bit):
            continue
        ranges = tuple(
            (max(low - base, 0), min(high - base, half - 1))
            for low, high in first.ranges
            if low < base + half and high >= base
        )
        if first.ranges and not ranges:
            continue
        if ranges == ((0, half - 1),):
            ranges = ()
        mask = first.mask & half - 1
        rest = (first._replace(ranges=ranges, mask=mask, value=first.value & mask),) if ranges or mask else ()
        kept.append(((*rest, *pending[1:]), verdict))
    return _simplify(rules.floor, rules.settled, kept)


def _simplify(floor: Verdict, settled: bool, rules: Iterable[tuple[tuple[Pending, ...], Verdict]]) -> Rules:
    """Raise the floor to the strictest rule that holds already, and drop the rules that can no longer matter."""
    floor, settled, left = settle(floor, settled, rules)
    return Rules(floor, settled, tuple(sorted(left, key=lambda rule: (rule[0], strictness(rule[1])))))
