"""The type attributes that a compiled policy needs: one for every set that a rule, constraint or promise names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from stockade.model.host import Host, Labels, Part


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

    def of(self, part: Part) -> str:
        """The identifier of one term: `self`, a type, or an attribute."""
        if part.itself:
            return "self"
        name = identifier(part.name)
        if any(parent in part.members and label not in part.members for label, parent in self._narrowed):
            name = f"{name}_proper"
        if len(part.members) == 1 and name not in self._named:
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
                    yield from self._but_itself(actor, target)

    def _but_itself(self, actor: Part, target: Part) -> Iterator[tuple[str, str]]:
        """Pairs without those of a label with itself: those outside the target whole, those inside it one by one."""
        inside = actor.members & target.members
        outside = actor.members - inside
        if outside:
            name = f"{actor.name}-outside-{target.name}" if inside else actor.name
            yield self.of(Part(name, outside)), self.of(target)
        for subject in sorted(inside):
            if rest := target.members - {subject}:
                yield subject, self.of(Part(f"{target.name}-but-{subject}", rest))


def membership(attributes: Mapping[str, frozenset[str]], label: str) -> list[str]:
    """The attributes that a label belongs to, sorted."""
    return sorted(name for name, members in attributes.items() if label in members)
