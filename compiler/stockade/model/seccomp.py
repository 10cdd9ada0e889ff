"""What a system-call policy is: rules without order, conditions on arguments, and the answer to everything else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from stockade.model.position import Position


class Action(StrEnum):
    """What the kernel does with a call; the strictest of all matching rules wins."""

    ALLOW = "allow"
    LOG = "log"
    TRACE = "trace"
    NOTIFY = "notify"
    ERRNO = "errno"
    TRAP = "trap"
    KILL_THREAD = "kill-thread"
    KILL_PROCESS = "kill-process"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An action and what it carries.

    `errno` is the error number that the caller sees (1 to 4095) with `ERRNO`, `data` what the tracer reads (0 to 65535)
    with `TRACE`, or the handler of SIGSYS as `si_errno` with `TRAP`; both are 0 with every other action. Without a
    tracer or a listener the kernel answers ENOSYS for `TRACE` and `NOTIFY`.
    """

    action: Action
    errno: int = 0
    data: int = 0


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


class Multiplexed(StrEnum):
    """What becomes of a rule that a filter cannot apply, because the arguments lie in memory where it cannot look.

    The calls concerned are those of `stockade.model.syscalls.CARRIES`: `socketcall` and `ipc` of i386, which carry many
    calls, and its `mmap` and `select`, which take one pointer.
    """

    GUARDED = "guarded"
    """The call gets the strictest answer that any call it carries may get: what is denied stays denied."""
    AS_RULED = "as-ruled"
    """The call gets what its own rules say, as container runtimes have it: they can be used to get around others."""


@dataclass(frozen=True, slots=True)
class SyscallPolicy:
    """Everything a filter is compiled from.

    Meaning, without regard to order: a call of an architecture that the filter is not compiled for gets `foreign`; a
    number that the table does not know gets `unknown`; of the rules whose conditions hold, the one with the strictest
    verdict decides; where no rule holds the call gets `denied`. `multiplexed` says what calls get whose arguments
    cannot be seen. With `kernel` (such as "6.1") calls that no rule names and that are newer get `unknown` too; None
    is the kernel of the table.
    """

    rules: tuple[SyscallRule, ...]
    denied: Verdict
    unknown: Verdict
    foreign: Verdict = KILLED
    multiplexed: Multiplexed = Multiplexed.GUARDED
    kernel: str | None = None

    def logged(self, *, everything: bool = False) -> SyscallPolicy:
        """The same with every refusal written to the log and let pass; with `everything` what is allowed is logged too.

        What has no name here (another architecture, a number that is not known) keeps its answer: no runtime can be
        told to let it pass.
        """
        log = Verdict(Action.LOG)
        rules = tuple(
            rule if rule.verdict == ALLOWED and not everything else replace(rule, verdict=log) for rule in self.rules
        )
        return replace(self, rules=rules, denied=log)
