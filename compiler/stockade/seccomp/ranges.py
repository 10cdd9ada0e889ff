"""Cuts the line of system-call numbers under one architecture token into ranges that share one answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stockade.model.seccomp import Multiplexed, SyscallPolicy, SyscallRule, Verdict
from stockade.model.syscalls import CARRIES, X32_BIT, numbers
from stockade.seccomp.semantics import NO_CALL, as_seen, rules_by_call, strictest_answer, strictness, too_new

LAST = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers `low` to `high` (inclusive) get `verdict`, or what `rules` say where the arguments matter.

    `call` is the one call of the range, None where the numbers have none; `abi` the ABI they belong to.
    """

    low: int
    high: int
    verdict: Verdict
    rules: tuple[SyscallRule, ...] = ()
    call: str | None = None
    abi: str = ""


def number_line(policy: SyscallPolicy, archs: Sequence[str]) -> list[Range]:
    """Every number from 0 to 2^32-1 exactly once, in order.

    `archs` share one token: a single architecture, or x86_64 and x32, which lie one above the other on the line.
    """
    if set(archs) <= {"x86_64", "x32"}:
        line = _abi(policy, "x86_64", 0, X32_BIT - 1, "x86_64" in archs)
        line += _abi(policy, "x32", X32_BIT, NO_CALL - 1, "x32" in archs)
        return line + _abi(policy, "x86_64", NO_CALL, LAST, "x86_64" in archs)
    (arch,) = archs
    return _abi(policy, arch, 0, LAST, True)


def _abi(policy: SyscallPolicy, arch: str, low: int, high: int, listed: bool) -> list[Range]:
    if not listed:
        return [Range(low, high, policy.foreign, abi=arch)]
    rules, new = rules_by_call(policy), too_new(policy)
    carries = CARRIES.get(arch, {}) if policy.multiplexed is Multiplexed.GUARDED else {}
    line: list[Range] = []
    start = low
    for name, number in numbers(arch).items():
        if not low <= number <= high:
            continue
        if start < number:
            line.append(Range(start, number - 1, policy.unknown, abi=arch))
        if name in carries:
            answers = [strictest_answer(policy, rules.get(call, ())) for call in (name, *carries[name])]
            line.append(Range(number, number, max(answers, key=strictness), call=name, abi=arch))
        elif name in new:
            line.append(Range(number, number, policy.unknown, call=name, abi=arch))
        else:
            line.append(_known(name, number, as_seen(rules.get(name, ()), arch), policy.denied, arch))
        start = number + 1
    if start <= high:
        line.append(Range(start, high, policy.unknown, abi=arch))
    return line


def _known(name: str, number: int, rules: list[SyscallRule], denied: Verdict, arch: str) -> Range:
    """One call: without arguments where an unconditional rule is at least as strict as every other."""
    always = [rule.verdict for rule in rules if not rule.conditions]
    settled = max(always, key=strictness, default=denied)
    open_rules = [rule for rule in rules if rule.conditions and not (always and _covers(settled, rule.verdict))]
    return Range(number, number, settled, tuple(rules) if open_rules else (), name, arch)


def _covers(settled: Verdict, other: Verdict) -> bool:
    return strictness(settled) >= strictness(other)
