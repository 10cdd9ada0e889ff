"""The kernel's decisions, worked out from a policy's plain values: access under constraints, labels of new things.

It shares nothing with libsepol, so that each can be held against the other; libsepol cannot answer the second question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from stockade.selinux.binary import Binary
from stockade.selinux.binary_values import Constraint, Default


class ContextError(ValueError):
    """A context that the policy does not have."""


@dataclass(frozen=True, slots=True)
class Level:
    """A sensitivity and categories, as their places in the policy's order."""

    sensitivity: int
    categories: frozenset[int]

    def dominates(self, other: Level) -> bool:
        """At least as sensitive, with at least the categories."""
        return self.sensitivity >= other.sensitivity and self.categories >= other.categories


@dataclass(frozen=True, slots=True)
class Context:
    """A security context taken apart; without MLS both levels are empty."""

    user: str
    role: str
    type: str
    low: Level
    high: Level


_NO_LEVEL: Final = Level(0, frozenset())
_RELATIONS: Final[dict[str, Callable[[Level, Level], bool]]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "dom": lambda a, b: a.dominates(b),
    "domby": lambda a, b: b.dominates(a),
    "incomp": lambda a, b: not a.dominates(b) and not b.dominates(a),
}


class Decider:
    """Decisions on one policy."""

    def __init__(self, binary: Binary) -> None:
        self.binary = binary
        self._sensitivities = {name: n for n, name in enumerate(binary.sensitivities)}
        self._categories = {name: n for n, name in enumerate(binary.categories)}
        self._companions = {name: {self._categories[c] for c in of} for name, of in binary.levels.items()}
        self._contexts: dict[str, Context] = {}
        self._constraints: dict[str, list[Constraint]] = {}
        for constraint in binary.constraints:
            self._constraints.setdefault(constraint.tclass, []).append(constraint)

    def context(self, text: str) -> Context:
        """`user:role:type[:low[-high]]` taken apart. Raises ContextError for one the policy does not have."""
        if text not in self._contexts:
            self._contexts[text] = self._parse(text)
        return self._contexts[text]

    def text(self, context: Context) -> str:
        """The context as the kernel writes it."""
        parts = [context.user, context.role, context.type]
        if self.binary.mls:
            low, high = self._level_text(context.low), self._level_text(context.high)
            parts.append(low if low == high else f"{low}-{high}")
        return ":".join(parts)

    def allowed(self, scon: str, tcon: str, tclass: str) -> frozenset[str]:
        """The permissions left to `scon` on a `tclass` labelled `tcon` by rules, constraints and role rules.

        Bounds of a parent type are not applied: a policy that has them is refused.
        """
        if self.binary.bounded:
            raise ContextError(f"typebounds are not supported: {', '.join(sorted(self.binary.bounded))}")
        if tclass not in self.binary.classes:
            raise ContextError(f"class {tclass!r} is not in this policy")
        source, target = self.context(scon), self.context(tcon)
        perms = self.binary.allow.get((source.type, target.type), {}).get(tclass, frozenset())
        for constraint in self.binary.constraints:
            if (
                constraint.tclass == tclass
                and constraint.perms & perms
                and not _holds(constraint.postfix, source, target)
            ):
                perms -= constraint.perms
        if source.role != target.role and (source.role, target.role) not in self.binary.role_allow:
            perms -= {"transition", "dyntransition"} if tclass == "process" else set()
        return perms

    def may_relabel(self, old: str, new: str, task: str, tclass: str) -> bool:
        """Do validatetrans and mlsvalidatetrans let `task` change a `tclass` from label `old` to `new`?"""
        contexts = self.context(old), self.context(new), self.context(task)
        return all(
            _holds(constraint.postfix, *contexts)
            for constraint in self._constraints.get(tclass, ())
            if constraint.kind.endswith("validatetrans")
        )

    def transition(self, scon: str, tcon: str, tclass: str, name: str = "") -> str:
        """The label of a `tclass` that `scon` makes in or from `tcon` (`name`: the last part of a new file's path).

        For `process`, the label after executing a file labelled `tcon`. Raises ContextError where the kernel refuses
        because the outcome is not a valid context.
        """
        binary, source, target = self.binary, self.context(scon), self.context(tcon)
        if tclass not in binary.classes:
            raise ContextError(f"class {tclass!r} is not in this policy")
        defaults = {d.kind: d for d in binary.defaults if d.tclass == tclass}
        # The kernel treats sockets like processes: they take after their maker. It goes by the name of the class.
        inherits = tclass == "process" or "socket" in tclass

        def default(kind: str, of_source: str, of_target: str, otherwise: str) -> str:
            chosen = defaults.get(kind)
            return otherwise if chosen is None else of_source if chosen.value == "source" else of_target

        user = default("default_user", source.user, target.user, source.user)
        role = default("default_role", source.role, target.role, source.role if inherits else "object_r")
        type_ = default("default_type", source.type, target.type, source.type if inherits else target.type)
        key = (source.type, target.type, tclass)
        rules = [r for r in binary.type_transitions if r.kind == "type_transition" and r[1:4] == key]
        named = [r.result for r in rules if r.name and r.name == name]
        plain = [r.result for r in rules if not r.name]
        type_ = (named or plain or [type_])[0]
        for rule in binary.role_transitions:
            if (rule.source, rule.target, rule.tclass) == (source.role, target.type, tclass):
                role = rule.result
        low, high = self._range(source, target, key, defaults.get("default_range"), inherits)
        return self.text(self.context(self.text(Context(user, role, type_, low, high))))

    def _range(
        self, source: Context, target: Context, key: tuple[str, str, str], default: Default | None, inherits: bool
    ) -> tuple[Level, Level]:
        for rule in self.binary.range_transitions:
            if rule[:3] == key:
                return self._level(rule.low), self._level(rule.high)
        if default is not None and default.value == "glblub":
            lowest = max(source.low.sensitivity, target.low.sensitivity)
            highest = min(source.high.sensitivity, target.high.sensitivity)
            if lowest > highest:
                raise ContextError(f"{self.text(source)} and {self.text(target)} have no range in common")
            return (
                Level(lowest, source.low.categories & target.low.categories),
                Level(highest, source.high.categories & target.high.categories),
            )
        if default is not None:
            of = source if default.value == "source" else target
            return {"low": (of.low, of.low), "high": (of.high, of.high), "low_high": (of.low, of.high)}[default.part]
        return (source.low, source.high) if inherits else (source.low, source.low)

    def _parse(self, text: str) -> Context:
        binary = self.binary
        parts = text.split(":", 3)
        if len(parts) != (4 if binary.mls else 3):
            raise ContextError(f"context {text!r} has not {4 if binary.mls else 3} parts")
        user, role, type_ = parts[0], parts[1], binary.aliases.get(parts[2], parts[2])
        if user not in binary.users or type_ not in binary.types or role not in binary.roles:
            raise ContextError(f"context {text!r} is not valid in this policy")
        if role != "object_r" and (role not in binary.users[user].roles or type_ not in binary.roles[role]):
            raise ContextError(f"context {text!r}: user, role and type do not go together")
        if not binary.mls:
            return Context(user, role, type_, _NO_LEVEL, _NO_LEVEL)
        first, dash, second = parts[3].partition("-")
        low = self._level(first)
        high = self._level(second) if dash else low
        limit = binary.users[user]
        if not high.dominates(low) or (
            role != "object_r"
            and not (low.dominates(self._level(limit.low)) and self._level(limit.high).dominates(high))
        ):
            raise ContextError(f"context {text!r}: the range is not one the user may have")
        return Context(user, role, type_, low, high)

    def _level(self, text: str) -> Level:
        sensitivity, _, categories = text.strip().partition(":")
        try:
            found: set[int] = set()
            for span in filter(None, categories.split(",")):
                first, _, last = span.partition(".")
                start, stop = self._categories[first], self._categories[last or first]
                if start > stop:
                    raise ContextError(f"level {text!r}: {span} runs backwards")
                found.update(range(start, stop + 1))
            if not found <= self._companions[sensitivity]:
                raise ContextError(f"level {text!r}: {sensitivity} does not go with all of these categories")
            return Level(self._sensitivities[sensitivity], frozenset(found))
        except KeyError as error:
            raise ContextError(f"level {text!r}: {error.args[0]!r} is not in this policy") from None

    def _level_text(self, level: Level) -> str:
        sensitivity = self.binary.sensitivities[level.sensitivity]
        return ":".join(filter(None, (sensitivity, ",".join(self._spans(sorted(level.categories))))))

    def _spans(self, numbers: list[int]) -> Iterator[str]:
        names, start = self.binary.categories, 0
        for n in range(1, len(numbers) + 1):
            if n == len(numbers) or numbers[n] != numbers[n - 1] + 1:
                first, last = names[numbers[start]], names[numbers[n - 1]]
                # As the kernel writes it: two neighbours are listed, three or more are a span.
                yield first if n - start == 1 else f"{first}{',' if n - start == 2 else '.'}{last}"
                start = n


def _holds(postfix: tuple[str | frozenset[str], ...], *contexts: Context) -> bool:
    """Evaluate a constraint. Contexts 1 and 2 are source and target, or old and new label; 3 is a relabelling task."""
    stack: list[bool] = []
    operands: list[str | frozenset[str]] = []
    for token in postfix:
        if isinstance(token, str) and token in _RELATIONS:
            right, left = operands.pop(), operands.pop()
            stack.append(_relation(token, left, right, contexts))
        elif token == "not":
            stack.append(not stack.pop())
        elif token in ("and", "or"):
            second, first = stack.pop(), stack.pop()
            stack.append(first and second if token == "and" else first or second)
        else:
            operands.append(token)
    (result,) = stack
    return result


def _relation(
    operator: str, left: str | frozenset[str], right: str | frozenset[str], contexts: tuple[Context, ...]
) -> bool:
    value = _operand(left, contexts)
    if isinstance(right, frozenset):
        if operator not in ("==", "!="):
            raise ContextError(f"a constraint compares a set by {operator}, which has no meaning")
        return (value in right) == (operator == "==")
    other = _operand(right, contexts)
    if isinstance(value, Level) and isinstance(other, Level):
        return _RELATIONS[operator](value, other)
    if operator not in ("==", "!="):
        raise ContextError(f"a constraint compares {left} and {right} by {operator}: role dominance is not supported")
    return (value == other) == (operator == "==")


def _operand(name: str | frozenset[str], contexts: tuple[Context, ...]) -> str | Level:
    part, number = str(name)[0], int(str(name)[1])
    found = contexts[number - 1]
    values: dict[str, str | Level] = {
        "u": found.user,
        "r": found.role,
        "t": found.type,
        "l": found.low,
        "h": found.high,
    }
    return values[part]
