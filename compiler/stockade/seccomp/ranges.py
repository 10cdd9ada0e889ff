"""Cuts the line of system-call numbers of one architecture into ranges that share one answer."""

from __future__ import annotations

from dataclasses import dataclass

from stockade.model.seccomp import SyscallPolicy, SyscallRule, Verdict
from stockade.model.syscalls import NATIVE, X32_BIT, numbers
from stockade.seccomp.semantics import NO_CALL, strictness

LAST = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers `low` to `high` (inclusive) get `verdict`, or what `rules` say where the arguments matter."""

    low: int
    high: int
    verdict: Verdict
    rules: tuple[SyscallRule, ...] = ()
    calls: int = 0


def number_line(policy: SyscallPolicy, arch: str) -> list[Range]:
    """Every number from 0 to 2^32-1 exactly once, in order; `calls` counts the known calls in a range.

    ValueError where `arch` is not one that filters are compiled for.
    """
    if arch not in NATIVE:
        raise ValueError(f"{arch} is not an architecture that filters are compiled for: {', '.join(NATIVE)}")
    table = numbers(arch)
    rules: dict[str, list[SyscallRule]] = {}
    for rule in policy.rules:
        rules.setdefault(rule.call, []).append(rule)
    line: list[Range] = []
    for name, number in table.items():
        _gap(line, number, policy.unknown)
        line.append(_known(number, rules.get(name, []), policy.denied))
    if arch == "x86_64":
        _gap(line, X32_BIT, policy.unknown)
        line.append(Range(X32_BIT, NO_CALL - 1, policy.foreign))
    _gap(line, LAST + 1, policy.unknown)
    return line


def _gap(line: list[Range], until: int, verdict: Verdict) -> None:
    start = line[-1].high + 1 if line else 0
    if start < until:
        line.append(Range(start, until - 1, verdict))


def _known(number: int, rules: list[SyscallRule], denied: Verdict) -> Range:
    """One call: without arguments where an unconditional rule is at least as strict as every other."""
    always = [rule.verdict for rule in rules if not rule.conditions]
    settled = max(always, key=strictness, default=denied)
    open_rules = [rule for rule in rules if rule.conditions and not (always and _covers(settled, rule.verdict))]
    return Range(number, number, settled, tuple(rules) if open_rules else (), 1)


def _covers(settled: Verdict, other: Verdict) -> bool:
    return strictness(settled) >= strictness(other)
