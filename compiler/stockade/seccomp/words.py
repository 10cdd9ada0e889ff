"""Turns the conditions on one call's arguments into tests on 32-bit words, exactly, sharing equal remainders."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from stockade.model.seccomp import ALLOWED, Condition, SyscallRule, Verdict
from stockade.seccomp.canonical import shortest
from stockade.seccomp.semantics import strictness
from stockade.seccomp.tree import FilterTooLong, Graph, Node, Span

WORD = 0xFFFFFFFF
MAX_DEPTH = 150
"""How many tests may follow one another on one call's arguments; far above any policy that a person writes."""


class Pending(NamedTuple):
    """What is left to test of a condition, at one word: `place` is 2·argument for the upper half, +1 for the lower.

    At an upper half, `ranges`, `mask` and `value` speak of all 64 bits until `wide` is spent.
    """

    place: int
    wide: bool
    ranges: tuple[tuple[int, int], ...]
    mask: int
    value: int


Remainder = tuple[tuple[Pending, ...], Verdict]


@dataclass(slots=True)
class Arguments:
    """Builds the graph for calls whose verdict depends on arguments; `denied` answers where no rule holds."""

    graph: Graph
    denied: Verdict
    _otherwise: Verdict = ALLOWED
    _memo: dict[tuple[object, ...], Node] = field(default_factory=dict)

    def node(self, rules: Iterable[SyscallRule]) -> Node:
        """The decision over all six arguments; assumes nothing of the accumulator. FilterTooLong: too many tests."""
        remainders = []
        kept, self._otherwise = shortest(tuple(rules), self.denied)
        for rule in kept:
            pending = _start(rule.conditions)
            if pending is not None:
                remainders.append((pending, rule.verdict))
        return self._decide(remainders, None, 0)

    def _decide(self, rules: list[Remainder], loaded: int | None, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise FilterTooLong(f"a call needs more than {MAX_DEPTH} tests in a row")
        settled = max((verdict for pending, verdict in rules if not pending), key=strictness, default=None)
        floor = settled or self._otherwise
        left = {
            (pending, verdict)
            for pending, verdict in rules
            if pending and (settled is None or strictness(verdict) > strictness(settled))
        }
        if all(verdict == floor for _, verdict in left):
            return self.graph.ret(floor)
        ordered = sorted(left, key=lambda rule: (rule[0], strictness(rule[1])))
        key = (floor, settled, tuple(ordered), loaded)
        if key not in self._memo:
            again: list[Remainder] = [*ordered] if settled is None else [*ordered, ((), settled)]
            self._memo[key] = self._test(again, loaded, depth)
        return self._memo[key]

    def _test(self, rules: list[Remainder], loaded: int | None, depth: int) -> Node:
        place = min(pending[0].place for pending, _ in rules if pending)
        here = [pending[0] for pending, _ in rules if pending and pending[0].place == place]
        if any(pending.ranges or pending.wide for pending in here):
            node = self._spans(rules, place, here, depth)
        else:
            node = self._masks(rules, place, here, depth)
        return node if loaded == place else self.graph.load(offset(place), node)

    def _spans(self, rules: list[Remainder], place: int, here: list[Pending], depth: int) -> Node:
        starts = sorted({0, *(cut for pending in here for cut in _cuts(pending) if cut <= WORD)})
        spans = []
        for low, following in zip(starts, [*starts[1:], WORD + 1], strict=True):
            kept: list[Remainder] = []
            for pending, verdict in rules:
                if not pending or pending[0].place != place:
                    kept.append((pending, verdict))
                elif (rest := _within(pending[0], low)) is not None:
                    kept.append(((*rest, *pending[1:]), verdict))
            spans.append(Span(low, following - 1, self._decide(kept, place, depth + 1)))
        return self.graph.search(spans)

    def _masks(self, rules: list[Remainder], place: int, here: list[Pending], depth: int) -> Node:
        mask, value = min((pending.mask, pending.value) for pending in here)
        single = mask & (mask - 1) == 0
        intact = single or value == 0
        loaded = place if intact else None
        yes = self._decide(_knowing(rules, place, mask, value), loaded, depth + 1)
        if single:
            no = self._decide(_knowing(rules, place, mask, value ^ mask), loaded, depth + 1)
        else:
            no = self._decide(_without(rules, place, mask, value), loaded, depth + 1)
        if value == 0:
            return self.graph.test("jset", mask, no, yes)
        if single:
            return self.graph.test("jset", mask, yes, no)
        return self.graph.test("jeq", value, yes, no, mask)


def offset(place: int) -> int:
    """Where the word at `place` stands in struct seccomp_data of a little-endian machine."""
    return 16 + 8 * (place // 2) + (0 if place % 2 else 4)


def _start(conditions: Iterable[Condition]) -> tuple[Pending, ...] | None:
    """The tests of a rule in the order of places, or None where masks contradict each other and it never holds."""
    tests = []
    for condition in conditions:
        mask = value = 0
        for bits, wanted in condition.masks:
            if (value ^ wanted) & mask & bits:
                return None
            mask, value = mask | bits, value | wanted
        wide = condition.width == 64
        tests.append(Pending(2 * condition.argument + (0 if wide else 1), wide, condition.ranges, mask, value))
    return tuple(sorted(tests))


def _cuts(pending: Pending) -> Iterable[int]:
    """The values of the word at which the outcome of `pending` may change."""
    for low, high in pending.ranges:
        if pending.wide:
            yield from (low >> 32, (low >> 32) + 1, high >> 32, (high >> 32) + 1)
        else:
            yield from (low, high + 1)


def _within(pending: Pending, word: int) -> tuple[Pending, ...] | None:
    """What is left of `pending` between two cuts, `word` being a value there; None where it fails."""
    place, wide, ranges, mask, value = pending
    if not wide:
        if ranges and not any(low <= word <= high for low, high in ranges):
            return None
        return (Pending(place, False, (), mask, value),) if mask else ()
    base = word << 32
    clipped = tuple(
        (max(low, base) - base, min(high, base | WORD) - base) for low, high in ranges if _meets(low, high, base)
    )
    if ranges and not clipped:
        return None
    if clipped == ((0, WORD),):
        clipped = ()
    rest = []
    if mask >> 32:
        rest.append(Pending(place, False, (), mask >> 32, value >> 32))
    if clipped or mask & WORD:
        rest.append(Pending(place + 1, False, clipped, mask & WORD, value & WORD))
    return tuple(rest)


def _meets(low: int, high: int, base: int) -> bool:
    return low <= base | WORD and high >= base


def _knowing(rules: list[Remainder], place: int, mask: int, value: int) -> list[Remainder]:
    """The remainders once the bits `mask` of the word at `place` are known to be `value`."""
    kept: list[Remainder] = []
    for pending, verdict in rules:
        if not pending or pending[0].place != place:
            kept.append((pending, verdict))
            continue
        first = pending[0]
        if (first.value ^ value) & first.mask & mask:
            continue
        bits = first.mask & ~mask
        rest = (first._replace(mask=bits, value=first.value & bits),) if bits else ()
        kept.append(((*rest, *pending[1:]), verdict))
    return kept


def _without(rules: list[Remainder], place: int, mask: int, value: int) -> list[Remainder]:
    """The remainders once it is known that the bits `mask` of the word at `place` are not all as in `value`."""
    return [
        (pending, verdict)
        for pending, verdict in rules
        if not (
            pending
            and pending[0].place == place
            and pending[0].mask & mask == mask
            and pending[0].value & mask == value
        )
    ]
