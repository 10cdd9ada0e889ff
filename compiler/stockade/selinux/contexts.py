"""Security contexts of a kernel policy that has been read: taken apart, judged, written as the kernel writes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from stockade.selinux.policydb_values import Policydb

OBJECT_ROLE: Final = "object_r"


class UnknownContext(Exception):
    """A context, type, class or level that the policy does not have, or a part of policies that is not supported."""


class Level(NamedTuple):
    """The place of a sensitivity, and categories as bits."""

    sensitivity: int
    categories: int


class Context(NamedTuple):
    """A security context; both levels are empty in a policy without MLS."""

    user: str
    role: str
    type: str
    low: Level
    high: Level


def dominates(one: Level, two: Level) -> bool:
    """At least as sensitive, with at least the categories."""
    return one.sensitivity >= two.sensitivity and not two.categories & ~one.categories


class Contexts:
    """The contexts of one policy."""

    def __init__(self, policy: Policydb) -> None:
        self.policy = policy
        self.values = {name: value for value, name in policy.types.items()}
        self._role_types = {role.name: role.types for role in policy.roles.values()}
        self._places = {name: place for place, name in enumerate(policy.categories)}
        self._levels: dict[str, Level] = {}

    def context(self, text: str) -> Context:
        """`user:role:type[:low[-high]]` taken apart. UnknownContext for one that is not valid in the policy."""
        parts = text.split(":", 3)
        if len(parts) != (4 if self.policy.mls else 3):
            raise UnknownContext(f"context `{text}` has not {4 if self.policy.mls else 3} parts")
        low, _, high = parts[3].partition("-") if self.policy.mls else ("", "", "")
        first = self.level(low)
        found = Context(
            parts[0], parts[1], self.policy.aliases.get(parts[2], parts[2]), first, self.level(high) if high else first
        )
        if not self.valid(found):
            raise UnknownContext(f"context `{text}` is not valid in this policy")
        return found

    def valid(self, context: Context) -> bool:
        """Do user, role, type and range go together?"""
        value = self.values.get(context.type)
        if value is None or context.user not in self.policy.users or context.role not in self._role_types:
            return False
        if not dominates(context.high, context.low):
            return False
        if context.role == OBJECT_ROLE:
            return True
        user = self.policy.users[context.user]
        if context.role not in user.roles or not self._role_types[context.role] >> (value - 1) & 1:
            return False
        if not self.policy.mls:
            return True
        return dominates(context.low, self.level(user.low)) and dominates(self.level(user.high), context.high)

    def contexts(self, type_: str, low: Level, high: Level, process: bool) -> Iterator[Context]:
        """The valid contexts of a type at a range: as a process in every role, or as an object."""
        for user in sorted(self.policy.users):
            for role in sorted(self._role_types):
                if (role != OBJECT_ROLE) == process:
                    context = Context(user, role, type_, low, high)
                    if self.valid(context):
                        yield context

    def domains(self) -> frozenset[str]:
        """The types that processes have: those of any role but that of objects."""
        of_roles = 0
        for name, types in self._role_types.items():
            of_roles |= types if name != OBJECT_ROLE else 0
        return frozenset(name for value, name in self.policy.types.items() if of_roles >> (value - 1) & 1)

    def level(self, text: str) -> Level:
        """A level such as `s0:c1,c3.c5`. UnknownContext for one that the policy does not have."""
        if not self.policy.mls:
            return Level(0, 0)
        if text not in self._levels:
            self._levels[text] = self._level(text)
        return self._levels[text]

    def _level(self, text: str) -> Level:
        sensitivity, _, categories = text.partition(":")
        names, bits = self.policy.categories, 0
        try:
            allowed = self.policy.levels[sensitivity]
            for span in filter(None, categories.split(",")):
                first, _, last = span.partition(".")
                start, stop = self._places[first], self._places[last or first]
                if start > stop or not allowed.issuperset(names[start : stop + 1]):
                    raise KeyError(span)
                bits |= (1 << stop + 1) - (1 << start)
            return Level(self.policy.sensitivities.index(sensitivity), bits)
        except (ValueError, KeyError):
            raise UnknownContext(f"level `{text}` is not in this policy") from None

    def text(self, context: Context) -> str:
        """The context as the kernel writes it."""
        parts = [context.user, context.role, context.type]
        if self.policy.mls:
            low, high = (self._level_text(level) for level in (context.low, context.high))
            parts.append(low if low == high else f"{low}-{high}")
        return ":".join(parts)

    def _level_text(self, level: Level) -> str:
        spans = ",".join(self._spans(level.categories))
        return ":".join(filter(None, (self.policy.sensitivities[level.sensitivity], spans)))

    def _spans(self, bits: int) -> Iterator[str]:
        """Categories as the kernel writes them: two neighbours are listed, three or more are a span."""
        names, start = self.policy.categories, 0
        while rest := bits >> start:
            start += (rest & -rest).bit_length() - 1
            rest = bits >> start
            count = (~rest & rest + 1).bit_length() - 1
            first, last = names[start], names[start + count - 1]
            yield first if count == 1 else f"{first}{',' if count == 2 else '.'}{last}"
            start += count
