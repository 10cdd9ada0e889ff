"""The semantic difference of two kernel policies: what each decides that the other does not, widened or narrowed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from stockade.prove.changes import Access, Change, Effect
from stockade.prove.policy_parts import parts
from stockade.prove.relations import Changed, Fact, Label, Meaning, compare
from stockade.prove.witness import constraints
from stockade.selinux.conditions import ALWAYS, Condition, condition
from stockade.selinux.policydb import places, read
from stockade.selinux.policydb_format import PolicydbError
from stockade.selinux.policydb_values import Policydb

__all__ = ["Access", "Change", "Effect", "PolicyDiff", "diff"]

_RESULTS: Final = ("type_transition", "type_change", "type_member", "range_transition")
_ALL: Final = (1 << 256) - 1


@dataclass(frozen=True, slots=True)
class PolicyDiff:
    """What differs; everything sorted, and all empty when the two policies decide alike."""

    widened: tuple[Access, ...]
    narrowed: tuple[Access, ...]
    other: tuple[Change, ...]

    @property
    def same(self) -> bool:
        """Do both policies decide everything alike?"""
        return not (self.widened or self.narrowed or self.other)

    @property
    def widens(self) -> bool:
        """Is anything allowed now that was not, or might it be? What has no direction counts."""
        return bool(self.widened) or any(c.effect in (Effect.WIDENS, Effect.CHANGES) for c in self.other)

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "same": self.same,
            "widens": self.widens,
            "widened": [one.as_dict() for one in self.widened],
            "narrowed": [one.as_dict() for one in self.narrowed],
            "other": [one.as_dict() for one in self.other],
        }


def diff(old: bytes, new: bytes) -> PolicyDiff:
    """Compare two kernel policies on expanded types: attributes, and the order or form of rules, make no difference.

    PolicydbError when one cannot be read, ConditionError for a condition on more booleans than can be decided.
    """
    before = read(old)
    if old == new:
        return PolicyDiff((), (), ())
    return compare_policies(before, read(new))


def compare_policies(before: Policydb, after: Policydb) -> PolicyDiff:
    """`diff`, of policies that have been read."""
    names = _Names()
    facts = [(policy, list(names.facts(policy))) for policy in (before, after)]
    gained, lost = compare(facts[0], facts[1], list(names.meanings))
    other = [*parts(before, after), *constraints(before, after), *names.changes(before, after, gained, lost)]
    return PolicyDiff(
        tuple(names.access(c) for c in gained if c.label.kind == "allow"),
        tuple(names.access(c) for c in lost if c.label.kind == "allow"),
        tuple(sorted(other)),
    )


@dataclass(slots=True)
class _Names:
    """Numbers that both policies share for names of permissions and of results, since each file has its own."""

    bits: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)
    meanings: dict[Meaning, int] = field(default_factory=dict)

    def bit(self, table: tuple[str, str], name: str) -> int:
        """The bit of `name` in `table`, the same each time."""
        known = self.bits.setdefault(table, {})
        return 1 << known.setdefault(name, len(known))

    def spell(self, table: tuple[str, str], mask: int) -> tuple[str, ...]:
        """The names of a mask's bits, sorted."""
        names = list(self.bits[table])
        return tuple(sorted(names[place] for place in places(mask)))

    def facts(self, policy: Policydb) -> Iterator[Fact]:
        """All rules on types, in terms that are the same for both policies."""
        conditions = [*map(condition, policy.conditions), ALWAYS]
        known: dict[tuple[str, int, int | tuple[int, int, int], int], list[int]] = {}
        for kind, source, target, tclass, data, number in policy.vectors:
            key = kind, tclass, data, number
            meaning = known.get(key)
            if meaning is None:
                meaning = known[key] = [
                    self._number(label, mask, conditions[number])
                    for label, mask in self._meaning(policy, kind, tclass, data)
                ]
            for one in meaning:
                yield source, target, one
        for name, source, target, tclass, result in policy.named_transitions:
            label = Label("type_transition", policy.classes[tclass].name, name)
            mask = self.bit(("type_transition", ""), policy.types[result])
            yield source, target, self._number(label, mask, ALWAYS)
        for source, target, tclass, levels in policy.range_transitions:
            label = Label("range_transition", policy.classes[tclass].name)
            yield source, target, self._number(label, self.bit(("range_transition", ""), levels), ALWAYS)

    def _number(self, label: Label, mask: int, when: Condition) -> int:
        return self.meanings.setdefault(Meaning(label, mask, when), len(self.meanings))

    def _meaning(
        self, policy: Policydb, kind: str, tclass: int, data: int | tuple[int, int, int]
    ) -> Iterator[tuple[Label, int]]:
        of = policy.classes[tclass]
        if isinstance(data, tuple):
            form, driver, bits = data
            if form == 1:
                yield Label(kind, of.name, f"{driver:#04x}"), bits
            elif form == 2:
                for one in places(bits):
                    yield Label(kind, of.name, f"{one:#04x}"), _ALL
            else:
                raise PolicydbError(f"an extended rule of form {form}, of which only 1 and 2 (ioctl) are known")
        elif kind in _RESULTS:
            yield Label(kind, of.name), self.bit((kind, ""), policy.types[data])
        else:
            given = ~data if kind == "dontaudit" else data
            mask = 0
            for name, bit in of.permissions.items():
                if given & bit:
                    mask |= self.bit(("", of.name), name)
            if mask:
                yield Label(kind, of.name), mask

    def access(self, changed: Changed) -> Access:
        perms = self.spell(("", changed.label.tclass), changed.mask)
        return Access(changed.source, changed.target, changed.label.tclass, perms, str(changed.condition))

    def changes(
        self, before: Policydb, after: Policydb, gained: list[Changed], lost: list[Changed]
    ) -> Iterator[Change]:
        """Everything on pairs of types that is no grant: transitions, what is audited, rules on ioctl commands."""
        pairs: dict[tuple[str, str, Label, str], list[int]] = {}
        for side, found in enumerate((lost, gained)):
            for one in found:
                if one.label.kind != "allow":
                    key = one.source, one.target, one.label, str(one.condition)
                    pairs.setdefault(key, [0, 0])[side] = one.mask
        types = {*before.types.values()} & {*after.types.values()}
        for (source, target, label, when), (old, new) in pairs.items():
            kind, tclass, detail = label
            if kind.endswith("xperm"):
                table = None
                name = f"{source} {target}:{tclass} ioctl {detail}"
            else:
                table = (kind, "") if kind in _RESULTS else ("", tclass)
                name = " ".join(filter(None, (source, f"{target}:{tclass}", detail and f'"{detail}"')))
            texts = [(_commands(m) if table is None else " ".join(self.spell(table, m))) or None for m in (old, new)]
            effect = Effect.NEUTRAL
            if kind == "allowxperm" or (kind in _RESULTS and {source, target} <= types):
                effect = Effect.CHANGES
            yield Change(kind, f"{name} if {when}" if when else name, texts[0], texts[1], effect)


def _commands(mask: int) -> str:
    """Functions of an ioctl driver, as spans."""
    if mask == _ALL:
        return "all"
    found = places(mask)
    spans: list[list[int]] = []
    for one in found:
        if spans and spans[-1][1] == one - 1:
            spans[-1][1] = one
        else:
            spans.append([one, one])
    return " ".join(f"{a:#04x}" if a == b else f"{a:#04x}-{b:#04x}" for a, b in spans)
