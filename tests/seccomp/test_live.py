"""The running kernel: it accepts what we accept, refuses what we refuse, and answers as the policy does."""

from __future__ import annotations

import struct

import pytest
from stockade.model.seccomp import Action, Condition, Verdict
from stockade.model.syscalls import ARCHITECTURES, NAMES, NATIVE, numbers
from stockade.seccomp.cbpf import compile_filter
from stockade.seccomp.emulate import BadProgram, decode
from stockade.seccomp.weights import CostModel

from tests.seccomp.kernel import ARCH, EINVAL, SIGSYS, install, under
from tests.seccomp.policies import NAMESPACES, PERSONALITIES, policy, rule

assert ARCH in NATIVE, f"this machine is a {ARCH}, for which no filter is compiled"
NUMBERS = numbers(ARCH)
DENIED, UNKNOWN = 71, 72
CONDITIONAL = {
    "personality": (PERSONALITIES,),
    "clone": (Condition(0, 32, (), ((NAMESPACES, 0),)),),
    "socket": (Condition(0, 32, ((1, 2), (10, 10))), Condition(1, 32, (), ((0xF, 1),))),
    "lseek": (Condition(1, 64, ((5 << 32, (5 << 32) + 7),)),),
}
POLICY = policy(
    *(rule(name) for name in sorted(NAMES - set(CONDITIONAL) - {"unshare", "bpf"})),
    *(rule(name, *conditions) for name, conditions in CONDITIONAL.items()),
    denied=Verdict(Action.ERRNO, DENIED),
    unknown=Verdict(Action.ERRNO, UNKNOWN),
)
HIGH = 1 << 32


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("getpid", (), 0), ("unshare", (0,), DENIED), ("bpf", (0, 0, 0), DENIED),
        ("personality", (0xFFFFFFFF,), 0), ("personality", (0x7777,), DENIED), ("personality", (HIGH | 0xFFFFFFFF,), 0),
        ("socket", (1, 1, 0), 0), ("socket", (38, 1, 0), DENIED), ("socket", (1 | HIGH, 1, 0), 0),
        ("socket", (38 | HIGH, 1, 0), DENIED), ("socket", (2, 2, 0), DENIED), ("socket", (1, 1 | 0o2000000, 0), 0),
        ("clone", (0x10000000, 0, 0, 0, 0), DENIED), ("clone", (0x00020000, 0, 0, 0, 0), DENIED),
        ("lseek", (999, 5 << 32, 0), 9), ("lseek", (999, (5 << 32) + 7, 0), 9), ("lseek", (999, 5, 0), DENIED),
        ("lseek", (999, (5 << 32) + 8, 0), DENIED), ("lseek", (999, 4 << 32, 0), DENIED),
    ],
)  # fmt: skip
def test_the_kernel_answers_as_the_policy(name: str, args: tuple[int, ...], expected: int) -> None:
    assert under(compile_filter(POLICY, ARCH), [(NUMBERS[name], *args)]) == (0, [expected])


def test_numbers_nobody_knows() -> None:
    assert under(compile_filter(POLICY, ARCH), [(4000,), (0xFFFFFFFF,)]) == (0, [UNKNOWN, UNKNOWN])


def test_x32_ends_the_process() -> None:
    nr = 0x40000000 + NUMBERS["getpid"]
    expected = -SIGSYS if ARCH == "x86_64" else UNKNOWN
    assert under(compile_filter(POLICY, ARCH), [(NUMBERS["getpid"],), (nr,)]) == (0, [0, expected])


def test_a_program_of_another_architecture_ends_every_process() -> None:
    other = next(arch for arch in NATIVE if arch != ARCH)
    assert under(compile_filter(POLICY, other), [(NUMBERS["getpid"],)])[0] == -SIGSYS


ALONE = 38
"""ENOSYS: the kernel's answer where a filter asks for a tracer or a listener and there is none."""


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [(Verdict(Action.NOTIFY), ALONE), (Verdict(Action.TRACE, data=7), ALONE), (Verdict(Action.LOG), 0),
     (Verdict(Action.TRAP, data=9), -SIGSYS), (Verdict(Action.ERRNO, 4095), 4095)],
)  # fmt: skip
@pytest.mark.parametrize("model", CostModel)
def test_the_kernel_knows_every_action(verdict: Verdict, expected: int, model: CostModel) -> None:
    subject = policy(*(rule(name) for name in sorted(NAMES - {"getppid"})), rule("getppid", verdict=verdict))
    program = compile_filter(subject, tuple(ARCHITECTURES), model)
    nr = NUMBERS.get("getppid", 0)
    assert under(program, [(NUMBERS["getpid"],), (nr,)]) == (0, [0, expected])


LD, RET, JEQ, JA = 0x20, 0x06, 0x15, 0x05
ALLOW = (RET, 0, 0, 0x7FFF0000)
PROGRAMS = {
    "return": [ALLOW],
    "load": [(LD, 0, 0, 60), ALLOW],
    "load beyond": [(LD, 0, 0, 64), ALLOW],
    "load unaligned": [(LD, 0, 0, 2), ALLOW],
    "jump to the last": [(JEQ, 0, 0, 1), ALLOW],
    "jump beyond": [(JEQ, 1, 0, 1), ALLOW],
    "jump not taken beyond": [(JEQ, 0, 1, 1), ALLOW],
    "always to the last": [(JA, 0, 0, 0), ALLOW],
    "always beyond": [(JA, 0, 0, 1), ALLOW],
    "always backwards": [(JA, 0, 0, 0xFFFFFFFF), ALLOW],
    "no return": [(LD, 0, 0, 0)],
    "falls off": [ALLOW, (LD, 0, 0, 0)],
    "return A": [(0x00, 0, 0, 0x7FFF0000), (0x16, 0, 0, 0)],
    "return X": [(0x0E, 0, 0, 0)],
    "divide by zero": [(0x34, 0, 0, 0), ALLOW],
    "divide": [(0x34, 0, 0, 2), ALLOW],
    "modulo": [(0x94, 0, 0, 2), ALLOW],
    "exclusive or": [(0xA4, 0, 0, 2), ALLOW],
    "shift by 31": [(0x64, 0, 0, 31), ALLOW],
    "shift by 32": [(0x64, 0, 0, 32), ALLOW],
    "scratch 15": [(0x02, 0, 0, 15), (0x60, 0, 0, 15), ALLOW],
    "scratch 16": [(0x02, 0, 0, 16), ALLOW],
    "scratch unwritten": [(0x60, 0, 0, 3), ALLOW],
    "scratch written on one way": [(JEQ, 0, 1, 0), (0x02, 0, 0, 1), (0x60, 0, 0, 1), ALLOW],
    "scratch written on both ways": [
        (JEQ, 0, 2, 0), (0x02, 0, 0, 1), (JA, 0, 0, 1), (0x02, 0, 0, 1), (0x60, 0, 0, 1), ALLOW,
    ],
    "byte load": [(0x30, 0, 0, 0), ALLOW],
    "indirect load": [(0x40, 0, 0, 0), ALLOW],
    "length": [(0x80, 0, 0, 0), ALLOW],
    "length in X": [(0x81, 0, 0, 0), ALLOW],
    "header length": [(0xB1, 0, 0, 0), ALLOW],
    "compare with X": [(0x1D, 0, 0, 0), ALLOW],
    "unknown": [(0xFFFF, 0, 0, 0), ALLOW],
    "4096": [(LD, 0, 0, 0)] * 4095 + [ALLOW],
    "4097": [(LD, 0, 0, 0)] * 4096 + [ALLOW],
    "nothing": [],
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_we_refuse_what_the_kernel_refuses(name: str) -> None:
    program = b"".join(struct.pack("<HBBI", *fields) for fields in PROGRAMS[name])
    refused, _ = under(program, [])
    assert refused in (0, EINVAL)
    if refused:
        with pytest.raises(BadProgram):
            decode(program)
    else:
        assert len(decode(program)) == len(PROGRAMS[name])


def test_the_child_alone_is_filtered() -> None:
    assert install(b"") == EINVAL
    assert under(compile_filter(POLICY, ARCH), [(NUMBERS["unshare"], 0)])[1] == [DENIED]
    assert under(compile_filter(policy(*(rule(name) for name in NAMES)), ARCH), [(NUMBERS["unshare"], 0)])[1] == [0]
