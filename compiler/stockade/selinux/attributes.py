"""The type attributes that a compiled policy needs: one for every set that a rule, constraint or promise names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from stockade.model.host import Host, Labels, Part

_DIGIT: Final = re.compile(r"_digit_\d+_[01](_proper)?\Z")


def identifier(name: str) -> str:
    """A name of the source as an identifier of the policy language."""
    return name.replace("-", "_")


class Attributes:
    """Hands out identifiers for set expressions and remembers the members of each.

    A rule's `who` leaves out domains that narrow another, so the set it names can have fewer members there than
    elsewhere; that smaller set is called `NAME_proper`.
    """

    def __init__(self, host: Host) -> None:
        subjects, objects = host.subject_labels, host.object_labels
        self.members = {"subjects": subjects, "objects": objects, "everything": subjects | objects}
        for name, found in host.sets.items():
            self.members[identifier(name)] = found.labels
        self._named = frozenset(self.members)
        self._narrowed = [(s.label, s.parent) for s in host.subjects.values() if s.parent]
        self._known: dict[tuple[Part, bool], str] = {}
        self._others: dict[tuple[Part, Part], tuple[tuple[str, str], ...]] = {}

    def of(self, part: Part, *, group: bool = False) -> str:
        """The identifier of one term: `self`, a type, or an attribute; with `group` an attribute even of one type.

        The host's file compiles without the files of container types, so it may not name the types that these declare.
        """
        if part.itself:
            return "self"
        if (part, group) not in self._known:
            self._known[part, group] = self._of(part, group)
        return self._known[part, group]

    def _of(self, part: Part, group: bool) -> str:
        name = identifier(part.name)
        if len(part.members) == 1 and not group and self._named.isdisjoint((name, f"{name}_proper")):
            return next(iter(part.members))
        if any(parent in part.members and label not in part.members for label, parent in self._narrowed):
            name = f"{name}_proper"
        if len(part.members) == 1 and name not in self._named and not group:
            return next(iter(part.members))
        if self.members.setdefault(name, part.members) != part.members:
            raise AssertionError(f"two sets are called {name}")
        return name

    def of_members(self, name: str, members: frozenset[str]) -> str:
        """The identifier of labels that a constraint names."""
        return self.of(Part(name, members))

    def pairs(self, who: Labels, what: Labels) -> Iterator[tuple[str, str]]:
        """(source, target) identifiers that cover `who` and `what`; empty terms are left out."""
        for actor in who.parts:
            if not actor.members:
                continue
            for target in what.parts:
                if not target.itself and not target.members:
                    continue
                if not what.but_itself:
                    yield self.of(actor), self.of(target)
                elif not target.itself:
                    if (actor, target) not in self._others:
                        self._others[actor, target] = tuple(self._but_itself(actor, target))
                    yield from self._others[actor, target]

    def _but_itself(self, actor: Part, target: Part) -> Iterator[tuple[str, str]]:
        """Pairs without those of a label with itself: few statements, however many labels there are.

        Two labels are different exactly where their numbers differ in some binary digit. So for each digit those that
        have a 0 there stand against those that have a 1, and the other way round.
        """
        inside = actor.members & target.members
        if outside := actor.members - inside:
            name = f"{actor.name}-outside-{target.name}" if inside else actor.name
            yield self.of(Part(name, outside)), self.of(target)
        name = actor.name if inside == actor.members else target.name
        if inside not in (actor.members, target.members):
            name = f"{actor.name}-in-{target.name}"
        if inside and (others := target.members - inside):
            yield self.of(Part(name, inside)), self.of(Part(f"{target.name}-outside-{actor.name}", others))
        order = sorted(inside)
        for digit in range((len(order) - 1).bit_length()):
            halves = [frozenset(x for n, x in enumerate(order) if n >> digit & 1 == side) for side in (0, 1)]
            zero, one = (self.of(Part(f"{name}-digit-{digit}-{side}", halves[side]), group=True) for side in (0, 1))
            yield zero, one
            yield one, zero

    def carry(self, label: str, digits: Iterable[str]) -> None:
        """Put a label into these sets by digit, and into no other: as it was numbered among other labels than these."""
        for name in list(filter(is_digit, self.members)):
            self.members[name] -= {label}
        for name in digits:
            self.members[name] = self.members.get(name, frozenset()) | {label}


def is_digit(attribute: str) -> bool:
    """Whether an attribute has the labels whose number has a certain digit, of those in some set."""
    return _DIGIT.search(attribute) is not None


def may_be_digit(name: str) -> bool:
    """Whether an attribute that is named after this could be mistaken for one by digit."""
    return "_digit_" in identifier(name)


def membership(attributes: Mapping[str, frozenset[str]], label: str) -> list[str]:
    """The attributes that a label belongs to, sorted."""
    return sorted(name for name, members in attributes.items() if label in members)
