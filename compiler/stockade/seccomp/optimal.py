"""The cheapest tree of comparisons that finds a span: by dynamic programming over all ways to cut a line in two."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Sequence
from itertools import accumulate
from operator import add
from typing import NamedTuple

MAX_EXACT = 192
"""Above this many spans a line is first cut where both halves weigh about the same; the pieces are solved exactly."""
MAX_HOLES = 8
_TOLL = 2000


class Item(NamedTuple):
    """A span as far as the search cares: is it a single value, where does it lead, how often is it looked for."""

    single: bool
    leads: Hashable
    weight: int


class Leaf(NamedTuple):
    """The span at `span` is found."""

    span: int


class Cut(NamedTuple):
    """One `jge` with the lowest value of the span at `span`: that span and all above, or all below it."""

    span: int
    above: Plan
    below: Plan


class Chain(NamedTuple):
    """One `jeq` for each span of `holes`, in this order; what none of them is lies in a span like that at `span`."""

    holes: tuple[int, ...]
    span: int


Plan = Leaf | Cut | Chain


def best_plan(items: Sequence[Item]) -> Plan:
    """The plan with the least expected number of comparisons, each weighed by what it decides between.

    A single value that stands out of spans that all lead to one place is told by one `jeq`, where a tree of `jge` needs
    two comparisons. Every comparison is charged a two-thousandth of the whole line on top, so that of two plans about
    as fast the shorter one wins. Neighbours lead to different places.
    """
    total = sum(item.weight for item in items)
    return _pieces(items, 0, len(items), max(total // _TOLL, 1))


def _pieces(items: Sequence[Item], first: int, after: int, toll: int) -> Plan:
    if after - first <= MAX_EXACT:
        return _exact(items, first, after, toll)
    sums = list(accumulate((item.weight for item in items[first:after]), initial=0))
    cut = first + min(max(bisect_left(sums, sums[-1] / 2), 1), after - first - 1)
    return Cut(cut, _pieces(items, cut, after, toll), _pieces(items, first, cut, toll))


def _exact(items: Sequence[Item], first: int, after: int, toll: int) -> Plan:
    """The best plan for items `first` to `after` - 1.

    `rows[i][j - i]` and `columns[j][j - i]` are both the cost of items i to j, so that the costs of all ways to cut a
    stretch in two are the sums of a row and a reversed column.
    """
    line = items[first:after]
    sums = list(accumulate((item.weight for item in line), initial=0))
    rows: list[list[int]] = [[] for _ in line]
    choices: list[list[int | Chain]] = [[] for _ in line]
    for j in range(len(line)):
        column: list[int] = []
        for i in range(j, -1, -1):
            if i == j:
                cost, choice = 0, 0
            else:
                cuts = list(map(add, rows[i], reversed(column)))
                cheapest = min(cuts)
                cost, choice = sums[j + 1] - sums[i] + toll + cheapest, i + 1 + cuts.index(cheapest)
            chain = _chain(line, i, j) if i < j < i + 2 * MAX_HOLES + 1 else None
            chosen: int | Chain = choice
            if chain is not None:
                price = _price(line, i, j, chain.holes, toll)
                if price < cost:
                    cost, chosen = price, chain
            rows[i].append(cost)
            column.append(cost)
            choices[i].append(chosen)
    return _build(choices, 0, len(line) - 1, first)


def _chain(line: Sequence[Item], i: int, j: int) -> Chain | None:
    """The spans of i to j that are to be told by `jeq`, the heaviest first; None where that cannot tell them."""
    around = {line[at].leads: at for at in range(i, j + 1) if not line[at].single}
    if len(around) > 1:
        return None
    ((leads, index),) = around.items() or ((line[i].leads, i),)
    holes = [at for at in range(i, j + 1) if line[at].leads != leads]
    if len(holes) > MAX_HOLES:
        return None
    holes.sort(key=lambda at: -line[at].weight)
    return Chain(tuple(holes), index)


def _price(line: Sequence[Item], i: int, j: int, holes: Sequence[int], toll: int) -> int:
    left = sum(line[at].weight for at in range(i, j + 1))
    price = 0
    for hole in holes:
        price += left + toll
        left -= line[hole].weight
    return price


def _build(choices: Sequence[Sequence[int | Chain]], i: int, j: int, first: int) -> Plan:
    if i == j:
        return Leaf(first + i)
    choice = choices[i][j - i]
    if isinstance(choice, Chain):
        return Chain(tuple(first + hole for hole in choice.holes), first + choice.span)
    return Cut(first + choice, _build(choices, choice, j, first), _build(choices, i, choice - 1, first))
