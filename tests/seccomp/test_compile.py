"""Policy to filter: compiled, proven, and asked again at random points."""

from __future__ import annotations

import importlib.util
import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from stockade.model.seccomp import ALLOWED, Action, Condition, SyscallPolicy, Verdict
from stockade.model.syscalls import ARCHITECTURES, NAMES, NATIVE, X32_BIT, numbers
from stockade.seccomp.cbpf import compile_filter
from stockade.seccomp.emulate import decode, run, run_words
from stockade.seccomp.prove import prove_filter
from stockade.seccomp.ranges import number_line
from stockade.seccomp.regions import least
from stockade.seccomp.semantics import NO_CALL, decide
from stockade.seccomp.symbolic import paths
from stockade.seccomp.tree import FilterTooLong
from stockade.seccomp.validate import PolicyError
from stockade.seccomp.weights import CostModel

from tests.seccomp.policies import ENOSYS, EPERM, NAMESPACES, TYPICAL, edges_of, policies, policy, rule

ROOT = Path(__file__).resolve().parents[2]
QUIET = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


ARCHS = [*((arch,) for arch in NATIVE), *((arch,) for arch in ARCHITECTURES), ("x86_64", "x32"), ("i386", "arm")]


@settings(QUIET, max_examples=200)
@given(policies(), st.sampled_from(ARCHS), st.sampled_from(CostModel), st.integers(0, 1 << 32))
def test_random_policies_are_compiled_exactly(
    subject: SyscallPolicy, archs: tuple[str, ...], model: CostModel, seed: int
) -> None:
    try:
        program = compile_filter(subject, archs, model)
    except FilterTooLong:
        assume(False)
    prove_filter(subject, archs, program)
    draw = random.Random(seed)
    edges = edges_of(subject)
    for arch in archs:
        table = numbers(arch)
        interesting = [table[item.call] for item in subject.rules if item.call in table]
        for _ in range(20):
            nr = draw.choice([*interesting, draw.randrange(500), draw.getrandbits(32)])
            args = [draw.choice(edges) if draw.random() < 0.8 else draw.getrandbits(64) for _ in range(6)]
            got, _ = run(program, ARCHITECTURES[arch].token, nr, args)
            assert got == decide(subject, arch, nr, args, archs)


@pytest.mark.parametrize("first", range(1, 501, 50))
def test_the_fuzzers_first_policies_agree(first: int) -> None:
    spec = importlib.util.spec_from_file_location("fuzz_seccomp", ROOT / "bench/fuzz_seccomp.py")
    assert spec and spec.loader
    fuzzer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fuzzer)
    outcomes = [fuzzer.attempt(number) for number in range(first, first + 50)]
    assert outcomes.count("agreed") >= 45


def test_unions_of_inequalities_on_one_argument() -> None:
    """Below, above and between 64-bit bounds that share their upper halves, in one rule and in several."""
    bounds = (0, 5, (1 << 32) - 1, 1 << 32, (1 << 32) + 5, (1 << 32) + 6, (7 << 32) + 5, 1 << 63, (1 << 64) - 1)
    draw = random.Random(3)
    for _ in range(60):
        rules = []
        for _ in range(draw.randint(1, 4)):
            low, high = sorted(draw.sample(bounds, 2))
            ranges = draw.choice(
                (((0, low),), ((high, (1 << 64) - 1),), ((low, high),), ((0, low), (high, (1 << 64) - 1)))
            )
            verdict = draw.choice((ALLOWED, ENOSYS))
            rules.append(rule("lseek", Condition(1, 64, ranges), verdict=verdict))
        subject = policy(*rules)
        program = compile_filter(subject, "x86_64")
        prove_filter(subject, "x86_64", program)
        for edge in {bound + step for bound in bounds for step in (-1, 0, 1)}:
            args = [0, edge & ((1 << 64) - 1), 0, 0, 0, 0]
            assert run(program, ARCHITECTURES["x86_64"].token, 8, args)[0] == decide(subject, "x86_64", 8, args)


@settings(QUIET, max_examples=30)
@given(policies(), st.data())
def test_paths_are_a_partition_of_all_calls(subject: SyscallPolicy, data: st.DataObject) -> None:
    try:
        code = decode(compile_filter(subject, "x86_64"))
    except FilterTooLong:
        assume(False)
    regions = list(paths(code))
    assert all(least(domain) is not None for region in regions for domain in region)
    nr = st.sampled_from([numbers("x86_64").get(item.call, 0) for item in subject.rules] or [0]) | st.integers(
        0, 1 << 9
    )
    edges = [edge & 0xFFFFFFFF for edge in edges_of(subject)] + [edge >> 32 for edge in edges_of(subject)]
    for _ in range(10):
        words = [
            data.draw(nr),
            ARCHITECTURES["x86_64"].token,
            0,
            0,
            *(data.draw(st.sampled_from(edges)) for _ in range(12)),
        ]
        holding = [
            region
            for region in regions
            if all(
                low <= word <= high and word & mask == value
                for word, (low, high, mask, value) in zip(words, region, strict=True)
            )
        ]
        assert len(holding) == 1
        run_words(code, words)


@pytest.mark.parametrize("arch", NATIVE)
def test_a_policy_without_rules_answers(arch: str) -> None:
    program = compile_filter(policy(), arch)
    prove_filter(policy(), arch, program)
    token = ARCHITECTURES[arch].token
    assert run(program, token, 0, [0] * 6)[0] == EPERM
    assert run(program, token, 5000, [0] * 6)[0] == ENOSYS
    assert run(program, token ^ 1, 0, [0] * 6)[0] == policy().foreign


def test_one_answer_to_everything_is_one_return() -> None:
    subject = SyscallPolicy((), EPERM, EPERM, EPERM)
    assert len(compile_filter(subject, "x86_64")) == 8
    prove_filter(subject, "x86_64", compile_filter(subject, "x86_64"))


@pytest.mark.parametrize("arch", NATIVE)
def test_jumps_beyond_255_instructions(arch: str) -> None:
    """More than 256 calls, each with an answer of its own, so that no two share code."""
    calls = list(numbers(arch))[:320]
    rules = [
        rule(name, Condition(0, 64, ((at, at + (1 << 33)),)), verdict=Verdict(Action.ERRNO, at + 1))
        for at, name in enumerate(calls)
    ]
    subject = policy(*rules, unknown=Verdict(Action.KILL_THREAD))
    program = compile_filter(subject, arch)
    assert len(program) // 8 > 1024
    prove_filter(subject, arch, program)


def test_a_filter_that_the_kernel_would_refuse_is_an_error() -> None:
    rules = [
        rule(name, Condition(0, 64, tuple((at * 1000 + k * 7, at * 1000 + k * 7) for k in range(12))))
        for at, name in enumerate(numbers("x86_64"))
    ]
    with pytest.raises(FilterTooLong, match="4096"):
        compile_filter(policy(*rules), "x86_64")


def test_order_of_rules_never_matters() -> None:
    shuffled = list(TYPICAL.rules)
    for seed in range(5):
        random.Random(seed).shuffle(shuffled)
        assert compile_filter(replace(TYPICAL, rules=tuple(shuffled)), "x86_64") == compile_filter(TYPICAL, "x86_64")


def test_the_strictest_rule_decides() -> None:
    subject = policy(
        rule("read"),
        rule("read", verdict=ENOSYS),
        rule("read", Condition(0, 32, ((3, 3),)), verdict=Verdict(Action.TRAP)),
    )
    assert decide(subject, "x86_64", 0, [2, 0, 0, 0, 0, 0]) == ENOSYS
    assert decide(subject, "x86_64", 0, [3 | 1 << 40, 0, 0, 0, 0, 0]) == Verdict(Action.TRAP)
    prove_filter(subject, "x86_64", compile_filter(subject, "x86_64"))


@pytest.mark.parametrize(
    ("nr", "expected"),
    [(0, ALLOWED), (335, ALLOWED), (X32_BIT - 1, ENOSYS), (X32_BIT, TYPICAL.foreign), (X32_BIT + 1, TYPICAL.foreign),
     (0x80000000, TYPICAL.foreign), (NO_CALL - 1, TYPICAL.foreign), (NO_CALL, ENOSYS)],
)  # fmt: skip
def test_the_line_of_numbers(nr: int, expected: Verdict) -> None:
    subject = replace(TYPICAL, rules=(*TYPICAL.rules, rule("uretprobe")))
    program = compile_filter(subject, "x86_64")
    assert run(program, ARCHITECTURES["x86_64"].token, nr, [0] * 6)[0] == expected
    assert decide(subject, "x86_64", nr, [0] * 6) == expected


@pytest.mark.parametrize("archs", [*((arch,) for arch in ARCHITECTURES), ("x32", "x86_64")])
def test_ranges_are_the_whole_line(archs: tuple[str, ...]) -> None:
    line = number_line(TYPICAL, archs)
    assert line[0].low == 0 and line[-1].high == 0xFFFFFFFF
    assert all(before.high + 1 == after.low for before, after in pairwise(line))
    assert sum(item.call is not None for item in line) == sum(len(numbers(arch)) for arch in archs)


def test_a_typical_filter_is_short_and_shallow() -> None:
    program = compile_filter(TYPICAL, "x86_64")
    token = ARCHITECTURES["x86_64"].token
    assert len(program) // 8 <= 80
    assert max(run(program, token, nr, [0] * 6)[1] for nr in numbers("x86_64").values()) <= 20


CLONE = Condition(0, 32, (), ((NAMESPACES, 0),))


@pytest.mark.parametrize(
    ("subject", "message"),
    [
        (policy(rule("opnat")), "policy.yaml:1:1: opnat: is not a system call"),
        (policy(rule("clone", CLONE, CLONE)), "the same argument"),
        (policy(rule("clone", Condition(6, 32, ((0, 0),)))), "arguments 0 to 5"),
        (policy(rule("clone", Condition(0, 16, ((0, 0),)))), "neither 32 nor 64"),
        (policy(rule("clone", Condition(0, 32))), "tests nothing"),
        (policy(rule("clone", Condition(0, 32, ((5, 4),)))), "empty, out of order"),
        (policy(rule("clone", Condition(0, 32, ((0, 4), (4, 6))))), "overlapping"),
        (policy(rule("clone", Condition(0, 32, ((0, 1 << 32),)))), "beyond 32 bits"),
        (policy(rule("clone", Condition(0, 32, (), ((0, 0),)))), "mask 0x0 is zero"),
        (policy(rule("clone", Condition(0, 32, (), ((1, 2),)))), "outside its mask"),
        (policy(rule("clone", verdict=Verdict(Action.ERRNO))), "errno 0"),
        (policy(rule("clone", verdict=Verdict(Action.ALLOW, 1))), "carries no errno"),
        (policy(denied=Verdict(Action.ERRNO, 4096)), "denied: errno 4096"),
        (policy(rule("clone", verdict=Verdict(Action.NOTIFY, data=1))), "notify carries no data"),
        (policy(rule("clone", verdict=Verdict(Action.TRACE, data=0x10000))), "data 65536 is not between"),
        (replace(policy(), kernel="five"), "'five' is not the version of a kernel"),
        (replace(policy(), kernel="4.4"), "older than 5.13"),
    ],
)
def test_policies_without_one_meaning_are_refused(subject: SyscallPolicy, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        compile_filter(subject, "x86_64")


@pytest.mark.parametrize("archs", ["vax", (), ("x86_64", "x86_64"), ("x86_64", "vax")])
def test_architectures_that_are_none(archs: Any) -> None:
    for ask in (compile_filter, lambda subject, archs: prove_filter(subject, archs, b"")):
        with pytest.raises(ValueError, match=r"each once|whole number|it is empty"):
            ask(TYPICAL, archs)


@pytest.mark.parametrize("model", CostModel)
def test_every_name_can_be_ruled(model: CostModel) -> None:
    subject = policy(*(rule(name) for name in NAMES))
    for arch in ARCHITECTURES:
        prove_filter(subject, arch, compile_filter(subject, arch, model))
