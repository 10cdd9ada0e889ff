"""Policies for tests: a plain one, and a hypothesis strategy for every other."""

from __future__ import annotations

from hypothesis import strategies as st
from stockade.model.position import Position
from stockade.model.seccomp import ALLOWED, KILLED, Action, Condition, Multiplexed, SyscallPolicy, SyscallRule, Verdict
from stockade.model.syscalls import NAMES

AT = Position("policy.yaml", 1, 1)
EPERM, EACCES, ENOSYS = (Verdict(Action.ERRNO, number) for number in (1, 13, 38))
NAMESPACES = 0x7E020000
EDGES = (0, 1, 2, 3, 8, 10, 0xFF, 0x20000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
WIDE_EDGES = (*EDGES, 1 << 32, (1 << 32) + 1, (5 << 32) + 7, (1 << 63), (1 << 64) - 1)
VERDICTS = (
    ALLOWED,
    EPERM,
    EACCES,
    ENOSYS,
    KILLED,
    Verdict(Action.LOG),
    Verdict(Action.TRAP),
    Verdict(Action.KILL_THREAD),
    Verdict(Action.TRAP, data=7),
    Verdict(Action.NOTIFY),
    Verdict(Action.TRACE, data=0x1234),
)


def rule(call: str, *conditions: Condition, verdict: Verdict = ALLOWED) -> SyscallRule:
    return SyscallRule(call, verdict, conditions, "a test wants it", AT)


def policy(*rules: SyscallRule, denied: Verdict = EPERM, unknown: Verdict = ENOSYS) -> SyscallPolicy:
    return SyscallPolicy(rules, denied, unknown)


PERSONALITIES = Condition(0, 32, tuple((k, k) for k in (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)))
TYPICAL = policy(
    *(rule(name) for name in ("read", "write", "openat", "close", "mmap", "exit_group", "futex", "execve", "brk")),
    rule("clone", Condition(0, 32, (), ((NAMESPACES, 0),))),
    rule("clone3", verdict=ENOSYS),
    rule("personality", PERSONALITIES),
    rule("socket", Condition(0, 32, ((1, 2), (10, 10))), Condition(1, 32, (), ((0xF, 1),))),
    rule("mount", Condition(3, 64, ((0x1000, 0x1000),))),
    rule("ioctl", verdict=EACCES),
    rule("mprotect", Condition(2, 64, ((0, 0x3FFFFFFFF),))),
)


@st.composite
def conditions(draw: st.DrawFn, argument: int, simple: bool) -> Condition:
    width = draw(st.sampled_from((32, 64)))
    limit = (1 << width) - 1
    value = st.sampled_from([edge for edge in (EDGES if width == 32 else WIDE_EDGES) if edge <= limit])
    if not simple:
        value |= st.integers(0, limit)
    cuts = sorted(draw(st.sets(value, min_size=0, max_size=2 if simple else 5)))
    ranges = tuple(zip(cuts[::2], [cut - 1 for cut in cuts[2::2]] + cuts[-1:], strict=False)) if cuts else ()
    bits = st.sets(st.integers(0, width - 1), min_size=1, max_size=2 if simple else 5)
    masks = []
    for places in draw(st.lists(bits, min_size=0 if ranges else 1, max_size=2)):
        mask = sum(1 << place for place in places)
        masks.append((mask, draw(st.sampled_from((0, mask, draw(value) & mask)))))
    return Condition(argument, width, ranges, tuple(masks))


@st.composite
def policies(draw: st.DrawFn, simple: bool = False) -> SyscallPolicy:
    """`simple` keeps the argument spaces to what an OCI profile can list in few parts."""
    names = sorted(NAMES)
    verdict = st.sampled_from(VERDICTS)
    rules = [rule(name, verdict=draw(verdict)) for name in draw(st.lists(st.sampled_from(names), max_size=20))]
    for name in draw(st.lists(st.sampled_from(("socket", "clone", "ioctl", "mount", "openat", *names)), max_size=4)):
        for _ in range(draw(st.integers(1, 2))):
            places = draw(st.lists(st.integers(0, 5), min_size=1, max_size=2 if simple else 3, unique=True))
            tests = [draw(conditions(place, simple)) for place in places]
            rules.append(rule(name, *tests, verdict=draw(verdict)))
    denied, unknown = (draw(verdict), ENOSYS) if simple else (draw(verdict), draw(verdict))
    foreign = draw(st.sampled_from((KILLED, Verdict(Action.KILL_THREAD))))
    kernel = draw(st.sampled_from((None, "6.1", "6.12")))
    return SyscallPolicy(tuple(rules), denied, unknown, foreign, draw(st.sampled_from(Multiplexed)), kernel)


def edges_of(subject: SyscallPolicy) -> list[int]:
    """Values at and next to every constant that a policy's conditions use."""
    constants = {0, (1 << 64) - 1}
    for item in subject.rules:
        for condition in item.conditions:
            constants |= {bound for pair in condition.ranges for bound in pair}
            constants |= {bound for mask, value in condition.masks for bound in (mask, value, mask ^ value)}
    near = {edge + step for edge in constants for step in (-1, 0, 1)} | {edge | 7 << 32 for edge in constants}
    return sorted(edge for edge in near if 0 <= edge < 1 << 64)
