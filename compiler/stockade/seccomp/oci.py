"""Writes a policy as an OCI `linux.seccomp` object that runc, crun and libseccomp read the same way."""

from __future__ import annotations

import errno
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from stockade.model.position import Position
from stockade.model.seccomp import Action, SyscallPolicy, SyscallRule, Verdict
from stockade.model.syscalls import ARCHITECTURES, NATIVE, numbers
from stockade.seccomp.cubes import Comparison, Part, TooManyParts, parts
from stockade.seccomp.semantics import strictness
from stockade.seccomp.validate import check_policy

ACTIONS = {
    Action.ALLOW: "SCMP_ACT_ALLOW",
    Action.LOG: "SCMP_ACT_LOG",
    Action.ERRNO: "SCMP_ACT_ERRNO",
    Action.TRAP: "SCMP_ACT_TRAP",
    Action.KILL_THREAD: "SCMP_ACT_KILL_THREAD",
    Action.KILL_PROCESS: "SCMP_ACT_KILL_PROCESS",
}


class NotRepresentable(ValueError):
    """Something that an OCI profile cannot say so that every runtime means the same by it."""

    def __init__(self, call: str, why: str, position: Position | None) -> None:
        super().__init__(f"{position}: {call}: {why}" if position else f"{call}: {why}")
        self.call, self.why, self.position = call, why, position


def to_oci(policy: SyscallPolicy, archs: Sequence[str]) -> dict[str, Any]:
    """The profile for `archs` as plain JSON values, in a fixed order.

    The default answer is that for calls nobody knows; every known call that is denied is named. Where arguments
    decide, the parts of the argument space are disjoint and each is one rule with one condition an argument, since
    runc joins two conditions on the same argument by OR and libseccomp does not define which of two rules wins.
    NotRepresentable: see there. PolicyError as from `compile_filter`.
    """
    check_policy(policy)
    _refuse(policy, archs)
    rules: dict[str, list[SyscallRule]] = defaultdict(list)
    for rule in policy.rules:
        rules[rule.call].append(rule)
    alike: dict[tuple[Part, ...], list[str]] = defaultdict(list)
    for call in sorted(set().union(*(numbers(arch) for arch in archs))):
        said = tuple(part for part in _parts(call, rules.get(call, []), policy.denied) if part[1] != policy.unknown)
        alike[said].append(call)
    grouped = sorted(alike.items(), key=lambda item: (bool(item[0] and item[0][0][0]), item[1]))
    return {
        **_answer("defaultAction", "defaultErrnoRet", policy.unknown),
        "architectures": [ARCHITECTURES[arch].oci for arch in sorted(archs)],
        "syscalls": [_entry(names, *part) for said, names in grouped for part in sorted(said, key=_order)],
    }


def _order(part: Part) -> tuple[tuple[int, int], tuple[Comparison, ...]]:
    return strictness(part[1]), part[0]


def _refuse(policy: SyscallPolicy, archs: Sequence[str]) -> None:
    if not archs or any(arch not in NATIVE for arch in archs) or len(set(archs)) != len(archs):
        raise ValueError(f"{', '.join(archs) or 'nothing'}: expected one or more of {', '.join(NATIVE)}, each once")
    if policy.unknown != Verdict(Action.ERRNO, errno.ENOSYS):
        why = "runc answers ENOSYS to calls newer than the profile whatever it says, so nothing else can be promised"
        raise NotRepresentable("unknown", why, None)
    if policy.foreign.action not in (Action.KILL_PROCESS, Action.KILL_THREAD):
        raise NotRepresentable("foreign", "libseccomp kills the caller of a foreign architecture, always", None)


def _parts(call: str, rules: Iterable[SyscallRule], denied: Verdict) -> list[Part]:
    rules = list(rules)
    try:
        return parts(rules, denied)
    except TooManyParts as error:
        raise NotRepresentable(call, str(error), rules[0].at) from error


def _answer(action: str, number: str, verdict: Verdict) -> dict[str, Any]:
    said: dict[str, Any] = {action: ACTIONS[verdict.action]}
    return {**said, number: verdict.errno} if verdict.action is Action.ERRNO else said


def _entry(names: list[str], comparisons: tuple[Comparison, ...], verdict: Verdict) -> dict[str, Any]:
    entry = {"names": names, **_answer("action", "errnoRet", verdict)}
    if comparisons:
        entry["args"] = [_argument(comparison) for comparison in comparisons]
    return entry


def _argument(comparison: Comparison) -> dict[str, Any]:
    said = {"index": comparison.argument, "value": comparison.value, "op": f"SCMP_CMP_{comparison.op}"}
    return {**said, "valueTwo": comparison.other} if comparison.op == "MASKED_EQ" else said
