"""The reference: what a system-call policy answers to one call. Written to be obviously right, not to be fast."""

from __future__ import annotations

from collections.abc import Sequence

from stockade.model.seccomp import Action, Condition, SyscallPolicy, SyscallRule, Verdict
from stockade.model.syscalls import NATIVE, X32_BIT, name_of, numbers

STRICTNESS = (Action.ALLOW, Action.LOG, Action.ERRNO, Action.TRAP, Action.KILL_THREAD, Action.KILL_PROCESS)
NO_CALL = 0xFFFFFFFF
"""The number -1: no call ever has it, and the kernel and libseccomp do not count it as x32 though bit 30 is set."""


def strictness(verdict: Verdict) -> tuple[int, int]:
    """A key that grows with strictness; of two errnos the smaller is stricter, so order never matters."""
    return STRICTNESS.index(verdict.action), -verdict.errno


def is_foreign(arch: str, nr: int) -> bool:
    """Whether a call made through `arch` with number `nr` belongs to another ABI than the two natives."""
    return arch not in NATIVE or (arch == "x86_64" and nr >= X32_BIT and nr != NO_CALL)


def holds(condition: Condition, args: Sequence[int]) -> bool:
    """Whether the condition holds for the six 64-bit argument registers `args`."""
    value = args[condition.argument] & ((1 << condition.width) - 1)
    within = not condition.ranges or any(low <= value <= high for low, high in condition.ranges)
    return within and all(value & mask == wanted for mask, wanted in condition.masks)


class Reference:
    """A policy on one architecture, its rules indexed by number once so that many questions are cheap."""

    def __init__(self, policy: SyscallPolicy, arch: str) -> None:
        self.policy, self.arch = policy, arch
        self.rules: dict[int, list[SyscallRule]] = {}
        table = numbers(arch)
        for rule in policy.rules:
            if rule.call in table:
                self.rules.setdefault(table[rule.call], []).append(rule)

    def answers(self, nr: int | None) -> list[tuple[tuple[Condition, ...], Verdict]]:
        """All that the answer to the known call numbered `nr` depends on, beside its arguments."""
        return [] if nr is None else [(rule.conditions, rule.verdict) for rule in self.rules.get(nr, ())]

    def decide(self, nr: int, args: Sequence[int]) -> Verdict:
        """The verdict on the call numbered `nr` (0 to 2^32-1) with `args`, six values of 64 bits."""
        if is_foreign(self.arch, nr):
            return self.policy.foreign
        if name_of(self.arch, nr) is None:
            return self.policy.unknown
        matching = [
            rule.verdict
            for rule in self.rules.get(nr, ())
            if all(holds(condition, args) for condition in rule.conditions)
        ]
        return max(matching, key=strictness, default=self.policy.denied)


def decide(policy: SyscallPolicy, arch: str, nr: int, args: Sequence[int]) -> Verdict:
    """What `policy` answers to the call `nr` made through `arch` with six 64-bit `args`. KeyError: unknown `arch`."""
    return Reference(policy, arch).decide(nr, args)
