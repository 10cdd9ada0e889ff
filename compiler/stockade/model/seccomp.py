"""What a system-call policy is: rules without order, conditions on arguments, and the answer to everything else."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from stockade.model.position import Position


class Action(StrEnum):
    """What the kernel does with a call; the strictest of all matching rules wins."""

    ALLOW = "allow"
    LOG = "log"
    ERRNO = "errno"
    TRAP = "trap"
    KILL_THREAD = "kill-thread"
    KILL_PROCESS = "kill-process"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An action and, for `ERRNO`, the error number the caller sees (1 to 4095; 0 for every other action)."""

    action: Action
    errno: int = 0


ALLOWED = Verdict(Action.ALLOW)
KILLED = Verdict(Action.KILL_PROCESS)


@dataclass(frozen=True, slots=True, order=True)
class Condition:
    """A test on one argument: it holds where the argument lies in one of `ranges` and passes every one of `masks`.

    `argument` is 0 to 5. `width` is 32 where the ABI type is a C int (the kernel ignores the upper half, so must the
    filter) and 64 otherwise. `ranges` are inclusive (low, high) pairs, sorted and disjoint; empty means any value.
    `masks` are (mask, value) pairs; each must satisfy `argument & mask == value`.
    """

    argument: int
    width: int
    ranges: tuple[tuple[int, int], ...] = ()
    masks: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class SyscallRule:
    """A verdict on one system call where all `conditions` hold; no conditions means always.

    Two conditions may not name the same argument: what can be said of one argument is said in one condition.
    """

    call: str
    verdict: Verdict
    conditions: tuple[Condition, ...]
    why: str
    at: Position


@dataclass(frozen=True, slots=True)
class SyscallPolicy:
    """Everything a filter is compiled from.

    Meaning, without regard to order: a call of a foreign architecture (x32 included) gets `foreign`; a number that the
    table does not know gets `unknown`; of the rules whose conditions hold, the one with the strictest verdict decides;
    where no rule holds the call gets `denied`.
    """

    rules: tuple[SyscallRule, ...]
    denied: Verdict
    unknown: Verdict
    foreign: Verdict = KILLED
