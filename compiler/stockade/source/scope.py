"""The names a policy declares, and what a set expression over them stands for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stockade.model.host import Labels, Part
from stockade.model.position import Position
from stockade.source.diagnostics import Diagnostics
from stockade.source.yaml import Map, Seq


class Scope:
    """Every subject, object and set by name.

    `narrowed` are the domains that container types derive from another: they belong to every set their parent belongs
    to, yet take no grant from a rule; their container type says what they keep. `unresolved` counts the names that
    stood for nothing: whoever sees it grow knows that what was resolved meanwhile is not whole.
    """

    def __init__(self, report: Diagnostics) -> None:
        self.report = report
        self.subjects: dict[str, str] = {}
        self.objects: dict[str, str] = {}
        self.narrowed: dict[str, str] = {}
        self.declared_sets: dict[str, tuple[Any, Position]] = {}
        self._sets: dict[str, frozenset[str]] = {}
        self._resolving: list[str] = []
        self._torn: set[str] = set()
        self.unresolved = 0

    def names(self) -> list[str]:
        """Everything a set expression may mention."""
        return ["self", "subjects", "objects", "everything", *self.subjects, *self.objects, *self.declared_sets]

    def universe(self, name: str) -> frozenset[str]:
        """The labels of `subjects`, `objects` or `everything`."""
        subjects, objects = frozenset(self.subjects.values()), frozenset(self.objects.values())
        return {"subjects": subjects, "objects": objects, "everything": subjects | objects}[name]

    def part(self, name: str, at: Position) -> Part | None:
        """One name of an expression, or None (noted) when it stands for nothing."""
        if name == "self":
            return Part("self", frozenset(), itself=True)
        if name in ("subjects", "objects", "everything"):
            return Part(name, self.universe(name))
        if name in self.subjects:
            return Part(name, frozenset([self.subjects[name]]))
        if name in self.objects:
            return Part(name, frozenset([self.objects[name]]))
        if name in self.declared_sets:
            members = self.set(name)
            self.unresolved += name in self._torn
            return Part(name, members)
        self.unresolved += 1
        self.report.unknown(at, "name", name, self.names())
        return None

    def set(self, name: str) -> frozenset[str]:
        """The labels of a named set; a set that contains itself is noted and stands for nothing."""
        if name in self._resolving:
            loop = self._resolving[self._resolving.index(name) :]
            first = loop.index(min(loop))
            way = [*loop[first:], *loop[: first + 1]]
            self.report.error(
                self.declared_sets[way[0]][1], f"set `{way[0]}` contains itself, by way of {' -> '.join(way)}"
            )
            self._torn.update(loop)
            return frozenset()
        if name not in self._sets:
            value, at = self.declared_sets[name]
            before = self.unresolved
            self._resolving.append(name)
            labels = self.labels(value, at, "everything")
            self._resolving.pop()
            if self.unresolved > before:
                self._torn.add(name)
            found: set[str] = set().union(*(part.members for part in labels.parts))
            while inherited := {child for child, parent in self.narrowed.items() if parent in found} - found:
                found |= inherited
            self._sets[name] = frozenset(found)
        return self._sets[name]

    def is_whole(self, name: str) -> bool:
        """Whether every name in a set, and in the sets that it is made of, stood for something."""
        self.set(name)
        return name not in self._torn

    def labels(self, value: Any, at: Position, universe: str) -> Labels:
        """A set expression; `universe` is what `except` without `of` subtracts from."""
        if not isinstance(value, Map):
            return Labels(tuple(sorted(self._parts(value, at), key=lambda part: part.name)))
        before = self.unresolved
        left_out = list(self._parts(value["except"], value.values_at["except"]))
        but_itself = any(part.itself for part in left_out)
        out = frozenset().union(*(part.members for part in left_out))
        whole = [Part(universe, self.universe(universe))]
        if "of" in value:
            whole = list(self._parts(value["of"], value.values_at["of"]))
        words = "-".join(sorted(part.name for part in left_out if not part.itself))
        for part in left_out if self.unresolved == before else ():
            if not part.itself and not any(part.members & w.members or w.itself for w in whole):
                self.report.error(value.values_at["except"], f"`{part.name}` is not among what it is taken from")
        parts = tuple(
            part if not out else Part(f"{part.name}-but-{words}", part.members - out, part.itself) for part in whole
        )
        if self.unresolved == before and not any(part.members or part.itself for part in parts):
            self.report.error(value.at, "nothing is left of this")
            self.unresolved += 1
        return Labels(parts, but_itself)

    def grantees(self, value: Any, at: Position) -> Labels:
        """The set expression of a rule's `who`: narrowed domains take no grant, and may not be named."""
        labels = self.labels(value, at, "subjects")
        names = {name for name, label in self.subjects.items() if label in self.narrowed}
        for part in labels.parts:
            if part.itself:
                self.report.error(at, "`self` cannot be who acts")
            if part.name in names:
                self.report.error(at, f"`{part.name}` narrows another type", "say what it may do in its container file")
        return Labels(
            tuple(Part(part.name, part.members.difference(self.narrowed), part.itself) for part in labels.parts),
            labels.but_itself,
        )

    def _parts(self, value: Any, at: Position) -> Iterable[Part]:
        items = zip(value, value.items_at, strict=True) if isinstance(value, Seq) else [(value, at)]
        for name, place in items:
            found = self.part(name, place)
            if found is not None:
                yield found
