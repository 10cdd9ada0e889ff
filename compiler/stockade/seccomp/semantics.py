"""The reference: what a system-call policy answers to one call. Written to be obviously right, not to be fast."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from stockade.model.seccomp import Action, Condition, Multiplexed, SyscallPolicy, SyscallRule, Verdict
from stockade.model.syscalls import (
    ARCHITECTURES,
    CARRIES,
    NAMES,
    NATIVE,
    X32_BIT,
    known_by,
    name_of,
    numbers,
)

Tests = TypeVar("Tests", bound=tuple[object, ...])

STRICTNESS = (
    Action.ALLOW,
    Action.LOG,
    Action.TRACE,
    Action.NOTIFY,
    Action.ERRNO,
    Action.TRAP,
    Action.KILL_THREAD,
    Action.KILL_PROCESS,
)
"""The kernel's own order: of several filters it obeys the strictest."""
WORD = 0xFFFFFFFF
NO_CALL = WORD
"""The number -1: no call ever has it, and the kernel and libseccomp do not count it as x32 though bit 30 is set."""


def strictness(verdict: Verdict) -> tuple[int, int, int]:
    """A key that grows with strictness; of two errnos or data the smaller is stricter, so order never matters."""
    return STRICTNESS.index(verdict.action), -verdict.errno, -verdict.data


def abi_of(arch: str, nr: int) -> str:
    """The ABI of call `nr`: numbers of x86_64 from 0x40000000 up are taken for x32, as libseccomp does."""
    if arch not in ("x86_64", "x32"):
        return arch
    return "x32" if nr >= X32_BIT and nr != NO_CALL else "x86_64"


def listed(archs: str | Sequence[str]) -> tuple[str, ...]:
    """The architectures as a tuple. ValueError for none, one twice, or one that the table does not have."""
    names = (archs,) if isinstance(archs, str) else tuple(archs)
    if not names or len(set(names)) != len(names) or not set(names) <= set(ARCHITECTURES):
        said = ", ".join(names) or "nothing"
        raise ValueError(f"{said}: expected one or more of {', '.join(ARCHITECTURES)}, each once")
    return names


def holds(condition: Condition, args: Sequence[int]) -> bool:
    """Whether the condition holds for the six 64-bit argument registers `args`."""
    value = args[condition.argument] & ((1 << condition.width) - 1)
    within = not condition.ranges or any(low <= value <= high for low, high in condition.ranges)
    return within and all(value & mask == wanted for mask, wanted in condition.masks)


class Reference:
    """A policy on one ABI, its rules indexed by number once so that many questions are cheap.

    `fixed` are the calls that get one answer whatever their rules say: newer ones than the policy's kernel that no rule
    names, and those of `stockade.model.syscalls.CARRIES` where the policy guards them.
    """

    def __init__(self, policy: SyscallPolicy, arch: str) -> None:
        self.policy, self.arch = policy, arch
        table, by_call = numbers(arch), rules_by_call(policy)
        self.rules = {table[call]: rules for call, rules in by_call.items() if call in table}
        self.word = (1 << ARCHITECTURES[arch].registers) - 1
        self.fixed = {table[call]: policy.unknown for call in too_new(policy) if call in table}
        if policy.multiplexed is Multiplexed.GUARDED:
            for call, carried in CARRIES.get(arch, {}).items():
                answers = [strictest_answer(policy, by_call.get(name, ())) for name in (call, *carried)]
                self.fixed[table[call]] = max(answers, key=strictness)

    def answers(self, nr: int | None) -> list[tuple[tuple[Condition, ...], Verdict]]:
        """All that the answer to the known call numbered `nr` depends on, beside its arguments."""
        if nr is None:
            return []
        if nr in self.fixed:
            return [((), self.fixed[nr])]
        return [(rule.conditions, rule.verdict) for rule in as_seen(self.rules.get(nr, ()), self.arch)]

    def decide(self, nr: int, args: Sequence[int]) -> Verdict:
        """The verdict on the call numbered `nr` (0 to 2^32-1) of this ABI with `args`, six values of 64 bits."""
        if name_of(self.arch, nr) is None:
            return self.policy.unknown
        if nr in self.fixed:
            return self.fixed[nr]
        args = [value & self.word for value in args]
        matching = [
            rule.verdict
            for rule in self.rules.get(nr, ())
            if all(holds(condition, args) for condition in rule.conditions)
        ]
        return max(matching, key=strictness, default=self.policy.denied)


def decide(
    policy: SyscallPolicy, arch: str, nr: int, args: Sequence[int], archs: str | Sequence[str] = NATIVE
) -> Verdict:
    """What `policy`, for `archs`, answers to the call `nr` made through `arch` with six 64-bit `args`.

    Calls of an ABI that is not among `archs` get the policy's `foreign`. KeyError: unknown `arch`.
    """
    abi = abi_of(ARCHITECTURES[arch].name, nr)
    return Reference(policy, abi).decide(nr, args) if abi in listed(archs) else policy.foreign


def rules_by_call(policy: SyscallPolicy) -> dict[str, list[SyscallRule]]:
    """The rules of each call that has any."""
    found: dict[str, list[SyscallRule]] = {}
    for rule in policy.rules:
        found.setdefault(rule.call, []).append(rule)
    return found


def as_seen(rules: Iterable[SyscallRule], arch: str) -> list[SyscallRule]:
    """The rules with their conditions as they read on an ABI that has arguments of 32 bits only; others as they are."""
    if ARCHITECTURES[arch].registers == 64:
        return list(rules)
    seen = []
    for rule in rules:
        conditions = [_low_half(condition) for condition in rule.conditions]
        if None not in conditions:
            kept = (condition for condition in conditions if condition and (condition.ranges or condition.masks))
            seen.append(replace(rule, conditions=tuple(kept)))
    return seen


def _low_half(condition: Condition) -> Condition | None:
    """The condition where the upper half is 0: None where it cannot hold, without tests where it always does."""
    ranges = tuple((low, min(high, WORD)) for low, high in condition.ranges if low <= WORD)
    if (condition.ranges and not ranges) or any(value > WORD for _, value in condition.masks):
        return None
    masks = tuple((mask & WORD, value) for mask, value in condition.masks if mask & WORD)
    return Condition(condition.argument, 32, () if ranges == ((0, WORD),) else ranges, masks)


def too_new(policy: SyscallPolicy) -> frozenset[str]:
    """The calls that are unknown to a policy because they are newer than its kernel and no rule names them.

    ValueError as from `stockade.model.syscalls.known_by`.
    """
    if policy.kernel is None:
        return frozenset()
    return NAMES - known_by(policy.kernel) - {rule.call for rule in policy.rules}


def settle(
    floor: Verdict, settled: bool, rules: Iterable[tuple[Tests, Verdict]]
) -> tuple[Verdict, bool, set[tuple[Tests, Verdict]]]:
    """What is left of a call's rules, each with the tests still open: (floor, settled, rules that can change it).

    `floor` is the answer where none of them holds; `settled` says that it is that of a rule which holds already, so
    that weaker ones no longer matter. Without it the floor is the answer to what no rule speaks of, and any rule
    replaces it.
    """
    rules = list(rules)
    for tests, verdict in rules:
        if not tests and (not settled or strictness(verdict) > strictness(floor)):
            floor, settled = verdict, True
    left = {
        (tests, verdict)
        for tests, verdict in rules
        if tests and (not settled or strictness(verdict) > strictness(floor))
    }
    return (floor, settled, left) if any(verdict != floor for _, verdict in left) else (floor, True, set())


def strictest_answer(policy: SyscallPolicy, rules: Iterable[SyscallRule]) -> Verdict:
    """The strictest that a call with these rules may get on some arguments."""
    rules = list(rules)
    verdicts = [rule.verdict for rule in rules]
    if all(rule.conditions for rule in rules):
        verdicts.append(policy.denied)
    return max(verdicts, key=strictness)
