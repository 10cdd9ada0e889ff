"""A filter as a graph: tests with two successors, loads and returns; equal parts exist once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from stockade.model.seccomp import Verdict

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
        return self._search(_merged(spans))

    def _search(self, spans: Sequence[Span]) -> Node:
        chain = self._chain(spans)
        if chain is not None:
            return chain
        cut = _middle(spans)
        return self.test("jge", spans[cut].low, self._search(spans[cut:]), self._search(spans[:cut]))

    def _chain(self, spans: Sequence[Span]) -> Node | None:
        """One `jeq` a hole, where single values stand out of one surrounding: it settles two cuts at once."""
        if len(spans) == 1:
            return spans[0].node
        if len(spans) not in (3, 5):
            return None
        around = spans[0].node
        holes = spans[1::2]
        if any(span.node is not around for span in spans[::2]) or any(hole.low != hole.high for hole in holes):
            return None
        node = around
        for hole in sorted(holes, key=lambda span: span.weight):
            node = self.test("jeq", hole.low, hole.node, node)
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


def _middle(spans: Sequence[Span]) -> int:
    """Where to cut so that both halves weigh about the same: within two comparisons of the best tree on average."""
    total = sum(span.weight for span in spans)
    left, best, cut = 0, total + 1, 1
    for index in range(1, len(spans)):
        left += spans[index - 1].weight
        if abs(total - 2 * left) < best:
            best, cut = abs(total - 2 * left), index
    return cut
