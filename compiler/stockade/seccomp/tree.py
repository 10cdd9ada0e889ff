"""A filter as a graph: tests with two successors, loads and returns; equal parts exist once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from stockade.model.seccomp import Verdict
from stockade.seccomp.optimal import Chain, Cut, Item, Plan, best_plan

MAX_NODES = 16384


class FilterTooLong(ValueError):
    """The policy needs more instructions than the kernel accepts."""


@dataclass(frozen=True, slots=True, eq=False)
class Return:
    """The end of a path."""

    verdict: Verdict


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """Put the 32-bit word at `offset` of struct seccomp_data into the accumulator and go on."""

    offset: int
    then: Node


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """Compare the accumulator with `k`: `jeq`, `jge` or `jset`; `mask`, if any, is anded in first and destroys it."""

    operation: str
    k: int
    yes: Node
    no: Node
    mask: int | None = None


Node = Return | Load | Branch


@dataclass(frozen=True, slots=True)
class Span:
    """The values `low` to `high` of a word all lead to `node`; `weight` says how often, relative to its neighbours."""

    low: int
    high: int
    node: Node
    weight: int = 1


@dataclass(slots=True)
class Graph:
    """Makes nodes and gives back the one it has when asked for an equal one; nodes are equal when they are the same."""

    _nodes: dict[tuple[object, ...], Node] = field(default_factory=dict)

    def ret(self, verdict: Verdict) -> Node:
        """Answer `verdict`."""
        return self._once((verdict,), lambda: Return(verdict))

    def load(self, offset: int, then: Node) -> Node:
        """Load a word, unless what follows does not look at it."""
        return then if isinstance(then, Return | Load) else self._once((offset, id(then)), lambda: Load(offset, then))

    def test(self, operation: str, k: int, yes: Node, no: Node, mask: int | None = None) -> Node:
        """Branch, unless both ways lead to the same place."""
        if yes is no:
            return yes
        return self._once((operation, k, mask, id(yes), id(no)), lambda: Branch(operation, k, yes, no, mask))

    def _once(self, key: tuple[object, ...], make: Callable[[], Node]) -> Node:
        found = self._nodes.get(key)
        if found is None:
            if len(self._nodes) >= MAX_NODES:
                raise FilterTooLong(f"the policy needs more than {MAX_NODES} tests")
            found = self._nodes[key] = make()
        return found

    def search(self, spans: Sequence[Span]) -> Node:
        """A tree of `jge` and `jeq` that finds the accumulator's span; `spans` are disjoint, sorted, complete."""
        merged = _merged(spans)
        items = [Item(span.low == span.high, id(span.node), span.weight) for span in merged]
        return self._follow(best_plan(items), merged)

    def _follow(self, plan: Plan, spans: Sequence[Span]) -> Node:
        if isinstance(plan, Cut):
            above, below = self._follow(plan.above, spans), self._follow(plan.below, spans)
            return self.test("jge", spans[plan.span].low, above, below)
        node = spans[plan.span].node
        if isinstance(plan, Chain):
            for hole in reversed(plan.holes):
                node = self.test("jeq", spans[hole].low, spans[hole].node, node)
        return node


def _merged(spans: Sequence[Span]) -> list[Span]:
    merged: list[Span] = []
    for span in spans:
        if merged and merged[-1].node is span.node:
            before = merged[-1]
            merged[-1] = Span(before.low, span.high, before.node, before.weight + span.weight)
        else:
            merged.append(span)
    return merged
