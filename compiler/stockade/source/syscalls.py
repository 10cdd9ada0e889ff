"""Builds a container type's system-call policy: groups, conditions on arguments, and the socket families."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from stockade.model.container import Sockets
from stockade.model.names import FAMILIES
from stockade.model.position import Position
from stockade.model.seccomp import ALLOWED, Action, Condition, SyscallPolicy, SyscallRule, Verdict
from stockade.model.syscalls import NAMES, argument, arguments_of, constant, constants_of
from stockade.source.diagnostics import Diagnostics
from stockade.source.units import ERRNO
from stockade.source.yaml import Map, Seq

_SOCKET_CALLS = ("socket", "socketpair")
_MAX_ERRNO = 4095


class SyscallBuilder:
    """Resolves the `syscalls` and `sockets` of container types against the policy's groups."""

    def __init__(self, groups: Mapping[str, tuple[str, ...]], report: Diagnostics) -> None:
        self.groups = groups
        self.report = report

    def build(self, body: Map | None, sockets: Sockets, why: str, at: Position) -> SyscallPolicy:
        """The policy of one type; `why` and `at` are the type's own, for what is allowed by name alone."""
        rules: dict[tuple[str, tuple[Condition, ...], Verdict], SyscallRule] = {}
        body = body if body is not None else Map(at)
        for call, place in self._allowed(body, at):
            rule = SyscallRule(call, ALLOWED, (), why, place)
            rules.setdefault((call, (), ALLOWED), rule)
        for key, action in (("allow-when", Action.ALLOW), ("deny", Action.ERRNO)):
            for entry, place in zip(body[key], body[key].items_at, strict=True) if key in body else ():
                for rule in self._conditional(entry, place, action):
                    rules[rule.call, rule.conditions, rule.verdict] = rule
        for rule in self._sockets(sockets):
            rules[rule.call, rule.conditions, rule.verdict] = rule
        return SyscallPolicy(
            rules=tuple(
                sorted(rules.values(), key=lambda r: (r.call, r.verdict.action, r.verdict.errno, r.conditions))
            ),
            denied=self._errno(body, "denied", "EPERM"),
            unknown=self._errno(body, "unknown", "ENOSYS"),
        )

    def calls(self, name: str, at: Position) -> Iterable[str]:
        """The calls that a name or an `@group` stands for; none (noted) when it stands for nothing."""
        if name.startswith("@"):
            if name[1:] in self.groups:
                return self.groups[name[1:]]
            self.report.unknown(at, "group of system calls", name, [f"@{group}" for group in self.groups])
        elif name in NAMES:
            return (name,)
        else:
            self.report.unknown(at, "system call", name, NAMES)
        return ()

    def _allowed(self, body: Map, at: Position) -> Iterable[tuple[str, Position]]:
        listed = body.get("allow", ())
        if listed == "all":
            yield from ((call, body.values_at["allow"]) for call in sorted(NAMES - set(_SOCKET_CALLS)))
            return
        assert isinstance(listed, Seq | tuple)
        places = listed.items_at if isinstance(listed, Seq) else []
        for name, place in zip(listed, places, strict=True):
            for call in self.calls(name, place):
                if call in _SOCKET_CALLS:
                    self.report.error(place, f"`{call}` is decided by `sockets`", "list the address families there")
                    continue
                yield call, place

    def _errno(self, body: Map, key: str, default: str) -> Verdict:
        name = body.get(key, default)
        if name not in ERRNO:
            self.report.unknown(body.values_at[key], "error number", name, ERRNO)
            return Verdict(Action.ERRNO, ERRNO[default])
        return Verdict(Action.ERRNO, ERRNO[name])

    def _conditional(self, entry: Map, at: Position, action: Action) -> Iterable[SyscallRule]:
        verdict = ALLOWED
        if action is Action.ERRNO:
            verdict = self._errno(entry, "errno", "EPERM")
        elif "errno" in entry:
            self.report.error(entry.keys_at["errno"], "`errno` belongs to `deny`")
        names, places = entry["call"], [entry.values_at["call"]]
        if isinstance(names, Seq):
            places = names.items_at
        for name, place in zip(names if isinstance(names, Seq) else [names], places, strict=True):
            for call in self.calls(name, place):
                if call in _SOCKET_CALLS and action is Action.ALLOW:
                    self.report.error(place, f"`{call}` is decided by `sockets`", "list the address families there")
                    continue
                conditions = tuple(sorted(self._conditions(call, entry), key=lambda c: c.argument))
                indices = [condition.argument for condition in conditions]
                if len(set(indices)) != len(indices):
                    self.report.error(at, f"two conditions on one argument of `{call}`")
                yield SyscallRule(call, verdict, conditions, entry["why"], at)

    def _conditions(self, call: str, entry: Map) -> Iterable[Condition]:
        for key, value in entry.items():
            if key in ("call", "errno", "why"):
                continue
            try:
                index, width = argument(call, key)
            except KeyError:
                known = [*arguments_of(call), *(f"arg{n}" for n in range(6))]
                self.report.unknown(entry.keys_at[key], f"argument of `{call}`", key, known)
                continue
            condition = self._condition(call, key, index, width, value, entry.values_at[key])
            if condition is not None:
                yield condition

    def _condition(self, call: str, key: str, index: int, width: int, value: Any, at: Position) -> Condition | None:
        top = (1 << width) - 1
        if isinstance(value, Map):
            form = next(iter(value))
            if form in ("none-of", "all-of"):
                flags = 0
                for number in self._numbers(call, key, width, value[form], value.values_at[form]):
                    flags |= number
                if flags == 0:
                    self.report.error(at, f"`{form}` names no bit of `{key}`")
                    return None
                return Condition(index, width, (), ((flags, 0 if form == "none-of" else flags),))
            if form == "not":
                numbers = sorted(set(self._numbers(call, key, width, value[form], value.values_at[form])))
                return Condition(index, width, _gaps(numbers, top)) if numbers else None
            if form == "from" or form == "to":
                low, high = value["from"], value["to"]
                if not 0 <= low <= high <= top:
                    self.report.error(at, f"{low} to {high} is no range of a {width}-bit argument")
                    return None
                return Condition(index, width, ((low, high),))
            mask, wanted = value["mask"], value["is"]
            if not (0 < mask <= top and 0 <= wanted <= top) or wanted & ~mask:
                self.report.error(
                    at, "no argument can have these bits: `is` must lie within `mask`, and both in the argument"
                )
                return None
            return Condition(index, width, (), ((mask, wanted),))
        numbers = sorted(set(self._numbers(call, key, width, value, at)))
        return Condition(index, width, _merged((n, n) for n in numbers)) if numbers else None

    def _numbers(self, call: str, key: str, width: int, value: Any, at: Position) -> Iterable[int]:
        places = value.items_at if isinstance(value, Seq) else [at]
        for item, place in zip(value if isinstance(value, Seq) else [value], places, strict=True):
            number = item
            if isinstance(item, str):
                try:
                    number = constant(call, key, item)
                except KeyError:
                    self.report.unknown(place, f"constant for `{key}` of `{call}`", item, constants_of(call, key))
                    continue
            if not 0 <= number < 1 << width:
                self.report.error(place, f"{item} does not fit the {width}-bit argument `{key}` of `{call}`")
                continue
            yield number

    def _sockets(self, sockets: Sockets) -> Iterable[SyscallRule]:
        if sockets.families == frozenset(FAMILIES):
            for call in _SOCKET_CALLS:
                yield SyscallRule(call, ALLOWED, (), sockets.why, sockets.at)
        elif sockets.families:
            numbers = sorted(FAMILIES[name][0] for name in sockets.families)
            index, width = argument("socket", "family")
            condition = Condition(index, width, _merged((n, n) for n in numbers))
            for call in _SOCKET_CALLS:
                yield SyscallRule(call, ALLOWED, (condition,), sockets.why, sockets.at)


def _merged(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Sorted ranges with touching ones joined."""
    result: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if result and low <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(high, result[-1][1]))
        else:
            result.append((low, high))
    return tuple(result)


def _gaps(numbers: list[int], top: int) -> tuple[tuple[int, int], ...]:
    """The ranges from 0 to `top` without these numbers."""
    edges = [-1, *numbers, top + 1]
    return tuple((low + 1, high - 1) for low, high in pairwise(edges) if low + 1 <= high - 1)
