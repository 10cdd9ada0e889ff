"""Writes a policy as an OCI `linux.seccomp` object that runc, crun and libseccomp read the same way."""

from __future__ import annotations

import errno
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from stockade.model.position import Position
from stockade.model.seccomp import Action, SyscallPolicy, SyscallRule, Verdict
from stockade.model.syscalls import ARCHITECTURES, CARRIES, numbers
from stockade.seccomp.cubes import Comparison, Part, TooManyParts, parts
from stockade.seccomp.semantics import Reference, listed, rules_by_call, strictness
from stockade.seccomp.validate import check_policy

ACTIONS = {
    Action.ALLOW: "SCMP_ACT_ALLOW",
    Action.LOG: "SCMP_ACT_LOG",
    Action.TRACE: "SCMP_ACT_TRACE",
    Action.NOTIFY: "SCMP_ACT_NOTIFY",
    Action.ERRNO: "SCMP_ACT_ERRNO",
    Action.TRAP: "SCMP_ACT_TRAP",
    Action.KILL_THREAD: "SCMP_ACT_KILL_THREAD",
    Action.KILL_PROCESS: "SCMP_ACT_KILL_PROCESS",
}
COMPANIONS = ("socketcall", "ipc")
"""The calls for which libseccomp makes rules of its own, out of those for the calls that they carry."""
_NOWHERE = Position("", 1, 1)


class NotRepresentable(ValueError):
    """Something that an OCI profile cannot say so that every runtime means the same by it."""

    def __init__(self, call: str, why: str, position: Position | None) -> None:
        super().__init__(f"{position}: {call}: {why}" if position else f"{call}: {why}")
        self.call, self.why, self.position = call, why, position


def to_oci(policy: SyscallPolicy, archs: str | Sequence[str], listener: str | None = None) -> dict[str, Any]:
    """The profile for `archs` as plain JSON values, in a fixed order; `listener` is the path of a socket.

    The default answer is that for calls nobody knows; every known call that is denied is named. Where arguments
    decide, the parts of the argument space are disjoint and each is one rule with one condition an argument, since
    runc joins two conditions on the same argument by OR and libseccomp does not define which of two rules wins.
    A profile has one rule for a name on all its architectures: what two of them answer differently is not
    representable, and neither is `notify` without a listener. NotRepresentable: see there. PolicyError and
    ValueError as from `compile_filter`.
    """
    check_policy(policy)
    archs = listed(archs)
    _refuse(policy, listener)
    rules = rules_by_call(policy)
    references = {arch: Reference(policy, arch) for arch in archs}
    alike: dict[tuple[Part, ...], list[str]] = defaultdict(list)
    for call in sorted(set().union(*(numbers(arch) for arch in archs))):
        said = [part for part in _parts(call, rules.get(call, []), policy, references) if part[1] != policy.unknown]
        alike[tuple(said)].append(call)
    for arch in archs:
        _refuse_companions(policy, arch, alike)
    grouped = sorted(alike.items(), key=lambda item: (bool(item[0] and item[0][0][0]), item[1]))
    return {
        **answer("defaultAction", "defaultErrnoRet", policy.unknown),
        "architectures": [ARCHITECTURES[arch].oci for arch in sorted(archs)],
        **({} if listener is None else {"listenerPath": listener}),
        "syscalls": [_entry(names, *part) for said, names in grouped for part in sorted(said, key=_order)],
    }


def _order(part: Part) -> tuple[tuple[int, int, int], tuple[Comparison, ...]]:
    return strictness(part[1]), part[0]


def _refuse(policy: SyscallPolicy, listener: str | None) -> None:
    if policy.unknown != Verdict(Action.ERRNO, errno.ENOSYS):
        why = "runc answers ENOSYS to calls newer than the profile whatever it says, so nothing else can be promised"
        raise NotRepresentable("unknown", why, None)
    if policy.foreign.action not in (Action.KILL_PROCESS, Action.KILL_THREAD):
        raise NotRepresentable("foreign", "libseccomp kills the caller of a foreign architecture, always", None)
    for rule in (SyscallRule("denied", policy.denied, (), "", _NOWHERE), *policy.rules):
        position = None if rule.at is _NOWHERE else rule.at
        if rule.verdict.action is Action.TRAP and rule.verdict.data:
            raise NotRepresentable(rule.call, "a profile has no word for the data of a trap", position)
        if rule.verdict.action is Action.NOTIFY and listener is None:
            raise NotRepresentable(rule.call, "runtimes refuse `notify` without the socket of a listener", position)
        if rule.verdict.action is Action.NOTIFY and rule.call in ("write", "denied"):
            raise NotRepresentable(rule.call, "runc refuses `notify` for `write`, which it needs itself", position)


def _refuse_companions(policy: SyscallPolicy, arch: str, alike: Mapping[tuple[Part, ...], list[str]]) -> None:
    """Refuse where libseccomp would make rules for `socketcall` or `ipc` of those for the calls they carry."""
    said = {call: parts for parts, calls in alike.items() for call in calls}
    for name, carried in CARRIES.get(arch, {}).items():
        beside = [call for call in carried if call != name and said.get(call)]
        if name in COMPANIONS and beside and not any(not comparisons for comparisons, _ in said[name]):
            why = f"on {arch} runtimes would answer it by the rules for `{beside[0]}`, since it gets the default"
            raise NotRepresentable(name, why, None)


def _parts(
    call: str, rules: list[SyscallRule], policy: SyscallPolicy, references: Mapping[str, Reference]
) -> list[Part]:
    """The parts of a call's argument space, which are the same on every architecture that has the call."""
    having = {arch: numbers(arch)[call] for arch in references if call in numbers(arch)}
    fixed = {arch: references[arch].fixed.get(number) for arch, number in having.items()}
    free = _free_parts(call, rules, policy.denied) if None in fixed.values() else []
    said: dict[str, list[Part]] = {
        arch: free if verdict is None else [((), verdict)] for arch, verdict in fixed.items()
    }
    first = next(iter(said))
    for arch, found in said.items():
        if found != said[first]:
            raise NotRepresentable(call, f"{first} and {arch} answer it differently", rules[0].at if rules else None)
    return said[first]


def _free_parts(call: str, rules: list[SyscallRule], denied: Verdict) -> list[Part]:
    try:
        return parts(rules, denied)
    except TooManyParts as error:
        raise NotRepresentable(call, str(error), rules[0].at) from error


def answer(action: str, number: str, verdict: Verdict) -> dict[str, Any]:
    """A verdict as members of a profile with these two names; the second only where the verdict carries a number."""
    said: dict[str, Any] = {action: ACTIONS[verdict.action]}
    if verdict.action in (Action.ERRNO, Action.TRACE):
        said[number] = verdict.errno or verdict.data
    return said


def _entry(names: list[str], comparisons: tuple[Comparison, ...], verdict: Verdict) -> dict[str, Any]:
    entry = {"names": names, **answer("action", "errnoRet", verdict)}
    if comparisons:
        entry["args"] = [_argument(comparison) for comparison in comparisons]
    return entry


def _argument(comparison: Comparison) -> dict[str, Any]:
    said = {"index": comparison.argument, "value": comparison.value, "op": f"SCMP_CMP_{comparison.op}"}
    return {**said, "valueTwo": comparison.other} if comparison.op == "MASKED_EQ" else said
