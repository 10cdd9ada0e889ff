"""The shortest form of a call's rules means the same, and makes a profile as small as what it was written from."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from stockade.model.seccomp import Condition, SyscallPolicy
from stockade.seccomp.canonical import FEW, shortest
from stockade.seccomp.cbpf import compile_filter
from stockade.seccomp.profile import read_profile
from stockade.seccomp.semantics import holds, rules_by_call, strictness

from .policies import ENOSYS, EPERM, policies, rule

PROFILES = Path(__file__).resolve().parents[2] / "profiles/containers"
BITS = [rule("clone", Condition(0, 32, (), ((1 << bit, 1 << bit),)), verdict=EPERM) for bit in range(FEW + 1)]


@pytest.mark.parametrize("name", sorted(path.name for path in PROFILES.iterdir()))
def test_a_profile_compiles_to_what_its_source_compiles_to(name: str) -> None:
    """But for two instructions at most: where a range and bits say the same, the profile has the bits."""
    folder = PROFILES / name
    imported = read_profile((folder / "seccomp.json").read_bytes(), ["x86_64"]).policy
    source = (folder / "seccomp.x86_64.bpf").stat().st_size // 8
    assert len(compile_filter(imported, "x86_64")) // 8 <= source + 2


def test_a_complement_is_said_the_short_way() -> None:
    allowed = rule("clone", Condition(0, 32, (), ((2 ** (FEW + 1) - 1, 0),)))
    assert shortest((allowed, *BITS), ENOSYS) == ((allowed,), EPERM)


def test_what_overlaps_a_weaker_rule_stays() -> None:
    allowed = rule("clone", Condition(0, 32, (), ((1, 1),)))
    assert shortest((allowed, *BITS), ENOSYS) == ((allowed, *BITS), ENOSYS)


def test_what_leaves_a_gap_stays() -> None:
    allowed = rule("clone", Condition(0, 32, (), ((2 ** (FEW + 2) - 1, 0),)))
    assert shortest((allowed, *BITS), ENOSYS) == ((allowed, *BITS), ENOSYS)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(policies())
def test_the_shortest_form_answers_the_same(subject: SyscallPolicy) -> None:
    for rules in rules_by_call(subject).values():
        kept, otherwise = shortest(tuple(rules), subject.denied)
        edges = {0, 1, (1 << 64) - 1}
        for one in rules:
            for condition in one.conditions:
                edges |= {value for low, high in condition.ranges for value in (low, high, high + 1)}
                edges |= {value for mask, value in condition.masks} | {mask for mask, _ in condition.masks}
        for value in sorted(edges):
            args = [value & (1 << 64) - 1] * 6
            before = [r.verdict for r in rules if all(holds(c, args) for c in r.conditions)]
            after = [r.verdict for r in kept if all(holds(c, args) for c in r.conditions)]
            assert max(before, key=strictness, default=subject.denied) == max(after, key=strictness, default=otherwise)
