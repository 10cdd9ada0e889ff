"""Several architectures in one program, calls whose arguments cannot be seen, and calls newer than a kernel."""

from __future__ import annotations

from dataclasses import replace

import pytest
from stockade.model.seccomp import ALLOWED, KILLED, Action, Condition, Multiplexed, SyscallPolicy, Verdict
from stockade.model.syscalls import (
    ARCHITECTURES,
    CARRIES,
    NAMES,
    NATIVE,
    X32_BIT,
    introduced,
    known_by,
    numbers,
    symbol_of,
)
from stockade.seccomp.cbpf import compile_filter
from stockade.seccomp.emulate import decode, run
from stockade.seccomp.explain import explain
from stockade.seccomp.narrow import wider
from stockade.seccomp.prove import Disagreement, prove_filter
from stockade.seccomp.semantics import STRICTNESS, decide
from stockade.seccomp.weights import HISTOGRAM, CostModel

from tests.seccomp.policies import ENOSYS, EPERM, TYPICAL, policy, rule

ALL = tuple(ARCHITECTURES)
LISTS = [("x86_64", "i386", "x32"), ("aarch64", "arm"), ("x32",), ("i386", "x86_64"), ALL]
NOTHING = [0] * 6


@pytest.mark.parametrize("archs", LISTS)
@pytest.mark.parametrize("model", CostModel)
def test_every_call_of_every_architecture(archs: tuple[str, ...], model: CostModel) -> None:
    program = compile_filter(TYPICAL, archs, model)
    prove_filter(TYPICAL, archs, program)
    code = decode(program)
    for arch in ARCHITECTURES:
        for nr in (*numbers(arch).values(), 5000, X32_BIT - 1, X32_BIT, X32_BIT + 600, 0xFFFFFFFE, 0xFFFFFFFF):
            for args in (NOTHING, [1 << 32, 1, 0, 0x1000, 0, 0], [0x10000000, 1, 0, 1 << 32 | 0x1000, 0, 0]):
                got, _ = run(code, ARCHITECTURES[arch].token, nr, args)
                assert got == decide(TYPICAL, arch, nr, args, archs), (arch, nr, args)


def test_a_program_for_fewer_architectures_is_another() -> None:
    for archs in LISTS[:2]:
        with pytest.raises(Disagreement, match="the policy says kill-process"):
            prove_filter(TYPICAL, archs[:-1], compile_filter(TYPICAL, archs))
        with pytest.raises(Disagreement, match="the filter kill-process"):
            prove_filter(TYPICAL, archs, compile_filter(TYPICAL, archs[:-1]))


def test_x32_costs_x86_64_no_test() -> None:
    """Its numbers are more ranges of the same tree: what the native calls pay stays within a quarter of a test."""
    token = ARCHITECTURES["x86_64"].token
    alone, both = (decode(compile_filter(TYPICAL, archs)) for archs in (("x86_64",), ("x86_64", "x32")))
    allowed = [numbers("x86_64")[item.call] for item in TYPICAL.rules if item.verdict == ALLOWED]
    cost = [sum(run(code, token, nr, NOTHING)[1] for nr in allowed) for code in (alone, both)]
    assert cost[1] <= cost[0] + len(allowed) / 4


def test_the_bitmap_model_is_quicker_where_arguments_decide() -> None:
    token = ARCHITECTURES["x86_64"].token
    looked_at = [numbers("x86_64")[item.call] for item in TYPICAL.rules if item.conditions]
    often, rarely = (compile_filter(TYPICAL, "x86_64", model) for model in CostModel)
    cost = [sum(run(code, token, nr, NOTHING)[1] for nr in looked_at) for code in (rarely, often)]
    assert cost[0] < cost[1]
    futex = numbers("x86_64")["futex"]
    assert max(HISTOGRAM, key=HISTOGRAM.__getitem__) == "futex"
    assert run(often, token, futex, NOTHING)[1] < run(rarely, token, futex, NOTHING)[1]


def test_upper_halves_of_32_bit_arguments_are_not_looked_at() -> None:
    subject = policy(
        rule("mprotect", Condition(2, 64, ((4, 5 << 32),))),
        rule("lseek", Condition(1, 64, ((1 << 32, 2 << 32),))),
        rule("read", Condition(1, 64, (), ((1 << 40 | 2, 1 << 40 | 2),))),
        rule("write", Condition(1, 64, (), ((1 << 40 | 2, 2),))),
    )
    for arch in ARCHITECTURES:
        prove_filter(subject, arch, compile_filter(subject, arch))
    junk = [1 << 40 | 2, 1 << 40 | 2, 1 << 40 | 2, 0, 0, 0]
    for name, expected in (("mprotect", EPERM), ("lseek", EPERM), ("read", EPERM), ("write", ALLOWED)):
        assert decide(subject, "i386", numbers("i386")[name], junk, ["i386"]) == expected
    assert decide(subject, "x32", numbers("x32")["read"], junk, ["x32"]) == ALLOWED


SOCKETS = [rule(call) for call in CARRIES["i386"]["socketcall"]]
NO_ALG = rule("socket", Condition(0, 32, ((38, 38),)), verdict=Verdict(Action.TRAP))


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (policy(*SOCKETS, rule("socketcall")), ALLOWED),
        (policy(*SOCKETS), EPERM),
        (policy(*SOCKETS[1:], rule("socketcall")), EPERM),
        (policy(*SOCKETS, rule("socketcall"), NO_ALG), Verdict(Action.TRAP)),
        (replace(policy(*SOCKETS, rule("socketcall"), NO_ALG), multiplexed=Multiplexed.AS_RULED), ALLOWED),
    ],
)
def test_socketcall_is_no_way_around_the_rules_for_sockets(subject: SyscallPolicy, expected: Verdict) -> None:
    nr = numbers("i386")["socketcall"]
    assert decide(subject, "i386", nr, NOTHING, ALL) == expected
    program = compile_filter(subject, ALL)
    prove_filter(subject, ALL, program)
    assert run(program, ARCHITECTURES["i386"].token, nr, NOTHING)[0] == expected
    (sentence,) = (said for said in explain(subject, ALL).unseen if said.startswith("socketcall on i386"))
    assert ("get around" in sentence) == (subject.multiplexed is Multiplexed.AS_RULED)
    assert explain(subject).unseen == ()


@pytest.mark.parametrize(
    "verdict", [Verdict(Action.NOTIFY), Verdict(Action.TRACE, data=0xFFFF), Verdict(Action.TRAP, data=3)]
)
def test_actions_that_carry_data(verdict: Verdict) -> None:
    subject = policy(rule("ptrace", verdict=verdict), rule("read", verdict=Verdict(Action.LOG)))
    program = compile_filter(subject, NATIVE)
    prove_filter(subject, NATIVE, program)
    token = ARCHITECTURES["x86_64"].token
    assert run(program, token, numbers("x86_64")["ptrace"], NOTHING)[0] == verdict
    other = replace(subject, rules=(rule("ptrace", verdict=Verdict(Action.TRACE, data=1)), *subject.rules[1:]))
    with pytest.raises(Disagreement, match="ptrace"):
        prove_filter(other, NATIVE, program)


def test_the_stricter_action_wins_in_the_kernels_order() -> None:
    """include/uapi/linux/seccomp.h: the lowest value as a signed number wins."""
    values = {
        Action.KILL_PROCESS: -0x80000000, Action.KILL_THREAD: 0, Action.TRAP: 0x30000, Action.ERRNO: 0x50000,
        Action.NOTIFY: 0x7FC00000, Action.TRACE: 0x7FF00000, Action.LOG: 0x7FFC0000, Action.ALLOW: 0x7FFF0000,
    }  # fmt: skip
    assert sorted(Action, key=values.__getitem__, reverse=True) == list(STRICTNESS)


def test_calls_newer_than_the_policys_kernel_are_unknown() -> None:
    subject = replace(policy(rule("statmount")), kernel="6.6")
    for name, expected in (("statmount", ALLOWED), ("mseal", ENOSYS), ("cachestat", EPERM), ("bpf", EPERM)):
        for arch in ARCHITECTURES:
            assert decide(subject, arch, numbers(arch)[name], NOTHING, ALL) == expected
    prove_filter(subject, ALL, compile_filter(subject, ALL))
    with pytest.raises(Disagreement, match="the policy says errno 1, the filter errno 38"):
        prove_filter(replace(subject, kernel=None), ALL, compile_filter(subject, ALL))
    assert "what Linux 6.6 does not have" in explain(subject).otherwise


def test_when_calls_came() -> None:
    assert introduced("read") == (None, "5.13")
    assert introduced("mseal") == ("6.7", "6.11")
    assert known_by("5.13") < known_by("6.6") < known_by("6.11.3-amd64") < known_by("7.2") == NAMES
    assert "futex_waitv" in known_by("5.16") and "futex_waitv" not in known_by("5.15")
    for kernel in ("", "6", "6.x", "v6.1", "5.10"):
        with pytest.raises(ValueError, match="kernel"):
            known_by(kernel)
    with pytest.raises(KeyError):
        introduced("opnat")


@pytest.mark.parametrize(
    ("call", "name", "value", "expected"),
    [("socket", "family", 38, "AF_ALG"), ("clone", "flags", 0x10020000, "CLONE_NEWNS|CLONE_NEWUSER"),
     ("kill", "sig", 9, "SIGKILL"), ("ioctl", "cmd", 0x5412, "TIOCSTI"), ("socket", "family", 100, None),
     ("read", "arg1", 3, None)],
)  # fmt: skip
def test_values_have_the_names_of_c(call: str, name: str, value: int, expected: str | None) -> None:
    assert symbol_of(call, name, value) == expected


def test_one_policy_is_wider_than_another_by_what_it_gives() -> None:
    some, none = policy(rule("ptrace", verdict=Verdict(Action.NOTIFY))), policy()
    full = policy(rule("ptrace"))
    assert wider(full, some, "x86_64") == wider(some, none, "x86_64") == "ptrace() on x86_64"
    assert wider(none, some, "x86_64") is wider(some, full, "x86_64") is None
    assert wider(replace(none, denied=ALLOWED), none, "x86_64")
    assert wider(replace(none, foreign=ALLOWED), replace(none, foreign=KILLED), "x86_64")
