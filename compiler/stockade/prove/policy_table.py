"""What contexts may do to each other by a kernel policy that has been read: rules, constraints and role rules applied.

It answers many questions at once, where libsepol answers one at a time; tests hold the two against each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final, NamedTuple

from stockade.prove.conditions import condition
from stockade.selinux.policydb_values import Policydb

OBJECT_ROLE: Final = "object_r"


class UnknownContext(Exception):
    """A context, type or level that the policy does not have."""


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


_Test = Callable[[tuple[Context, ...]], bool]


def dominates(one: Level, two: Level) -> bool:
    """At least as sensitive, with at least the categories."""
    return one.sensitivity >= two.sensitivity and not two.categories & ~one.categories


_RELATIONS: Final[dict[str, Callable[[Level, Level], bool]]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "dom": dominates,
    "domby": lambda a, b: dominates(b, a),
    "incomp": lambda a, b: not dominates(a, b) and not dominates(b, a),
}


class Table:
    """Access by one policy, while the booleans have their defaults."""

    def __init__(self, policy: Policydb) -> None:
        if policy.bounded:
            raise UnknownContext(f"typebounds are not supported: {', '.join(sorted(policy.bounded))}")
        self.policy = policy
        self.values = {name: value for value, name in policy.types.items()}
        enabled = [condition(postfix).holds(policy.booleans) for postfix in policy.conditions] + [True]
        self._rules: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        self.transitions: dict[tuple[str, str], str] = {}
        self._members: dict[int, list[str]] = defaultdict(list)
        for value, symbols in policy.member_of.items():
            for symbol in symbols:
                self._members[symbol].append(policy.types[value])
        for kind, source, target, tclass, data, number in policy.vectors:
            if not enabled[number] or isinstance(data, tuple):
                continue
            if kind == "allow":
                self._rules[source].append((target, tclass, data))
            elif kind == "type_transition" and policy.classes[tclass].name == "process":
                for one in self._members[source]:
                    for other in self._members[target]:
                        self.transitions[one, other] = policy.types[data]
        self._roles = {(r, t): result for r, t, tclass, result in policy.role_transitions if tclass == "process"}
        self._ranges: dict[tuple[str, str], tuple[Level, Level]] = {}
        for source, target, tclass, text in policy.range_transitions:
            if policy.classes[tclass].name == "process":
                low, _, high = text.partition("-")
                for one in self._members[source]:
                    for other in self._members[target]:
                        self._ranges[one, other] = self.level(low), self.level(high or low)
        self._given: dict[str, dict[str, dict[str, frozenset[str]]]] = {}
        self._names: dict[tuple[int, int], frozenset[str]] = {}
        self._constraints: dict[str, list[tuple[frozenset[str], int, _Test]]] = defaultdict(list)
        tests: dict[object, tuple[int, _Test]] = {}
        for constraint in policy.constraints:
            if not constraint.validate:
                number, test = tests.setdefault(constraint.postfix, (len(tests), self._test(constraint.postfix)))
                self._constraints[constraint.tclass].append((constraint.permissions, number, test))
        self._validate: dict[str, list[_Test]] = defaultdict(list)
        for constraint in policy.constraints:
            if constraint.validate:
                self._validate[constraint.tclass].append(self._test(constraint.postfix))
        self._held: dict[tuple[int, Context, Context], bool] = {}

    def domains(self) -> frozenset[str]:
        """The types that processes have: those of any role but that of objects."""
        found: set[str] = set()
        for role in self.policy.roles.values():
            if role.name != OBJECT_ROLE:
                found |= {name for value, name in self.policy.types.items() if role.types >> (value - 1) & 1}
        return frozenset(found)

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
        """The permissions left to `source` on a `tclass` labelled `target`."""
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

    def after(self, me: Context, program: str) -> Context:
        """The context of a process that executes a file of type `program`, by the rules on that."""
        if any(c == "process" for _, c in self.policy.defaults):
            raise UnknownContext("defaults for class process are not supported")
        role = self._roles.get((me.role, program), me.role)
        low, high = self._ranges.get((me.type, program), (me.low, me.high))
        return Context(me.user, role, self.transitions.get((me.type, program), me.type), low, high)

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
        policy = self.policy
        value = self.values.get(context.type)
        roles = {role.name: role for role in policy.roles.values()}
        if value is None or context.user not in policy.users or context.role not in roles:
            return False
        if not dominates(context.high, context.low):
            return False
        if context.role == OBJECT_ROLE:
            return True
        user = policy.users[context.user]
        if context.role not in user.roles or not roles[context.role].types >> (value - 1) & 1:
            return False
        if not policy.mls:
            return True
        return dominates(context.low, self.level(user.low)) and dominates(self.level(user.high), context.high)

    def contexts(self, type_: str, low: Level, high: Level, process: bool) -> Iterator[Context]:
        """The valid contexts of a type at a range: as a process in every role, or as an object."""
        for user in sorted(self.policy.users):
            for role in sorted(r.name for r in self.policy.roles.values()):
                if (role != OBJECT_ROLE) == process:
                    context = Context(user, role, type_, low, high)
                    if self.valid(context):
                        yield context

    def level(self, text: str) -> Level:
        """A level such as `s0:c1,c3.c5`. UnknownContext for one that the policy does not have."""
        if not self.policy.mls:
            return Level(0, 0)
        sensitivity, _, categories = text.partition(":")
        names, bits = self.policy.categories, 0
        try:
            for span in filter(None, categories.split(",")):
                first, _, last = span.partition(".")
                for number in range(names.index(first), names.index(last or first) + 1):
                    bits |= 1 << number
                    if names[number] not in self.policy.levels[sensitivity]:
                        raise KeyError(names[number])
            return Level(self.policy.sensitivities.index(sensitivity), bits)
        except (ValueError, KeyError):
            raise UnknownContext(f"level `{text}` is not in this policy") from None

    def text(self, context: Context) -> str:
        """The context as it is written; categories are listed one by one."""
        parts = [context.user, context.role, context.type]
        if self.policy.mls:
            low, high = (self._level_text(level) for level in (context.low, context.high))
            parts.append(low if low == high else f"{low}-{high}")
        return ":".join(parts)

    def _level_text(self, level: Level) -> str:
        if not level.categories:
            return self.policy.sensitivities[level.sensitivity]
        names = [name for n, name in enumerate(self.policy.categories) if level.categories >> n & 1]
        whole = (
            f"{names[0]}.{names[-1]}"
            if len(names) > 2
            and len(names) == level.categories.bit_length() - (level.categories & -level.categories).bit_length() + 1
            else ",".join(names)
        )
        return ":".join(filter(None, (self.policy.sensitivities[level.sensitivity], whole)))

    def _permissions(self, tclass: int, mask: int) -> frozenset[str]:
        if (tclass, mask) not in self._names:
            named = self.policy.classes[tclass].permissions
            self._names[tclass, mask] = frozenset(name for name, bit in named.items() if mask & bit)
        return self._names[tclass, mask]

    def _test(self, postfix: Collection[str | frozenset[str]]) -> _Test:
        stack: list[_Test] = []
        operands: list[str | frozenset[str]] = []
        for token in postfix:
            if isinstance(token, str) and token in _RELATIONS:
                right, left = operands.pop(), operands.pop()
                stack.append(self._comparison(str(left), token, right))
            elif token == "not":
                stack.append(_negated(stack.pop()))
            elif token in ("and", "or"):
                second, first = stack.pop(), stack.pop()
                stack.append(_joined(token == "and", first, second))
            else:
                operands.append(token)
        (result,) = stack
        return result

    def _comparison(self, left: str, operator: str, right: str | frozenset[str]) -> _Test:
        fields = {"u": 0, "r": 1, "t": 2, "l": 3, "h": 4}
        field, place = fields[left[0]], int(left[1]) - 1
        if isinstance(right, frozenset):
            return (
                (lambda c: c[place][field] in right) if operator == "==" else (lambda c: c[place][field] not in right)
            )
        other, at = fields[right[0]], int(right[1]) - 1
        if left[0] in "lh":
            relation = _RELATIONS[operator]
            return lambda c: relation(c[place][field], c[at][other])  # type: ignore[arg-type]
        if operator in ("==", "!="):
            return lambda c: (c[place][field] == c[at][other]) == (operator == "==")
        raise UnknownContext(f"a constraint compares {left} and {right} by {operator}: role dominance is not supported")


def _negated(test: _Test) -> _Test:
    return lambda contexts: not test(contexts)


def _joined(every: bool, one: _Test, two: _Test) -> _Test:
    if every:
        return lambda contexts: one(contexts) and two(contexts)
    return lambda contexts: one(contexts) or two(contexts)
