"""Sets of calls: for each word of struct seccomp_data an interval and some fixed bits; splitting them is exact."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from stockade.model.seccomp import Condition

WORD = 0xFFFFFFFF
NR, ARCH = 0, 1
MAX_PARTS = 100_000


class Unprovable(ValueError):
    """What intervals and fixed bits cannot follow, or cannot follow in reasonable time."""


class Domain(NamedTuple):
    """The values v of a word with `low <= v <= high` and `v & mask == value`."""

    low: int = 0
    high: int = WORD
    mask: int = 0
    value: int = 0


FULL = Domain()
Region = tuple[Domain, ...]
"""Sixteen domains in the order of struct seccomp_data: nr, arch, ip (low, high), then low and high of each argument."""

EVERYTHING: Region = (FULL,) * 16


def least(domain: Domain) -> int | None:
    """The smallest value in a domain, None where it is empty."""
    low, high, mask, value = domain
    if low & mask != value:
        # The first value above `low` that fits differs from it first at some bit: there it has 1 where `low` has 0.
        for bit in range(32):
            one = 1 << bit
            if low & one or (mask & one and not value & one):
                continue
            above = WORD & ~(2 * one - 1)
            if (low ^ value) & mask & above:
                continue
            low = low & above | one | value & (one - 1)
            break
        else:
            return None
    return low if low <= high else None


def witness(region: Region) -> tuple[int, ...]:
    """One call of a region, as the sixteen words of struct seccomp_data."""
    words = tuple(least(domain) for domain in region)
    assert None not in words, "regions are split only into parts that are not empty"
    return tuple(word for word in words if word is not None)


def split_at(region: Region, word: int, k: int) -> tuple[Region | None, Region | None]:
    """The part where the word is below `k`, and the part where it is `k` or more; None for an empty part."""
    low, high, mask, value = region[word]
    if k <= low:
        return None, region
    if k > high:
        return region, None
    below, above = Domain(low, k - 1, mask, value), Domain(k, high, mask, value)
    return (
        None if mask and least(below) is None else _with(region, word, below),
        None if mask and least(above) is None else _with(region, word, above),
    )


def split_mask(region: Region, word: int, mask: int, value: int) -> tuple[Region | None, list[Region]]:
    """The part where `word & mask == value` and the rest, one part for each first bit that is wrong."""
    low, high, fixed, known = region[word]
    if (known ^ value) & fixed & mask or value & ~mask:
        return None, [region]
    rest: list[Region] = []
    for bit in _bits(mask & ~fixed):
        wrong = Domain(low, high, fixed | bit, known | (~value & bit))
        if least(wrong) is not None:
            rest.append(_with(region, word, wrong))
        fixed, known = fixed | bit, known | (value & bit)
    right = Domain(low, high, fixed, known)
    return (None if least(right) is None else _with(region, word, right)), rest


def split_condition(region: Region, condition: Condition) -> tuple[list[Region], list[Region]]:
    """The parts where a condition holds and the parts where it does not."""
    lower = 4 + 2 * condition.argument
    _, _, fixed_low, low_bits = region[lower]
    _, _, fixed_high, high_bits = region[lower + 1]
    fixed, bits = fixed_high << 32 | fixed_low, high_bits << 32 | low_bits
    if any((value ^ bits) & fixed & mask for mask, value in condition.masks):
        return [], [region]
    yes, no = [region], []
    for mask, value in condition.masks:
        halves = ((lower, mask & WORD, value & WORD), (lower + 1, mask >> 32, value >> 32))
        for word, part, wanted in halves:
            if part:
                yes, failed = _split_all(yes, word, part, wanted)
                no += failed
    if condition.ranges:
        inside: list[Region] = []
        left = yes
        for low, high in condition.ranges:
            left, matched = _split_range(left, lower, condition.width, low, high)
            inside += matched
        yes, no = inside, no + left
    return yes, no


Rule = tuple[tuple[Condition, bool], ...]
"""A conjunction of conditions, each as it stands (False) or negated (True)."""


def refine(region: Region, rules: Iterable[Rule], most: int = MAX_PARTS) -> list[Region]:
    """Disjoint parts of a region in each of which every rule either holds or fails throughout.

    Unprovable where they are more than `most`.
    """
    parts = [region]
    for rule in rules:
        settled: list[Region] = []
        for condition, negated in rule:
            left: list[Region] = []
            for part in parts:
                sides = split_condition(part, condition)
                left += sides[negated]
                settled += sides[not negated]
            parts = left
        parts += settled
        if len(parts) > most:
            raise Unprovable(f"the conditions on one call fall into more than {most} parts")
    return parts


def _split_all(regions: list[Region], word: int, mask: int, value: int) -> tuple[list[Region], list[Region]]:
    yes: list[Region] = []
    no: list[Region] = []
    for region in regions:
        right, rest = split_mask(region, word, mask, value)
        yes += [right] if right else []
        no += rest
    return yes, no


def _split_range(
    regions: list[Region], lower: int, width: int, low: int, high: int
) -> tuple[list[Region], list[Region]]:
    """(outside, inside) of low..high for the value at word `lower`, its upper half in the next word at width 64."""
    outside: list[Region] = []
    inside: list[Region] = []
    for region in regions:
        below, rest = _split_value(region, lower, width, low)
        outside += below
        for part in rest:
            within, above = _split_value(part, lower, width, high + 1)
            inside += within
            outside += above
    return outside, inside


def _split_value(region: Region, lower: int, width: int, k: int) -> tuple[list[Region], list[Region]]:
    """(below, rest) at `k` of a whole argument: the halves compare as one number."""
    if width == 32:
        below, rest = split_at(region, lower, k)
        return _some(below), _some(rest)
    smaller, at_least = split_at(region, lower + 1, k >> 32)
    if at_least is None:
        return _some(smaller), []
    equal, greater = split_at(at_least, lower + 1, (k >> 32) + 1)
    if equal is None:
        return _some(smaller), _some(greater)
    below, rest = split_at(equal, lower, k & WORD)
    return _some(smaller) + _some(below), _some(rest) + _some(greater)


def _some(region: Region | None) -> list[Region]:
    return [] if region is None else [region]


def _bits(mask: int) -> Iterator[int]:
    """The bits of a mask, the highest first: masks that are prefixes of one another then cut in the same places."""
    while mask:
        bit = 1 << mask.bit_length() - 1
        yield bit
        mask ^= bit


def _with(region: Region, word: int, domain: Domain) -> Region:
    return (*region[:word], domain, *region[word + 1 :])
