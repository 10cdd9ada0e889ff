"""Builds a container type's system-call policy: groups, conditions on arguments, and the socket families."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from itertools import pairwise
from operator import or_
from typing import Any

from stockade.model.container import Sockets
from stockade.model.names import FAMILIES
from stockade.model.position import Position
from stockade.model.seccomp import ALLOWED, Action, Condition, SyscallPolicy, SyscallRule, Verdict
from stockade.model.syscalls import NAMES, argument, arguments_of, constant, constants_of, known_by
from stockade.source.diagnostics import Diagnostics
from stockade.source.units import ERRNO
from stockade.source.yaml import Map, Seq

ALLOWING = (Action.LOG,)
DENYING = (Action.TRACE, Action.NOTIFY, Action.TRAP, Action.KILL_THREAD, Action.KILL_PROCESS)
"""The actions that an entry of `allow-when`, and one of `deny`, may name."""

_SOCKET_CALLS = ("socket", "socketpair")
_NO_CONDITION = ("call", "errno", "action", "why")


class SyscallBuilder:
    """Resolves the `syscalls` and `sockets` of container types against the policy's groups."""

    def __init__(self, groups: Mapping[str, tuple[str, ...]], report: Diagnostics) -> None:
        self.groups = groups
        self.report = report
        self._built: dict[SyscallPolicy, SyscallPolicy] = {}
        self._inherited: dict[tuple[int, Sockets, str, Position], tuple[Map | None, SyscallPolicy]] = {}

    def build(self, body: Map | None, sockets: Sockets, why: str, at: Position) -> SyscallPolicy:
        """The policy of one type; `why` and `at` are the type's own, for what is allowed by name alone."""
        key = (id(body), sockets, why, at)  # a type that says nothing of its own here has the very body of its parent
        if key not in self._inherited:
            self._inherited[key] = body, self._policy(body, sockets, why, at)
        return self._inherited[key][1]

    def _policy(self, body: Map | None, sockets: Sockets, why: str, at: Position) -> SyscallPolicy:
        rules: dict[tuple[str, tuple[Condition, ...], Verdict], SyscallRule] = {}
        body = body if body is not None else Map(at)
        always = dict(self._allowed(body, at))
        for call, place in always.items():
            rules[call, (), ALLOWED] = SyscallRule(call, ALLOWED, (), why, place)
        for key, action in (("allow-when", Action.ALLOW), ("deny", Action.ERRNO)):
            for entry, place in zip(body[key], body[key].items_at, strict=True) if key in body else ():
                for rule in self._conditional(entry, place, action):
                    if rule.verdict == ALLOWED and rule.call in always:
                        message = f"`{rule.call}` is allowed without a condition, so this one says nothing"
                        self.report.error(entry.values_at["call"], message, f"it is allowed at {always[rule.call]}")
                    rules[rule.call, rule.conditions, rule.verdict] = rule
        for rule in self._sockets(sockets):
            rules[rule.call, rule.conditions, rule.verdict] = rule
        built = SyscallPolicy(
            rules=tuple(
                sorted(rules.values(), key=lambda r: (r.call, r.verdict.action, r.verdict.errno, r.conditions))
            ),
            denied=self._errno(body, "denied", "EPERM"),
            unknown=self._errno(body, "unknown", "ENOSYS"),
            kernel=self._kernel(body),
        )
        # Types that narrow another in other layers alone share one policy: what follows from it is done once.
        return self._built.setdefault(built, built)

    def listener(self, body: Map, policy: SyscallPolicy) -> str | None:
        """The socket of whoever answers for the kernel; noted where there is one without need, or need without one."""
        path: str | None = body.get("listener")
        asked = [rule for rule in policy.rules if rule.verdict.action is Action.NOTIFY]
        if path is None and asked:
            hint = "`listener` names the socket at which the runtime hands the questions over"
            self.report.error(asked[0].at, "`notify` asks a listener, and the type has none", hint)
        if path is not None and not asked:
            self.report.error(
                body.values_at["listener"], "no entry has the action `notify`: the listener hears nothing"
            )
        return path

    def _kernel(self, body: Map) -> str | None:
        kernel: str | None = body.get("kernel")
        try:
            if kernel is not None:
                known_by(kernel)
        except ValueError as error:
            self.report.error(body.values_at["kernel"], str(error))
            return None
        return kernel

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
        verdict = self._verdict(entry, action)
        if verdict == ALLOWED and entry.keys() <= set(_NO_CONDITION):
            self.report.error(at, "a condition is missing", "what is allowed without one is listed under `allow`")
            return
        names, places = entry["call"], [entry.values_at["call"]]
        if isinstance(names, Seq):
            places = names.items_at
        for name, place in zip(names if isinstance(names, Seq) else [names], places, strict=True):
            for call in self.calls(name, place):
                if call in _SOCKET_CALLS and action is Action.ALLOW:
                    self.report.error(place, f"`{call}` is decided by `sockets`", "list the address families there")
                    continue
                conditions = self._conditions(call, entry, at)
                if conditions is not None:
                    yield SyscallRule(call, verdict, conditions, entry["why"], at)

    def _verdict(self, entry: Map, action: Action) -> Verdict:
        """What becomes of the calls of an entry of `allow-when` or `deny`; a wrong word is noted."""
        said = entry.get("action")
        known = ALLOWING if action is Action.ALLOW else DENYING
        if said is not None and said not in known:
            self.report.unknown(entry.values_at["action"], "action of such an entry", said, known)
        if "errno" in entry and (action is Action.ALLOW or said is not None):
            belongs = "`deny`" if action is Action.ALLOW else "an entry without `action`"
            self.report.error(entry.keys_at["errno"], f"`errno` belongs to {belongs}")
        elif said is not None and said in known:
            return Verdict(Action(said))
        elif action is Action.ERRNO:
            return self._errno(entry, "errno", "EPERM")
        return ALLOWED if action is Action.ALLOW else Verdict(Action.ERRNO, ERRNO["EPERM"])

    def _conditions(self, call: str, entry: Map, at: Position) -> tuple[Condition, ...] | None:
        """The conditions of a rule; None (noted) when one of them is wrong, since without it the rule says more."""
        found: dict[int, Condition] = {}
        whole = True
        for key, value in entry.items():
            if key in _NO_CONDITION:
                continue
            condition = self._condition(call, key, value, entry)
            if condition is None:
                whole = False
            elif condition.argument in found:
                self.report.error(entry.keys_at[key], f"two conditions on one argument of `{call}`")
            else:
                found[condition.argument] = condition
        return tuple(found[index] for index in sorted(found)) if whole else None

    def argument(self, call: str, key: str, at: Position) -> tuple[int, int] | None:
        """(index, width) of an argument, or None (noted); `arg0` has the width of the named argument that it is."""
        try:
            index, width = argument(call, key)
        except KeyError:
            known = [*arguments_of(call), *(f"arg{n}" for n in range(6))]
            self.report.unknown(at, "argument", key, known, f"`{call}`")
            return None
        named = (argument(call, other) for other in arguments_of(call))
        return index, min([width, *(narrow for place, narrow in named if place == index)])

    def number(self, call: str, key: str, width: int, value: Any, at: Position) -> int | None:
        """A number, or the value of a constant of this argument; None (noted) where it is unknown or does not fit."""
        number = value
        if isinstance(value, str):
            if not constants_of(call, key):
                self.report.error(at, f"`{key}` of `{call}` has no constants by name; write a number")
                return None
            try:
                number = constant(call, key, value)
            except KeyError:
                self.report.unknown(at, "constant", value, constants_of(call, key), f"`{key}` of `{call}`")
                return None
        if not 0 <= number < 1 << width:
            self.report.error(at, f"{value} does not fit the {width}-bit argument `{key}` of `{call}`")
            return None
        return int(number)

    def _condition(self, call: str, key: str, value: Any, entry: Map) -> Condition | None:
        at = entry.values_at[key]
        known = self.argument(call, key, entry.keys_at[key])
        if known is None:
            return None
        index, width = known
        top = (1 << width) - 1
        if not isinstance(value, Map):
            numbers = self._numbers(call, key, width, value, at)
            return None if numbers is None else Condition(index, width, _merged((n, n) for n in numbers))
        if "from" in value:
            low, high = value["from"], value["to"]
            if not 0 <= low <= high <= top:
                self.report.error(at, f"{low} to {high} is no range of a {width}-bit argument")
                return None
            return Condition(index, width, ((low, high),))
        if "mask" in value:
            mask, wanted = value["mask"], value["is"]
            if not (0 < mask <= top and 0 <= wanted <= top) or wanted & ~mask:
                message = "no argument can have these bits: `is` must lie within `mask`, and both in the argument"
                self.report.error(at, message)
                return None
            return Condition(index, width, (), ((mask, wanted),))
        ((form, listed),) = value.items()
        numbers = self._numbers(call, key, width, listed, value.values_at[form])
        if numbers is None:
            return None
        if form == "not":
            return Condition(index, width, _gaps(sorted(numbers), top))
        if 0 in numbers:
            self.report.error(at, f"`{form}` tests bits, and 0 has none")
            return None
        flags = reduce(or_, numbers)
        return Condition(index, width, (), ((flags, 0 if form == "none-of" else flags),))

    def _numbers(self, call: str, key: str, width: int, value: Any, at: Position) -> set[int] | None:
        """The numbers that are listed; None when one of them is wrong: no condition is built of the rest."""
        listed = zip(value, value.items_at, strict=True) if isinstance(value, Seq) else [(value, at)]
        numbers = [self.number(call, key, width, item, place) for item, place in listed]
        return None if None in numbers else {number for number in numbers if number is not None}

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
