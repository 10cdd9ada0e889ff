"""A policy in words."""

from __future__ import annotations

from stockade.model.seccomp import Condition
from stockade.seccomp.explain import explain, spell_condition

from tests.seccomp.policies import TYPICAL, policy, rule


def test_a_policy_is_told_apart_by_kind() -> None:
    said = explain(TYPICAL)
    assert "read" in said.allowed and "socket" not in said.allowed
    assert list(said.allowed) == sorted(said.allowed)
    sentences = [sentence for sentence, _ in said.conditional]
    assert sentences == sorted(sentences) and len(sentences) == 5
    assert "socket: allow where family is UNIX, INET or INET6 and type masked with 0xf is 0x1" in sentences
    assert said.refused == (("clone3: errno 38", "a test wants it"), ("ioctl: errno 13", "a test wants it"))
    assert said.otherwise.startswith("every other call: errno 1; a call newer than this policy: errno 38")


def test_flags_are_named() -> None:
    assert spell_condition("clone", Condition(0, 32, (), ((0x10020000, 0),))) == "flags has none of NEWNS, NEWUSER"
    assert spell_condition("clone", Condition(0, 32, (), ((0x10000000,) * 2,))) == "flags has all of NEWUSER"
    assert spell_condition("read", Condition(2, 64, ((0, 4096),))) == "arg2 is 0x0 to 0x1000"
    assert (
        spell_condition("read", Condition(2, 32, ((4096, 0xFFFFFFFF),))) == "the lower half of arg2 is 0x1000 or more"
    )


def test_nothing_is_said_of_nothing() -> None:
    said = explain(policy())
    assert not said.allowed and not said.conditional and not said.refused
    assert explain(policy(rule("read"))).allowed == ("read",)
