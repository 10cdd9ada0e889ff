"""Refuses system-call policies that do not mean one thing: unknown names, malformed conditions, impossible errnos."""

from __future__ import annotations

from collections.abc import Iterator

from stockade.model.position import Position
from stockade.model.seccomp import Action, Condition, SyscallPolicy, Verdict
from stockade.model.syscalls import NAMES, known_by

MAX_ERRNO, MAX_DATA = 4095, 0xFFFF


class PolicyError(ValueError):
    """A rule that cannot be given a meaning; `call` and `at` are None where the policy as a whole is at fault."""

    def __init__(self, call: str | None, why: str, at: Position | None) -> None:
        super().__init__(f"{at}: {call}: {why}" if call else why)
        self.call, self.why, self.at = call, why, at


def check_policy(policy: SyscallPolicy) -> None:
    """Raise PolicyError for the first thing that is wrong with `policy`."""
    for name, verdict in (("denied", policy.denied), ("unknown", policy.unknown), ("foreign", policy.foreign)):
        for problem in _verdict_problems(verdict):
            raise PolicyError(None, f"{name}: {problem}", None)
    try:
        if policy.kernel is not None:
            known_by(policy.kernel)
    except ValueError as error:
        raise PolicyError(None, str(error), None) from error
    for rule in policy.rules:
        if rule.call not in NAMES:
            raise PolicyError(rule.call, "is not a system call that the table knows", rule.at)
        for problem in _verdict_problems(rule.verdict):
            raise PolicyError(rule.call, problem, rule.at)
        if not rule.conditions:
            continue
        if len({condition.argument for condition in rule.conditions}) != len(rule.conditions):
            raise PolicyError(rule.call, "two conditions name the same argument", rule.at)
        for condition in rule.conditions:
            for problem in _condition_problems(condition):
                raise PolicyError(rule.call, f"argument {condition.argument}: {problem}", rule.at)


def _verdict_problems(verdict: Verdict) -> Iterator[str]:
    if verdict.action is Action.ERRNO:
        if not 1 <= verdict.errno <= MAX_ERRNO:
            yield f"errno {verdict.errno} is not between 1 and {MAX_ERRNO}"
    elif verdict.errno:
        yield f"{verdict.action} carries no errno, yet {verdict.errno} is given"
    if verdict.action in (Action.TRACE, Action.TRAP):
        if not 0 <= verdict.data <= MAX_DATA:
            yield f"data {verdict.data} is not between 0 and {MAX_DATA}"
    elif verdict.data:
        yield f"{verdict.action} carries no data, yet {verdict.data} is given"


def _condition_problems(condition: Condition) -> Iterator[str]:
    if not 0 <= condition.argument <= 5:
        yield "a call has arguments 0 to 5"
    if condition.width not in (32, 64):
        yield f"width {condition.width} is neither 32 nor 64"
        return
    if not condition.ranges and not condition.masks:
        yield "the condition tests nothing"
    limit = (1 << condition.width) - 1
    before = -1
    for low, high in condition.ranges:
        if not before < low <= high <= limit:
            yield f"range {low:#x}..{high:#x} is empty, out of order, overlapping or beyond {condition.width} bits"
        before = high
    for mask, value in condition.masks:
        if not 0 < mask <= limit:
            yield f"mask {mask:#x} is zero or beyond {condition.width} bits"
        elif value & ~mask:
            yield f"value {value:#x} has bits outside its mask {mask:#x}, so it never matches"
