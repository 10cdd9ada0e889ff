"""The kernel's decisions, worked out from a kernel policy that has been read: access, and the labels of new things.

It shares nothing with libsepol, and tests hold the two against each other. It answers many questions at once, where
libsepol answers one at a time; and libsepol cannot say what label a new thing gets.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from stockade.selinux.conditions import condition
from stockade.selinux.constraints import Test, test_of
from stockade.selinux.contexts import OBJECT_ROLE, Context, Contexts, Level, UnknownContext
from stockade.selinux.policydb_values import Policydb

__all__ = ["OBJECT_ROLE", "Context", "Level", "Table", "UnknownContext"]

_Pair = tuple[str, str]
"""The type of a source and that of a target."""


class Table(Contexts):
    """Decisions by one policy, while the booleans have their defaults. UnknownContext for a policy with typebounds."""

    def __init__(self, policy: Policydb) -> None:
        if policy.bounded:
            raise UnknownContext(f"typebounds are not supported: {', '.join(sorted(policy.bounded))}")
        super().__init__(policy)
        enabled = [condition(postfix).holds(policy.booleans) for postfix in policy.conditions] + [True]
        self._rules: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        self._moves: dict[tuple[str, str], list[tuple[int, int, str]]] = defaultdict(list)
        for kind, source, target, tclass, data, number in policy.vectors:
            if not enabled[number] or isinstance(data, tuple):
                continue
            if kind == "allow":
                self._rules[source].append((target, tclass, data))
            elif kind == "type_transition":
                self._moves[policy.classes[tclass].name, ""].append((source, target, policy.types[data]))
        for name, source, target, tclass, result in policy.named_transitions:
            self._moves[policy.classes[tclass].name, name].append((source, target, policy.types[result]))
        self._ranges: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
        for source, target, tclass, text in policy.range_transitions:
            self._ranges[policy.classes[tclass].name].append((source, target, text))
        self._roles = {(role, target, tclass): result for role, target, tclass, result in policy.role_transitions}
        self._members: dict[int, list[str]] = defaultdict(list)
        for value, symbols in policy.member_of.items():
            for symbol in symbols:
                self._members[symbol].append(policy.types[value])
        self._constraints: dict[str, list[tuple[frozenset[str], int, Test]]] = defaultdict(list)
        self._validate: dict[str, list[Test]] = defaultdict(list)
        tests: dict[object, tuple[int, Test]] = {}
        for one in policy.constraints:
            if one.postfix not in tests:
                tests[one.postfix] = len(tests), test_of(one.postfix)
            number, test = tests[one.postfix]
            if one.validate:
                self._validate[one.tclass].append(test)
            else:
                self._constraints[one.tclass].append((one.permissions, number, test))
        self._classes = {one.name for one in policy.classes.values()}
        self._given: dict[str, dict[str, dict[str, frozenset[str]]]] = {}
        self._names: dict[tuple[int, int], frozenset[str]] = {}
        self._held: dict[tuple[int, Context, Context], bool] = {}
        self._becomes: dict[tuple[str, str], dict[_Pair, str]] = {}
        self._gets: dict[str, dict[_Pair, str]] = {}

    def given(self, source: str) -> Mapping[str, Mapping[str, frozenset[str]]]:
        """target type -> class -> permissions that rules give to `source`, before constraints."""
        if source not in self._given:
            masks: dict[tuple[int, int], int] = defaultdict(int)
            for symbol in self.policy.member_of[self.values[source]]:
                for target, tclass, data in self._rules.get(symbol, ()):
                    masks[target, tclass] |= data
            found: dict[str, dict[str, frozenset[str]]] = {}
            for (target, tclass), mask in masks.items():
                name, perms = self.policy.classes[tclass].name, self._permissions(tclass, mask)
                for one in self._members[target]:
                    vectors = found.setdefault(one, {})
                    vectors[name] = vectors[name] | perms if name in vectors else perms
            self._given[source] = found
        return self._given[source]

    def allowed(self, source: Context, target: Context, tclass: str) -> frozenset[str]:
        """The permissions left to `source` on a `tclass` labelled `target`; none on a class that the policy lacks."""
        perms = self.given(source.type).get(target.type, {}).get(tclass, frozenset())
        if not perms:
            return perms
        for concerned, number, test in self._constraints.get(tclass, ()):
            if concerned & perms:
                key = number, source, target
                if key not in self._held:
                    self._held[key] = test((source, target))
                if not self._held[key]:
                    perms -= concerned
        roles = source.role, target.role
        if tclass == "process" and roles[0] != roles[1] and roles not in self.policy.role_allow:
            perms -= {"transition", "dyntransition"}
        return perms

    def may_relabel(self, old: Context, new: Context, task: Context, tclass: str) -> bool:
        """Do validatetrans and mlsvalidatetrans let `task` change a `tclass` from label `old` to `new`?"""
        return all(test((old, new, task)) for test in self._validate.get(tclass, ()))

    def transitions(self, tclass: str, name: str = "") -> Mapping[_Pair, str]:
        """(source type, target type) -> the type that rules give a new `tclass`, of this last part of its path."""
        key = tclass, name
        if key not in self._becomes:
            self._becomes[key] = dict(self._expanded(self._moves.get(key, ())))
        return self._becomes[key]

    def transition(self, source: Context, target: Context, tclass: str, name: str = "") -> Context:
        """The label of a `tclass` that `source` makes in or from `target`; `name` is the last part of a new path.

        For `process`, the label after executing a file of label `target`. UnknownContext where the kernel refuses
        because the outcome is not a valid context.
        """
        policy, types = self.policy, (source.type, target.type)
        if tclass not in self._classes:
            raise UnknownContext(f"class `{tclass}` is not in this policy")
        # The kernel treats sockets like processes: they take after their maker. It goes by the name of the class.
        inherits = tclass == "process" or "socket" in tclass
        made = source if inherits else Context(source.user, OBJECT_ROLE, target.type, source.low, source.low)
        for field in ("user", "role", "type"):
            if chosen := policy.defaults.get((f"default_{field}", tclass)):
                made = made._replace(**{field: getattr(source if chosen == "source" else target, field)})
        plain = self.transitions(tclass).get(types, made.type)
        made = made._replace(
            role=self._roles.get((source.role, target.type, tclass), made.role),
            type=self.transitions(tclass, name).get(types, plain) if name else plain,
        )
        if tclass not in self._gets:
            self._gets[tclass] = dict(self._expanded(self._ranges.get(tclass, ())))
        if text := self._gets[tclass].get(types):
            low, _, high = text.partition("-")
            made = made._replace(low=self.level(low), high=self.level(high or low))
        elif default := policy.defaults.get(("default_range", tclass)):
            low_high = self._default_range(source, target, default)
            made = made._replace(low=low_high[0], high=low_high[1])
        if not self.valid(made):
            raise UnknownContext(f"context `{self.text(made)}`, of a new {tclass}, is not valid in this policy")
        return made

    def _default_range(self, source: Context, target: Context, default: str) -> tuple[Level, Level]:
        if default == "glblub":
            low = max(source.low.sensitivity, target.low.sensitivity)
            high = min(source.high.sensitivity, target.high.sensitivity)
            if low > high:
                raise UnknownContext(f"{self.text(source)} and {self.text(target)} have no range in common")
            return (
                Level(low, source.low.categories & target.low.categories),
                Level(high, source.high.categories & target.high.categories),
            )
        whose, part = default.split(" ")
        of = source if whose == "source" else target
        return {"low": (of.low, of.low), "high": (of.high, of.high), "low_high": (of.low, of.high)}[part]

    def _expanded(self, rules: Iterable[tuple[int, int, str]]) -> Iterator[tuple[_Pair, str]]:
        """Rules on types and attributes, for each pair of types."""
        for source, target, result in rules:
            for one in self._members[source]:
                for other in self._members[target]:
                    yield (one, other), result

    def _permissions(self, tclass: int, mask: int) -> frozenset[str]:
        if (tclass, mask) not in self._names:
            named = self.policy.classes[tclass].permissions
            self._names[tclass, mask] = frozenset(name for name, bit in named.items() if mask & bit)
        return self._names[tclass, mask]
