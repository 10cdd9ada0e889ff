"""Policy to OCI profile: the same answers by the runtime's rules, and by the real libseccomp."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyseccomp
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from stockade.model.seccomp import ALLOWED, Action, Condition, Multiplexed, SyscallPolicy, Verdict
from stockade.model.syscalls import CARRIES, NAMES, NATIVE, numbers
from stockade.seccomp.cbpf import compile_filter
from stockade.seccomp.oci import NotRepresentable, to_oci
from stockade.seccomp.prove import Disagreement, prove_filter
from stockade.seccomp.regions import Unprovable
from stockade.seccomp.runtime import Ambiguous, decide_oci, prove_oci
from stockade.seccomp.semantics import decide

from tests.seccomp.policies import ENOSYS, EPERM, TYPICAL, edges_of, policies, policy, rule

ARCHES = {
    "x86_64": pyseccomp.Arch.X86_64, "aarch64": pyseccomp.Arch.AARCH64, "i386": pyseccomp.Arch.X86,
    "x32": pyseccomp.Arch.X32, "arm": pyseccomp.Arch.ARM,
}  # fmt: skip
OPERATORS = {
    "SCMP_CMP_EQ": pyseccomp.EQ, "SCMP_CMP_NE": pyseccomp.NE, "SCMP_CMP_LT": pyseccomp.LT,
    "SCMP_CMP_GE": pyseccomp.GE, "SCMP_CMP_MASKED_EQ": pyseccomp.MASKED_EQ,
}  # fmt: skip
ACTIONS = {
    "SCMP_ACT_ALLOW": pyseccomp.ALLOW, "SCMP_ACT_LOG": pyseccomp.LOG, "SCMP_ACT_TRAP": pyseccomp.TRAP,
    "SCMP_ACT_NOTIFY": pyseccomp.NOTIFY, "SCMP_ACT_KILL_THREAD": pyseccomp.KILL,
    "SCMP_ACT_KILL_PROCESS": pyseccomp.KILL_PROCESS,
}  # fmt: skip
QUIET = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def resolves(name: str) -> bool:
    """Whether libseccomp has the call wherever the table does; multiplexed calls of i386 have numbers of its own."""
    for arch, token in ARCHES.items():
        number = numbers(arch).get(name)
        try:
            theirs = pyseccomp.resolve_syscall(token, name)
        except ValueError:
            return False
        if theirs == -1 or (number not in (None, theirs) and not (arch == "i386" and -300 < theirs < -100)):
            return False
    return True


KNOWN = frozenset(name for name in NAMES if resolves(name))


def action(said: Mapping[str, Any], key: str, number: str) -> int:
    if said[key] in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        return int((pyseccomp.ERRNO if said[key] == "SCMP_ACT_ERRNO" else pyseccomp.TRACE)(said[number]))
    return int(ACTIONS[said[key]])


def through_libseccomp(profile: Mapping[str, Any], archs: Sequence[str], optimize: int) -> bytes:
    """What runc does with a profile: unknown names and rules equal to the default are left out."""
    default = action(profile, "defaultAction", "defaultErrnoRet")
    filter_ = pyseccomp.SyscallFilter(default)
    for arch in archs:
        if ARCHES[arch] != pyseccomp.system_arch():
            filter_.add_arch(ARCHES[arch])
    if pyseccomp.system_arch() not in [ARCHES[arch] for arch in archs]:
        filter_.remove_arch(pyseccomp.system_arch())
    filter_.set_attr(pyseccomp.Attr.CTL_OPTIMIZE, optimize)
    for entry in profile["syscalls"]:
        answer = action(entry, "action", "errnoRet")
        indices = [arg["index"] for arg in entry.get("args", [])]
        assert len(set(indices)) == len(indices), "runc would join these by OR"
        if answer == default:
            continue
        args = [
            pyseccomp.Arg(
                arg["index"], OPERATORS[arg["op"]], arg["value"], *([arg["valueTwo"]] if "valueTwo" in arg else [])
            )
            for arg in entry.get("args", [])
        ]
        for name in entry["names"]:
            if name in KNOWN:
                filter_.add_rule(answer, name, *args)
    descriptor = os.memfd_create("filter")
    with os.fdopen(descriptor, "w+b") as file:
        filter_.export_bpf(file)
        file.seek(0)
        return file.read()


def as_libseccomp_sees(subject: SyscallPolicy) -> SyscallPolicy:
    """The policy with calls that libseccomp does not know answered as unknown ones, and its own way to kill."""
    strange = NAMES - KNOWN
    rules = [item for item in subject.rules if item.call not in strange]
    rules += [rule(name, verdict=subject.unknown) for name in sorted(strange)]
    return replace(subject, rules=tuple(rules), foreign=Verdict(Action.KILL_THREAD))


@pytest.mark.parametrize("optimize", [1, 2])
@pytest.mark.parametrize("arch", NATIVE)
def test_libseccomp_makes_the_policy_of_the_profile(arch: str, optimize: int) -> None:
    profile = json.loads(json.dumps(to_oci(TYPICAL, [arch])))
    prove_oci(TYPICAL, profile, [arch])
    prove_oci(TYPICAL, profile, [arch], KNOWN)
    prove_filter(as_libseccomp_sees(TYPICAL), arch, through_libseccomp(profile, [arch], optimize))


LISTENER = "/run/agent"
TOGETHER = ("x86_64", "i386", "x32", "aarch64", "arm")
WIDE = ("mount", "mprotect")
EVERY_SOCKET = [rule(call) for call in sorted(CARRIES["i386"]["socketcall"])]


@pytest.mark.parametrize("optimize", [1, 2])
@pytest.mark.parametrize(
    "subject",
    [
        replace(TYPICAL, rules=(*(item for item in TYPICAL.rules if item.call not in WIDE), rule("mmap2"))),
        policy(rule("read"), *EVERY_SOCKET, rule("socketcall")),
        policy(
            rule("write"),
            *EVERY_SOCKET,
            rule("socketcall"),
            rule("socket", Condition(0, 32, ((38, 38),)), verdict=EPERM),
        ),
        replace(policy(*EVERY_SOCKET, rule("socketcall"), rule("ipc")), multiplexed=Multiplexed.AS_RULED),
        policy(rule("read", verdict=Verdict(Action.TRACE, data=7)), rule("ptrace", verdict=Verdict(Action.NOTIFY))),
    ],
)
def test_libseccomp_makes_the_policy_on_all_architectures(subject: SyscallPolicy, optimize: int) -> None:
    profile = to_oci(subject, TOGETHER, LISTENER)
    prove_oci(subject, profile, TOGETHER)
    prove_filter(as_libseccomp_sees(subject), TOGETHER, through_libseccomp(profile, TOGETHER, optimize))


@pytest.mark.parametrize(
    ("arch", "allowed", "message"),
    [
        ("i386", (0, 0x3FFFFFFFF), "mprotect.* on i386: the policy says allow, the filter errno 1"),
        ("x32", (0, 3), r"mprotect\(prot=0x100000000\) on x32: the policy says errno 1, the filter allow"),
    ],
)
def test_libseccomp_looks_at_low_halves_only_where_an_abi_has_32_bits(
    arch: str, allowed: tuple[int, int], message: str
) -> None:
    """The kernel obeys whole registers of x32, and no upper half of i386."""
    subject = policy(rule("mprotect", Condition(2, 64, (allowed,))))
    profile = to_oci(subject, [arch], LISTENER)
    with pytest.raises(Disagreement, match=message):
        prove_oci(subject, profile, [arch])
    with pytest.raises(Disagreement, match=message):
        prove_filter(as_libseccomp_sees(subject), [arch], through_libseccomp(profile, [arch], 2))
    prove_filter(subject, [arch], compile_filter(subject, [arch]))


def test_rules_that_libseccomp_makes_up_are_refused() -> None:
    """Where socketcall gets the default, runtimes drop its rule, and libseccomp answers by the calls it carries."""
    subject = policy(rule("bind"), denied=ENOSYS)
    with pytest.raises(NotRepresentable, match="socketcall: on i386 runtimes would answer it by the rules for `bind`"):
        to_oci(subject, TOGETHER)
    profile = to_oci(subject, NATIVE)
    profile["architectures"].append("SCMP_ARCH_X86")
    with pytest.raises(Ambiguous, match="libseccomp makes rules for socketcall of those for bind"):
        prove_oci(subject, profile, [*NATIVE, "i386"])
    with pytest.raises(Disagreement, match=r"socketcall\(arg0=0x2\) on i386"):
        prove_filter(as_libseccomp_sees(subject), ["i386"], through_libseccomp(profile, ["i386"], 2))


def test_a_call_that_architectures_answer_differently_is_refused() -> None:
    subject = policy(rule("mmap", Condition(2, 64, (), ((4, 0),))))
    with pytest.raises(NotRepresentable, match=r"mmap: .* answer it differently"):
        to_oci(subject, TOGETHER)
    to_oci(replace(subject, multiplexed=Multiplexed.AS_RULED), TOGETHER)


MIXED = policy(
    rule("socket", Condition(0, 64, ((0, 0),)), Condition(1, 32, (), ((1, 0),))),
    rule("socket", Condition(0, 32, ((0, 0), (7, 9)))),
    rule("socket", Condition(0, 64, (), ((1 << 40, 1 << 40),)), verdict=ENOSYS),
)


@example(MIXED)
@settings(QUIET, max_examples=40)
@given(policies(simple=True))
def test_random_policies_mean_the_same_as_profiles(subject: SyscallPolicy) -> None:
    try:
        profile = to_oci(subject, NATIVE, LISTENER)
    except NotRepresentable:
        assume(False)
    prove_oci(subject, profile, NATIVE)
    with contextlib.suppress(Unprovable):  # libseccomp lists the parts one after another, up to a thousand
        prove_filter(as_libseccomp_sees(subject), "x86_64", through_libseccomp(profile, ["x86_64"], 2))


def test_hundreds_of_parts_one_after_another_are_proven() -> None:
    """Each part is tested anew: what is forgotten of a word that nothing looks at again keeps the ways few."""
    subject = policy(rule("socket", Condition(0, 32, ((3, 77), (100, 999))), Condition(1, 32, ((5, 50),))))
    program = through_libseccomp(to_oci(subject, ["x86_64"]), ["x86_64"], 1)
    assert len(program) // 8 > 2000
    prove_filter(as_libseccomp_sees(subject), "x86_64", program)
    wider = policy(rule("socket", Condition(0, 32, ((3, 77), (100, 999))), Condition(1, 32, ((5, 51),))))
    with pytest.raises(Disagreement, match=r"socket\(.*type=0x33\) on x86_64: the policy says allow"):
        prove_filter(as_libseccomp_sees(wider), "x86_64", program)


def test_what_would_take_too_long_to_prove_is_said_to() -> None:
    draw = random.Random(1)
    masks = [Condition(1, 32, (), ((draw.getrandbits(32) | 1, 1),)) for _ in range(6)]
    subject = policy(*(rule("ioctl", test, verdict=draw.choice((ALLOWED, EPERM, ENOSYS))) for test in masks))
    program = through_libseccomp(to_oci(subject, ["x86_64"]), ["x86_64"], 2)
    with pytest.raises(Unprovable, match=r"more than [0-9]+ steps"):
        prove_filter(as_libseccomp_sees(subject), "x86_64", program)


def test_libseccomp_knows_enough_for_the_test_to_mean_something() -> None:
    assert len(KNOWN & set(numbers("x86_64"))) > 340
    assert "read" in KNOWN and "mseal" not in KNOWN


def test_decide_oci_at_edges() -> None:
    profile = to_oci(TYPICAL, NATIVE)
    draw = random.Random(7)
    edges = edges_of(TYPICAL)
    for item in TYPICAL.rules:
        for _ in range(20):
            args = [draw.choice(edges) for _ in range(6)]
            nr = numbers("x86_64")[item.call]
            assert decide_oci(profile, "x86_64", nr, args) == decide(TYPICAL, "x86_64", nr, args)
    assert decide_oci(profile, "x86_64", 0, [0] * 6, KNOWN - {"read"}) == ENOSYS
    assert decide_oci(profile, "i386", 3, [0] * 6) == Verdict(Action.KILL_THREAD)
    assert decide_oci(profile, "x86_64", 0x40000000, [0] * 6) == Verdict(Action.KILL_THREAD)


def names_with(profile: dict[str, Any], name: str) -> list[str]:
    return next(item["names"] for item in profile["syscalls"] if name in item["names"])


def break_allow(profile: dict[str, Any]) -> None:
    names_with(profile, "bpf").remove("bpf")
    names_with(profile, "read").append("bpf")


def break_denied(profile: dict[str, Any]) -> None:
    names_with(profile, "bpf").remove("bpf")


def break_default(profile: dict[str, Any]) -> None:
    profile["defaultErrnoRet"] = 1


def break_architectures(profile: dict[str, Any]) -> None:
    profile["architectures"].remove("SCMP_ARCH_AARCH64")


def break_x32(profile: dict[str, Any]) -> None:
    profile["architectures"].append("SCMP_ARCH_X32")


def break_mask(profile: dict[str, Any]) -> None:
    entry = next(item for item in profile["syscalls"] if item["names"] == ["clone"])
    entry["args"][0]["value"] ^= 0x20000
    entry["args"][0]["valueTwo"] &= ~0x20000


def break_part(profile: dict[str, Any]) -> None:
    at = next(at for at, item in enumerate(profile["syscalls"]) if item["names"] == ["personality"])
    del profile["syscalls"][at]


def break_width(profile: dict[str, Any]) -> None:
    for item in profile["syscalls"]:
        if item["names"] == ["personality"] and item["action"] == "SCMP_ACT_ALLOW":
            item["args"] = [{"index": 0, "value": item["args"][0]["valueTwo"], "op": "SCMP_CMP_EQ"}]


@pytest.mark.parametrize(
    "fault",
    [break_allow, break_denied, break_default, break_architectures, break_x32, break_mask, break_part, break_width],
)
def test_a_changed_profile_is_caught(fault: Any) -> None:
    profile = to_oci(TYPICAL, NATIVE)
    broken = copy.deepcopy(profile)
    fault(broken)
    assert broken != profile
    with pytest.raises((Disagreement, Ambiguous)):
        prove_oci(TYPICAL, broken, NATIVE)


def test_a_part_said_twice_with_different_answers_is_ambiguous() -> None:
    profile = to_oci(TYPICAL, ["x86_64"])
    args = [{"index": 0, "value": 0xFFFFFFFF, "valueTwo": 8, "op": "SCMP_CMP_MASKED_EQ"}]
    profile["syscalls"].append({"names": ["personality"], "action": "SCMP_ACT_TRAP", "args": args})
    with pytest.raises(Ambiguous, match="personality"):
        prove_oci(TYPICAL, profile, ["x86_64"])


def test_two_conditions_on_one_argument_are_joined_by_or() -> None:
    args = [{"index": 0, "value": 5, "op": "SCMP_CMP_GE"}, {"index": 0, "value": 9, "op": "SCMP_CMP_LE"}]
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": args}],
    }
    for value in (0, 4, 7, 10):
        assert decide_oci(profile, "x86_64", 135, [value, 0, 0, 0, 0, 0]) == ALLOWED
    subject = policy(rule("personality", Condition(0, 64, ((5, 9),))), denied=EPERM, unknown=EPERM)
    with pytest.raises(Disagreement, match="personality"):
        prove_oci(subject, {**profile, "architectures": ["SCMP_ARCH_X86_64"]}, ["x86_64"])


def test_a_single_threshold_is_one_comparison() -> None:
    profile = to_oci(policy(rule("mprotect", Condition(2, 64, ((0, 3),)))), ["x86_64"])
    said = [(item["action"], item["args"]) for item in profile["syscalls"] if "args" in item]
    assert said == [
        ("SCMP_ACT_ALLOW", [{"index": 2, "value": 4, "op": "SCMP_CMP_LT"}]),
        ("SCMP_ACT_ERRNO", [{"index": 2, "value": 4, "op": "SCMP_CMP_GE"}]),
    ]


def test_unknown_and_denied_are_told_apart() -> None:
    profile = to_oci(TYPICAL, NATIVE)
    assert (profile["defaultAction"], profile["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 38)
    assert profile["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_X86_64"]
    said = {name for entry in profile["syscalls"] for name in entry["names"]}
    assert "clone3" not in said and said | {"clone3"} == set(numbers("x86_64")) | set(numbers("aarch64"))
    assert decide_oci(profile, "x86_64", numbers("x86_64")["mseal"], [0] * 6) == EPERM
    assert json.dumps(profile) == json.dumps(to_oci(replace(TYPICAL, rules=TYPICAL.rules[::-1]), NATIVE[::-1]))


@pytest.mark.parametrize(
    ("subject", "message"),
    [
        (policy(unknown=EPERM), "unknown: runc answers ENOSYS"),
        (replace(policy(), foreign=EPERM), "foreign: libseccomp kills"),
        (policy(rule("write", verdict=Verdict(Action.NOTIFY))), "write: runc refuses"),
        (policy(rule("read", verdict=Verdict(Action.TRAP, data=1))), "no word for the data"),
        (
            policy(rule("read", *(Condition(at, 32, ((3, 3), (5, 5), (77, 99))) for at in range(4)))),
            "policy.yaml:1:1: read: .* more than 1024 parts",
        ),
    ],
)
def test_what_a_profile_cannot_say_is_refused(subject: SyscallPolicy, message: str) -> None:
    with pytest.raises(NotRepresentable, match=message):
        to_oci(subject, NATIVE, LISTENER)


def test_a_question_without_a_listener_is_refused() -> None:
    with pytest.raises(NotRepresentable, match="read: runtimes refuse `notify` without"):
        to_oci(policy(rule("read", verdict=Verdict(Action.NOTIFY))), NATIVE)
