"""Contexts that two policies both know, enough of them to tell the comparisons of a constraint apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, NamedTuple

from stockade.selinux.policydb import places
from stockade.selinux.policydb_values import Level, Policydb

Leaf = tuple[str, str, str | frozenset[str]]
_LEVELS: Final = frozenset({"l1", "l2", "h1", "h2"})
_KEPT: Final = 8
OBJECT_ROLE: Final = "object_r"


class Triple(NamedTuple):
    """User, role and type of a valid context."""

    user: str
    role: str
    type: str


@dataclass(frozen=True)
class Pattern:
    """One way in which comparisons can turn out, and contexts for which they do."""

    truth: Mapping[Leaf, bool]
    contexts: tuple[str, ...]


_Limit = tuple[str, str, str, str]
"""The lowest and highest level of a user in the old policy, then in the new one."""
_Ranges = tuple[tuple[Level, Level], tuple[Level, Level]]


class World:
    """The users, roles, types and levels of two policies that both have."""

    def __init__(self, old: Policydb, new: Policydb) -> None:
        self.mls = old.mls and new.mls
        self.users = {name: (old.users[name], new.users[name]) for name in sorted(old.users.keys() & new.users.keys())}
        roles = [{role.name: role for role in policy.roles.values()} for policy in (old, new)]
        types = {*old.types.values()} & {*new.types.values()}
        self.types = {OBJECT_ROLE: tuple(sorted(types))}
        self.dominates = {
            name: roles[0][name].dominates & roles[1][name].dominates for name in roles[0].keys() & roles[1].keys()
        }
        for name in sorted(self.dominates):
            if name != OBJECT_ROLE:
                both = [
                    {policy.types[n + 1] for n in places(table[name].types) if n + 1 in policy.types}
                    for policy, table in zip((old, new), roles, strict=True)
                ]
                self.types[name] = tuple(sorted(both[0] & both[1] & types))
        self.sensitivities = [s for s in old.sensitivities if s in new.sensitivities]
        self.categories = {
            s: [c for c in old.categories if c in old.levels[s] and c in new.levels[s]] for s in self.sensitivities
        }
        self._ranges: dict[_Limit | None, list[tuple[Level, Level]]] = {}
        self._bounds: dict[_Limit, list[tuple[Level, Level]]] = {}
        self._patterns: dict[tuple[object, ...], list[tuple[_Ranges, tuple[bool, ...]]]] = {}

    def patterns(self, leaves: Sequence[Leaf], count: int) -> Iterator[Pattern]:
        """Ways in which `leaves` turn out for `count` contexts, each way once.

        There may be more ways than these, where the policies have users, roles and types in odd combinations.
        """
        level_leaves = [leaf for leaf in leaves if leaf[0] in _LEVELS]
        plain = [leaf for leaf in leaves if leaf[0] not in _LEVELS]
        candidates = [self._triples(plain, place + 1) for place in range(count)]
        seen: set[tuple[object, ...]] = set()
        for triples in product(*candidates):
            truth = tuple(self._compare(leaf, triples) for leaf in plain)
            limits = tuple(self._limits(triple) for triple in triples)
            if (truth, limits) in seen:
                continue
            seen.add((truth, limits))
            for ranges, values in self._range_patterns(level_leaves, limits[:2]):
                third = [(low, low) for low, _ in (self._choices(limit)[0] for limit in limits[2:])]
                yield Pattern(
                    dict(zip([*plain, *level_leaves], (*truth, *values), strict=True)),
                    tuple(self._text(t, r) for t, r in zip(triples, (*ranges, *third), strict=True)),
                )

    def _triples(self, leaves: Sequence[Leaf], place: int) -> list[Triple]:
        """Some valid contexts for each way to be in the sets that are asked about, so that they differ and agree."""
        sets = {kind: [s for left, _, s in leaves if left[0] == kind and isinstance(s, frozenset)] for kind in "urt"}

        def kind_of(kind: str, name: str) -> tuple[bool, ...]:
            return tuple(name in one for one in sets[kind])

        classes: dict[str, dict[tuple[bool, ...], list[str]]] = {}
        for role, types in self.types.items():
            for name in types:
                some = classes.setdefault(role, {}).setdefault(kind_of("t", name), [])
                if len(some) < 2:
                    some.append(name)
        kept: dict[tuple[object, ...], list[Triple]] = defaultdict(list)
        for user, (old, new) in self.users.items():
            for role in sorted(((old.roles & new.roles) | {OBJECT_ROLE}) & self.types.keys()):
                for of_types, names in classes.get(role, {}).items():
                    limit = self._limits(Triple(user, role, ""))
                    key = (kind_of("u", user), kind_of("r", role), of_types, limit)
                    kept[key] += [Triple(user, role, name) for name in names][: _KEPT - len(kept[key])]
        return [triple for some in kept.values() for triple in some]

    def _compare(self, leaf: Leaf, triples: Sequence[Triple]) -> bool:
        left, operator, right = leaf
        value = triples[int(left[1]) - 1]["urt".index(left[0])]
        if isinstance(right, frozenset):
            return value in right
        other = triples[int(right[1]) - 1]["urt".index(right[0])]
        if operator == "==":
            return value == other
        over = other == value or other in self.dominates[value], value == other or value in self.dominates[other]
        return {"dom": over[0], "domby": over[1], "incomp": not any(over)}[operator]

    def _limits(self, triple: Triple) -> _Limit | None:
        """What bounds the levels of a context: its user's range in both policies, nothing for an object's role."""
        if triple.role == OBJECT_ROLE or not self.mls:
            return None
        old, new = self.users[triple.user]
        limit = old.low, old.high, new.low, new.high
        self._bounds[limit] = [user.bounds for user in (old, new) if user.bounds is not None]
        return limit

    def _choices(self, limit: _Limit | None) -> list[tuple[Level, Level]]:
        """Ranges within a user's: of up to three sensitivities, and four categories (two of each of several)."""
        if not self.mls:
            return [(Level("", ()), Level("", ()))]
        if limit not in self._ranges:
            chosen = self.sensitivities[:2] + self.sensitivities[2:][-1:]
            levels = []
            for s in chosen:
                some = self.categories[s][: 4 if len(chosen) == 1 else 2]
                for flags in product((False, True), repeat=len(some)):
                    levels.append(Level(s, tuple(c for c, on in zip(some, flags, strict=True) if on)))
            ranges = [(low, high) for low in levels for high in levels if self._dominates(high, low)]
            bounds = self._bounds[limit] if limit is not None else []
            self._ranges[limit] = [
                (low, high)
                for low, high in ranges
                if all(self._dominates(low, b[0]) and self._dominates(b[1], high) for b in bounds)
            ]
        return self._ranges[limit]

    def _range_patterns(
        self, leaves: Sequence[Leaf], limits: Sequence[_Limit | None]
    ) -> list[tuple[_Ranges, tuple[bool, ...]]]:
        key = (*leaves, *limits)
        if key in self._patterns:
            return self._patterns[key]
        choices = [self._choices(limit) for limit in limits]
        found: dict[tuple[bool, ...], _Ranges] = {}
        for first, second in product(*choices):
            values = {"l1": first[0], "h1": first[1], "l2": second[0], "h2": second[1]}
            truth = tuple(self._level(leaf, values) for leaf in leaves)
            if truth not in found:
                found[truth] = (first, second)
            if not leaves:
                break
        self._patterns[key] = [(ranges, truth) for truth, ranges in found.items()]
        return self._patterns[key]

    def _level(self, leaf: Leaf, values: Mapping[str, Level]) -> bool:
        one, two = values[leaf[0]], values[str(leaf[2])]
        over, under = self._dominates(one, two), self._dominates(two, one)
        return {"==": one == two, "dom": over, "domby": under, "incomp": not over and not under}[leaf[1]]

    def _dominates(self, one: Level, two: Level) -> bool:
        higher = self.sensitivities.index(one.sensitivity) >= self.sensitivities.index(two.sensitivity)
        return higher and set(one.categories) >= set(two.categories)

    def _text(self, triple: Triple, levels: tuple[Level, Level]) -> str:
        text = ":".join(triple)
        if not self.mls:
            return text
        low, high = (":".join(filter(None, (level.sensitivity, ",".join(level.categories)))) for level in levels)
        return f"{text}:{low}" if low == high else f"{text}:{low}-{high}"
