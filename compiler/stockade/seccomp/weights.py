"""How often programs make each call, and what a call costs: the weights that put frequent calls near a tree's root."""

from __future__ import annotations

from enum import StrEnum

from stockade.model.seccomp import Action, Verdict

# Calls that a sandboxed PostgreSQL benchmark made of the kernel, counted by strace: published by E. Perot in
# "Optimizing seccomp usage in gVisor" (gvisor.dev/blog/2024/02/01/seccomp), the 25 rows that the article shows.
HISTOGRAM = {
    "futex": 870063, "nanosleep": 275649, "sendmmsg": 160201, "fstat": 115769, "ppoll": 69749, "fsync": 23131,
    "pwrite64": 14096, "epoll_pwait": 12266, "close": 1991, "tgkill": 1414, "rt_sigreturn": 1414, "getpid": 1413,
    "write": 1080, "read": 1056, "openat": 836, "madvise": 814, "pread64": 420, "sched_yield": 375, "fallocate": 267,
    "pwritev2": 71, "munmap": 52, "unlinkat": 19, "shutdown": 16, "getdents64": 12, "newfstatat": 10,
}  # fmt: skip
_TOTAL = sum(HISTOGRAM.values())
_SCALE = 1_000_000


class CostModel(StrEnum):
    """What the kernel runs a filter for, and so what its length costs."""

    PRE_5_11 = "pre-5.11"
    """Every call runs the filter; also on later kernels where they cannot remember (no CONFIG_SECCOMP_CACHE)."""
    BITMAP = "bitmap"
    """Linux 5.11 and later remember the calls that a filter allows whatever their arguments, and run it for the rest.
    Each call runs once when the filter is installed."""


_UNIFORM = _SCALE // 300
_IDLE = 20
_RARE_ABI = 64


def weight(call: str | None, verdict: Verdict, depends: bool, model: CostModel, compat: bool = False) -> int:
    """How much an instruction on the way to this call's answer costs, relative to the other calls of the program.

    `call` is None for numbers without one, `depends` says that arguments decide (then `verdict` is the answer where no
    rule holds), `compat` that the ABI is the less used one of two that share numbers (x32). Before Linux 5.11 half of
    the weight of what programs do is the published histogram's, half is spread evenly over the calls they may make.
    With the bitmap what the kernel remembers weighs next to nothing, and a denial, which programs avoid, little more.
    """
    given = verdict.action in (Action.ALLOW, Action.LOG)
    often = _SCALE * HISTOGRAM.get(call or "", 0) // _TOTAL
    if model is CostModel.BITMAP and (call is None or (verdict.action is Action.ALLOW and not depends)):
        found = _IDLE
    elif model is CostModel.BITMAP:
        found = 4 * _UNIFORM + often if depends or given else 4 * _IDLE
    else:
        found = _UNIFORM + often if call is not None and (given or depends) else _IDLE
    return max(found // _RARE_ABI, 1) if compat else found
