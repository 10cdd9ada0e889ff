"""Paths through a policy: their steps and what each needs, the search for the shortest, and where it starts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from stockade.selinux.decide import Context, Level, Table, UnknownContext


class Need(NamedTuple):
    """A rule that a step rests on: that `source` may do `permission` on a `tclass` of `target`.

    With a `result` it is the rule that a process of `source` that executes `target` becomes that.
    """

    source: str
    target: str
    tclass: str
    permission: str
    result: str = ""

    def __str__(self) -> str:
        if self.result:
            return f"type_transition {self.source} {self.target}:{self.tclass} {self.result}"
        return f"allow {self.source} {self.target}:{self.tclass} {self.permission}"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a path: from a context (a process, or objects of a class) to the next; it takes all of `because`."""

    source: str
    target: str
    how: str
    because: tuple[Need, ...]

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {"from": self.source, "to": self.target, "how": self.how, "because": list(map(str, self.because))}


class Node:
    """A place where data is: a process (`tclass` empty) or the objects of a class, by context."""

    __slots__ = ("context", "tclass")

    def __init__(self, context: Context, tclass: str = "") -> None:
        self.context = context
        self.tclass = tclass

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and (self.context, self.tclass) == (other.context, other.tclass)

    def __hash__(self) -> int:
        return hash((self.context, self.tclass))


Edge = tuple[Node, str, tuple[Need, ...]]
"""Where a step leads, how, and what it needs."""


def search(
    table: Table,
    starts: Iterable[Node],
    edges: Callable[[Node], Iterator[Edge]],
    there: Callable[[Node], bool] | None,
) -> Iterator[tuple[Node, tuple[Step, ...]]]:
    """Every node that can be reached (those that are `there`, if given) with a shortest path, nearest first."""
    came: dict[Node, tuple[Node, Step] | None] = dict.fromkeys(starts)
    queue = deque(came)
    while queue:
        node = queue.popleft()
        if there is None or there(node):
            steps: list[Step] = []
            at = came[node]
            while at is not None:
                steps.append(at[1])
                at = came[at[0]]
            yield node, tuple(reversed(steps))
        for following, how, because in edges(node):
            if following not in came:
                came[following] = node, Step(_spell(table, node), _spell(table, following), how, because)
                queue.append(following)


def _spell(table: Table, node: Node) -> str:
    text = table.text(node.context)
    return f"{text} {node.tclass}" if node.tclass else text


def needs(source: Context, target: Context, tclass: str, perm: str) -> Need:
    """The permission of one context on another, as a need."""
    return Need(source.type, target.type, tclass, perm)


def level_range(table: Table, text: str) -> tuple[Level, Level]:
    """A range from its text; the lowest level when there is none."""
    low, _, high = text.partition("-")
    first = table.level(low) if low else table.level(table.policy.sensitivities[0] if table.policy.mls else "")
    return first, table.level(high) if high else first


def processes(table: Table, who: str) -> list[Context]:
    """The contexts meant by a context, or by a type: at the lowest level, in every role."""
    if ":" in who:
        return [table.context(who)]
    name = table.policy.aliases.get(who, who)
    low, high = level_range(table, "")
    found = list(table.contexts(name, low, high, process=True))
    if not found:
        raise UnknownContext(f"`{who}` is not a type of processes in this policy")
    return found


def object_context(table: Table, what: str) -> Context:
    """The context of objects that is meant by a context, or by a type: at the lowest level."""
    if ":" in what:
        return table.context(what)
    name = table.policy.aliases.get(what, what)
    low, high = level_range(table, "")
    for context in table.contexts(name, low, high, process=False):
        return context
    raise UnknownContext(f"`{what}` is not a type in this policy")
