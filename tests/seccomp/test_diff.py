"""Differences between profiles and filters: exact, with a witness that both sides really answer differently."""

from __future__ import annotations

import json
import random
import re
import struct
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from stockade.cli.calls import read_call
from stockade.model.seccomp import ALLOWED, Action, Verdict
from stockade.model.syscalls import ARCHITECTURES, numbers
from stockade.seccomp.cbpf import compile_filter
from stockade.seccomp.diff import Difference, Kind, compare, kind_of
from stockade.seccomp.emulate import run
from stockade.seccomp.judge import FilterJudge, Judge, PolicyJudge, everywhere
from stockade.seccomp.outline import outline
from stockade.seccomp.profile import read_profile
from stockade.seccomp.regions import EVERYTHING, Unprovable
from stockade.seccomp.semantics import decide

from tests.seccomp.profiles import EDGES, SHIPPED, arg, encoded, entry, profile, profiles

X86 = ("x86_64", "i386", "x32")
QUIET = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def policy_judge(said: Any, *archs: str) -> PolicyJudge:
    data = said if isinstance(said, bytes) else encoded(said)
    archs = archs or ("x86_64",)
    return PolicyJudge(read_profile(data, archs).policy, archs)


def filter_judge(said: Any, *archs: str) -> FilterJudge:
    judge = policy_judge(said, *archs)
    return FilterJudge(compile_filter(judge.policy, judge.archs))


SIDES = pytest.mark.parametrize("side", [policy_judge, filter_judge], ids=["policy", "filter"])
OTHER = pytest.mark.parametrize("other", [policy_judge, filter_judge], ids=["policy", "filter"])


def one(found: list[Difference]) -> tuple[Kind, str | None, tuple[str, ...], str]:
    (only,) = found
    return only.kind, only.call, only.archs, only.witness


@SIDES
@OTHER
def test_the_shipped_profile_is_itself(side: Any, other: Any) -> None:
    assert compare(side(SHIPPED, *X86), other(SHIPPED, *X86)) == []


@SIDES
@OTHER
@pytest.mark.parametrize(
    ("old", "new", "kind", "call", "witness"),
    [
        ([entry("read")], [entry("read"), entry("bpf")], Kind.WIDENED, "bpf", "bpf()"),
        ([entry("read bpf")], [entry("read")], Kind.NARROWED, "bpf", "bpf()"),
        ([], [entry("bpf", "ERRNO", errnoRet=13)], Kind.ERRNO, "bpf", "bpf()"),
        ([], [entry("bpf", "TRAP")], Kind.CHANGED, "bpf", "bpf()"),
        ([entry("bpf")], [entry("bpf", "LOG")], Kind.CHANGED, "bpf", "bpf()"),
        ([], [entry("bpf", "NOTIFY")], Kind.WIDENED, "bpf", "bpf()"),
        (
            [entry("socket", "ALLOW", arg(0, "LT", 38))], [entry("socket", "ALLOW", arg(0, "LE", 38))],
            Kind.WIDENED, "socket", "socket(family=ALG)",
        ),
        (
            [entry("clone", "ALLOW", arg(0, "MASKED_EQ", 0x7E020000))],
            [entry("clone", "ALLOW", arg(0, "MASKED_EQ", 0x6E020000))],
            Kind.WIDENED, "clone", "clone(flags=NEWUSER)",
        ),
        (
            [entry("clone")], [entry("clone", "ALLOW", arg(0, "NE", 0x10020000))],
            Kind.NARROWED, "clone", "clone(flags=NEWNS|NEWUSER)",
        ),
        (
            [entry("mmap", "ALLOW", arg(1, "LT", 5 << 32))], [entry("mmap", "ALLOW", arg(1, "LT", (5 << 32) + 1))],
            Kind.WIDENED, "mmap", "mmap(length=0x500000000)",
        ),
    ],
)  # fmt: skip
def test_a_difference_has_a_witness(
    side: Any, other: Any, old: Any, new: Any, kind: Kind, call: str, witness: str
) -> None:
    found = compare(side(profile(*old)), other(profile(*new)))
    assert one(found) == (kind, call, ("x86_64",), witness)


@SIDES
def test_numbers_without_a_name_and_foreign_architectures(side: Any) -> None:
    found = compare(side(profile(default="ERRNO")), side(profile(default="ALLOW")))
    nameless = [item for item in found if item.call is None]
    assert [(item.kind, item.archs) for item in nameless] == [(Kind.WIDENED, ("x86_64",))]
    assert "which has no name" in nameless[0].witness
    assert len(found) == len(numbers("x86_64")) + 1
    foreign = [item for item in compare(side(profile()), FilterJudge(ALL)) if not item.archs]
    assert [(item.kind, item.call) for item in foreign] == [(Kind.WIDENED, None)]
    assert re.match(r"call 0x0 of architecture 0x[0-9a-f]{8}", foreign[0].witness)


ALL = struct.pack("<HBBI", 6, 0, 0, 0x7FFF0000)


def test_another_architecture_is_a_difference_on_that_architecture() -> None:
    found = compare(policy_judge(profile(entry("read"), architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]), *X86[:2]),
                    policy_judge(profile(entry("read"))))  # fmt: skip
    assert {item.archs for item in found} == {("i386",)}
    assert [item.call for item in found if item.kind is Kind.NARROWED] == ["read"]


@settings(QUIET, max_examples=60)
@given(profiles, profiles)
def test_random_pairs(old: dict[str, Any], new: dict[str, Any]) -> None:
    judges = policy_judge(old), filter_judge(new)
    policies = read_profile(encoded(old)).policy, read_profile(encoded(new)).policy
    found = compare(*judges)
    named = {(item.call, item.old, item.new) for item in found if item.archs}
    for item in found:
        if item.call and item.archs:
            _, nr, args = read_call(item.archs[0], item.witness, ())
            assert decide(policies[0], item.archs[0], nr, args) == item.old != item.new
            assert decide(policies[1], item.archs[0], nr, args) == item.new
            assert item.kind is kind_of(item.old, item.new)
    draw = random.Random(3)
    for call in ("socket", "personality", "clone", "read", "mmap"):
        for _ in range(30):
            args = tuple(draw.choice(EDGES) for _ in range(6))
            before, after = (decide(policy, "x86_64", numbers("x86_64")[call], args) for policy in policies)
            assert before == after or (call, before, after) in named


def test_the_places_are_everything_once() -> None:
    total = sum(
        (p.region[0].high - p.region[0].low + 1) * (p.region[1].high - p.region[1].low + 1) for p in everywhere()
    )
    assert total == 1 << 64
    assert all(place.region[2:] == EVERYTHING[2:] for place in everywhere())


def test_a_filter_that_computes_cannot_be_compared() -> None:
    program = struct.pack("<HBBI", 0x20, 0, 0, 0) + struct.pack("<HBBI", 0x04, 0, 0, 1)
    program += struct.pack("<HBBI", 0x15, 0, 1, 5) + struct.pack("<HBBI", 6, 0, 0, 0) + ALL
    with pytest.raises(Unprovable):
        compare(FilterJudge(program), FilterJudge(ALL))


def said_of(judge: Judge, call: str) -> tuple[str, ...]:
    sections, _ = outline(judge)
    return next((cases for section in sections for name, cases in section.conditional if name == call), ())


@SIDES
def test_the_outline_says_the_arguments(side: Any) -> None:
    judge = side(
        profile(
            entry("personality", "ALLOW", arg(0, "EQ", 0)), entry("personality", "ALLOW", arg(0, "EQ", 8)),
            entry("socket", "ALLOW", arg(0, "LT", 38)), entry("clone", "ALLOW", arg(0, "MASKED_EQ", 0x10020000)),
            entry("mmap", "ALLOW", arg(1, "GE", 1 << 32)), entry("read"), entry("bpf", "TRAP"),
        )
    )  # fmt: skip
    where = "allow where persona is LINUX or LINUX32 and the upper half of persona is 0x0"
    assert said_of(judge, "personality") == (where, "errno 1 otherwise")
    assert said_of(judge, "socket")[0] == "allow where family is 0x0 to 0x25 and the upper half of family is 0x0"
    assert said_of(judge, "clone")[0] == "allow where flags has none of NEWNS, NEWUSER"
    assert said_of(judge, "mmap")[0] == "allow where the upper half of length is 0x1 or more"
    (section,), foreign = outline(judge)
    assert (section.arch, section.allowed, section.numbers) == ("x86_64", ("read",), ((0, 0),))
    assert foreign == ("kill-thread",)
    assert section.unnamed == ("errno 1",)
    assert dict(section.answered)["trap"] == ("bpf",)
    assert len(dict(section.answered)["errno 1"]) == len(numbers("x86_64")) - 6


def test_profile_and_filter_have_one_outline() -> None:
    one_, other = (outline(side(SHIPPED, *X86)) for side in (policy_judge, filter_judge))
    assert one_ == other
    (first, *_), _ = one_
    program = compile_filter(read_profile(SHIPPED, X86).policy, X86)
    for low, high in first.numbers:
        for nr in (low, high):
            assert run(program, ARCHITECTURES["x86_64"].token, nr, [7] * 6)[0] == ALLOWED
    assert sum(high - low + 1 for low, high in first.numbers) == len(first.allowed)


def test_kinds() -> None:
    refused, other = Verdict(Action.ERRNO, 1), Verdict(Action.ERRNO, 2)
    assert kind_of(refused, other) is Kind.ERRNO
    assert kind_of(ALLOWED, Verdict(Action.NOTIFY)) is Kind.NARROWED
    assert kind_of(Verdict(Action.KILL_THREAD), refused) is Kind.CHANGED
    assert json.dumps(Kind.WIDENED) == '"widened"'
