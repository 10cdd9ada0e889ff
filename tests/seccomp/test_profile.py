"""Profiles to policies: what runtimes make of them, by the oracle and by the proof; and one clear line for the rest."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from stockade.model.names import CAPABILITIES
from stockade.model.seccomp import ALLOWED, Action, Verdict
from stockade.model.syscalls import ARCHITECTURES, NAMES, numbers
from stockade.seccomp.cbpf import compile_filter
from stockade.seccomp.profile import DOCKER_CAPS, read_profile
from stockade.seccomp.profile_json import ProfileError
from stockade.seccomp.profile_names import ELSEWHERE
from stockade.seccomp.profile_prove import prove_profile
from stockade.seccomp.prove import Disagreement, prove_filter
from stockade.seccomp.runtime import Ambiguous, decide_oci
from stockade.seccomp.semantics import Reference, decide, strictness

from tests.seccomp.profiles import EDGES, SHIPPED, arg, encoded, entry, profile, profiles
from tests.seccomp.reference_profile import ReferenceProfile

QUIET = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
X86 = ("x86_64", "i386", "x32")
ARM = ("aarch64", "arm")
CAPS = [DOCKER_CAPS, frozenset[str](), frozenset(CAPABILITIES), frozenset(["SYS_ADMIN", "NET_RAW"])]
ZERO = [0] * 6


def verdict(said: tuple[str, int | None]) -> Verdict:
    action = {"ALLOW": Action.ALLOW, "ERRNO": Action.ERRNO}[said[0].removeprefix("SCMP_ACT_")]
    return Verdict(action, (said[1] or 1) if action is Action.ERRNO else 0)


@pytest.mark.parametrize("caps", CAPS, ids=["docker", "none", "all", "some"])
@pytest.mark.parametrize("archs", [X86, ARM], ids=["x86", "arm"])
def test_the_shipped_profile_decides_as_the_oracle(archs: tuple[str, ...], caps: frozenset[str]) -> None:
    found = read_profile(SHIPPED, archs, caps)
    docker = ARCHITECTURES[archs[0]].docker
    oracle = ReferenceProfile(json.loads(SHIPPED), {f"CAP_{cap}" for cap in caps}, docker)
    torn = {conflict.call for conflict in found.conflicts}
    values = (0, 5, 8, 9, 16, 0x20000, 0x20008, 0xFFFFFFFF, 1 << 32)
    asked = 0
    for arch in archs:
        reference = Reference(found.policy, arch)
        for name, nr in numbers(arch).items():
            # The kernel hands a filter no upper halves of the arguments of a 32-bit ABI.
            for first in values[:-1] if ARCHITECTURES[arch].bits == 32 else values:
                for third in values:
                    args = [first, 0, third, 0, 0, 0]
                    said = {verdict(one) for one in oracle.actions(name, args)}
                    got = reference.decide(nr, args)
                    assert got == max(said, key=strictness), (arch, name, args)
                    assert len(said) == 1 or name in torn, (name, said)
                    asked += 1
    assert asked > 40_000


@pytest.mark.parametrize("caps", CAPS, ids=["docker", "none", "all", "some"])
def test_the_shipped_profile_is_what_the_runtime_makes_of_it(caps: frozenset[str]) -> None:
    for archs in (X86, ARM):
        found = read_profile(SHIPPED, archs, caps)
        prove_profile(found)
        prove_filter(found.policy, archs, compile_filter(found.policy, archs))
    for gone in ("read", "personality"):
        policy = replace(found.policy, rules=tuple(rule for rule in found.policy.rules if rule.call != gone))
        with pytest.raises(Disagreement, match=gone):
            prove_profile(replace(found, policy=policy))


def test_the_one_conflict_of_the_shipped_profile_is_seen() -> None:
    found = read_profile(SHIPPED, X86)
    assert [(one.call, one.ordered) for one in found.conflicts] == [("setns", True)]
    assert decide(found.policy, "x86_64", numbers("x86_64")["setns"], ZERO) == Verdict(Action.ERRNO, 1)
    with pytest.raises(Ambiguous):
        decide_oci(found.oci["x86_64"], "x86_64", numbers("x86_64")["setns"], ZERO)
    assert read_profile(SHIPPED, X86, frozenset(CAPABILITIES)).conflicts == ()


@settings(QUIET, max_examples=150)
@given(profiles)
def test_random_profiles_mean_what_the_runtime_makes_of_them(said: dict[str, Any]) -> None:
    found = read_profile(encoded(said), ("x86_64",))
    prove_profile(found)
    torn = {conflict.call for conflict in found.conflicts}
    for call in ("socket", "personality", "clone"):
        for first in EDGES:
            args = [first, 0, 7, 0, 0, 0]
            nr = numbers("x86_64")[call]
            try:
                expected = decide_oci(found.oci["x86_64"], "x86_64", nr, args)
            except Ambiguous:
                assert call in torn
            else:
                assert decide(found.policy, "x86_64", nr, args) == expected


def ask(said: dict[str, Any], call: str, *args: int, arch: str = "x86_64", **how: Any) -> Verdict:
    found = read_profile(encoded(said), (arch,), **how)
    return decide(found.policy, arch, numbers(arch)[call], [*args, *ZERO][:6])


REFUSED = Verdict(Action.ERRNO, 1)


def test_two_tests_of_one_argument_are_or_and_of_two_are_and() -> None:
    either = profile(entry("socket", "ALLOW", arg(0, "GE", 5), arg(0, "LE", 2), arg(1, "EQ", 9)))
    assert [ask(either, "socket", first) for first in (1, 4, 6)] == [ALLOWED, REFUSED, ALLOWED]
    assert ask(either, "socket", 4, 9) == ALLOWED
    both = profile(entry("socket", "ALLOW", arg(0, "GE", 5), arg(1, "EQ", 9)))
    assert [ask(both, "socket", 6, second) for second in (9, 8)] == [ALLOWED, REFUSED]
    assert ask(both, "socket", 4, 9) == REFUSED


def test_a_deny_list() -> None:
    said = profile(
        entry("mount", "ERRNO", errnoRet=13), entry("clone", "KILL", arg(0, "MASKED_EQ", 4, 4)), default="ALLOW"
    )
    assert ask(said, "mount") == Verdict(Action.ERRNO, 13)
    assert ask(said, "read") == ALLOWED
    assert ask(said, "clone", 6) == Verdict(Action.KILL_THREAD)
    assert ask(said, "clone", 3) == ALLOWED
    found = read_profile(encoded(said))
    assert decide(found.policy, "x86_64", 4000, ZERO) == ALLOWED
    assert decide(found.policy, "i386", 1, ZERO) == Verdict(Action.KILL_THREAD)
    program = compile_filter(found.policy, "x86_64")
    prove_filter(found.policy, "x86_64", program)


def test_a_rule_equal_to_the_default_says_nothing() -> None:
    said = profile(entry("read", "ERRNO", errnoRet=1), entry("read", "ALLOW", arg(0, "LT", 3)))
    assert [ask(said, "read", fd) for fd in (2, 3)] == [ALLOWED, REFUSED]


def test_a_rule_without_tests_shadows_those_with() -> None:
    said = profile(entry("read", "ERRNO", arg(0, "EQ", 3), errnoRet=9), entry("read"))
    assert ask(said, "read", 3) == ALLOWED
    assert read_profile(encoded(said)).conflicts == ()


def test_where_rules_meet_the_strictest_wins_in_any_order() -> None:
    rules = [entry("read", "ALLOW", arg(0, "GE", 3)), entry("read", "ERRNO", arg(0, "EQ", 5), errnoRet=9)]
    for order in (rules, rules[::-1]):
        found = read_profile(encoded(profile(*order)))
        assert [ask(profile(*order), "read", fd) for fd in (4, 5)] == [ALLOWED, Verdict(Action.ERRNO, 9)]
        assert [one.call for one in found.conflicts] == ["read"]
    apart = [entry("read", "ALLOW", arg(0, "GE", 6)), rules[1]]
    assert read_profile(encoded(profile(*apart))).conflicts == ()


@pytest.mark.parametrize(
    ("op", "value", "two", "holds", "fails"),
    [
        ("EQ", 5, 0, [5], [4, 6, 5 | 1 << 32]), ("NE", 5, 0, [4, 6, 5 | 1 << 32], [5]),
        ("LT", 5, 0, [0, 4], [5]), ("LE", 5, 0, [5], [6]), ("GT", 5, 0, [6, (1 << 64) - 1], [5]),
        ("GE", 5, 0, [5], [4]), ("LT", 0, 0, [], [0, 1]), ("GE", 0, 0, [0, 1], []), ("GT", (1 << 64) - 1, 0, [], [5]),
        ("MASKED_EQ", 6, 2, [2, 3, 0x1002], [4, 6]), ("MASKED_EQ", 0, 3, [0, 9], []), ("MASKED_EQ", 1, 3, [1, 3], [2]),
    ],
)  # fmt: skip
def test_operators(op: str, value: int, two: int, holds: list[int], fails: list[int]) -> None:
    said = profile(entry("read", "ALLOW", arg(0, op, value, two)))
    assert [ask(said, "read", one) for one in holds] == [ALLOWED] * len(holds)
    assert [ask(said, "read", one) for one in fails] == [REFUSED] * len(fails)


def test_docker_conditions() -> None:
    said = profile(
        entry("mount", includes={"caps": ["CAP_SYS_ADMIN"]}),
        entry("ptrace", includes={"minKernel": "4.8"}),
        entry("bpf", excludes={"minKernel": "6.0"}),
        entry("arch_prctl", includes={"arches": ["amd64", "x32"]}),
        entry("reboot", excludes={"arches": ["amd64"]}),
        entry("chroot", excludes={"caps": ["CAP_CHOWN"]}),
    )
    assert ask(said, "mount") == REFUSED
    assert ask(said, "mount", caps={"SYS_ADMIN"}) == ALLOWED
    assert [ask(said, "ptrace", kernel=kernel) for kernel in ((4, 7), (4, 8))] == [REFUSED, ALLOWED]
    assert [ask(said, "bpf", kernel=kernel) for kernel in ((5, 19), (6, 0))] == [ALLOWED, REFUSED]
    assert ask(said, "arch_prctl") == ALLOWED
    assert [ask(said, "reboot", arch=arch) for arch in ("x86_64", "aarch64")] == [REFUSED, ALLOWED]
    assert [ask(said, "chroot", caps=caps) for caps in ({"CHOWN"}, {"KILL"})] == [REFUSED, ALLOWED]
    with pytest.raises(ProfileError, match="`reboot` gets different rules on aarch64 and x86_64"):
        read_profile(encoded(said), ("x86_64", "aarch64"))


def test_sub_architectures_follow_the_map() -> None:
    said = profile(
        entry("read"),
        archMap=[{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}],
    )
    found = read_profile(encoded(said), X86)
    assert [decide(found.policy, arch, numbers(arch)["read"], ZERO, X86) for arch in X86] == [ALLOWED] * 3
    with pytest.raises(ProfileError, match="does not cover arm"):
        read_profile(encoded(said), ("aarch64", "arm"))
    assert read_profile(encoded({**said, "archMap": None}), ("aarch64",)).archs == ("aarch64",)


def test_other_spellings() -> None:
    assert ask({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS", "syscalls": None}, "read").errno == 38
    assert ask(profile({"name": "read", "action": "SCMP_ACT_ALLOW", "args": None}), "read") == ALLOWED
    assert ask({"ociVersion": "1.0", "linux": {"seccomp": profile(entry("read"))}}, "read") == ALLOWED
    assert ask(profile(entry("read", "TRACE", errnoRet=7)), "read") == Verdict(Action.TRACE, data=7)
    assert ask(profile(entry("read", "NOTIFY")), "read") == Verdict(Action.NOTIFY)
    assert ask(profile(entry("read", "KILL")), "read") == Verdict(Action.KILL_THREAD)


def test_unknown_names_can_be_skipped_and_are_listed() -> None:
    said = profile(entry("read raed s390_runtime_instr"))
    with pytest.raises(
        ProfileError, match=r"^\$.syscalls\[0\].names\[1\]: unknown system call `raed`; did you mean `read`\?"
    ):
        read_profile(encoded(said))
    found = read_profile(encoded(said), skip_unknown=True)
    assert found.skipped == (("$.syscalls[0].names[1]", "raed"),)
    assert found.absent == ("s390_runtime_instr",)
    assert not NAMES & ELSEWHERE


def test_what_libseccomp_makes_up_is_told_and_denied() -> None:
    archs = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    found = read_profile(encoded(profile(entry("socket shmget"), architectures=archs)), X86[:2])
    assert found.made_up == ("ipc", "socketcall")
    prove_profile(found)
    assert decide(found.policy, "i386", numbers("i386")["socketcall"], ZERO, X86[:2]) == REFUSED
    told = read_profile(encoded(profile(entry("socket shmget socketcall ipc"), architectures=archs)), X86[:2])
    assert told.made_up == ()
    prove_profile(told)


def test_bytes_do_not_depend_on_order() -> None:
    said = json.loads(SHIPPED)
    back = {**said, "syscalls": said["syscalls"][::-1]}
    one, other = (read_profile(encoded(value), X86).policy for value in (said, back))
    assert compile_filter(one, X86) == compile_filter(other, X86)


READ = entry("read")
WRONG = {
    "": "$: the file is empty",
    " \n": "$: the file is empty",
    "[]": "$: expected an object, found a list",
    "{": "$: not JSON",
    "{}": "$: the key `defaultAction` is missing",
    "null": "$: expected an object, found null",
    '{"a": NaN}': "$: not JSON: NaN is no number",
    '{"a": 1, "a": 2}': "$: the key `a` stands twice",
    '{"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"names": ["read"], "names": []}]}': "$.syscalls[0]: the key",
    '{"a": ' + "9" * 5000 + "}": "$: a number is too long",
    "[" * 10_000 + "]" * 10_000: "$: nested far deeper",
    '{"a":' * 10_000 + "1" + "}" * 10_000: "$: nested far deeper",
    "\ufeff{}": "$: not JSON",
    json.dumps(profile(READ, defaultActoin="x")): "$: unknown key `defaultActoin`; did you mean `defaultAction`?",
    json.dumps(
        profile(READ, default="ALOW")
    ): "$.defaultAction: unknown action `SCMP_ACT_ALOW`; did you mean `SCMP_ACT_A",
    json.dumps(profile(entry("read", "ALOW"))): "$.syscalls[0].action: unknown action",
    json.dumps(profile(READ, 7)): "$.syscalls[1]: expected an object, found a number",  # type: ignore[arg-type]  # meant
    json.dumps(profile(READ, syscalls={})): "$.syscalls: expected a list, found an object",
    json.dumps(profile(entry("read", "ALLOW", arg(6, "EQ", 1)))): "$.syscalls[0].args[0].index: 0x6 is not between",
    json.dumps(profile(entry("read", "ALLOW", arg(0, "EQUAL", 1)))): "$.syscalls[0].args[0].op: unknown operator",
    json.dumps(profile(entry("read", "ALLOW", arg(0, "EQ", 1 << 64)))): "$.syscalls[0].args[0].value: 0x1000",
    json.dumps(profile(entry("read", "ALLOW", arg(0, "EQ", -1)))): "$.syscalls[0].args[0].value: -0x1 is not",
    json.dumps(
        profile(entry("read", "ALLOW", {"index": True, "op": "SCMP_CMP_EQ"}))
    ): "$.syscalls[0].args[0].index: exp",
    json.dumps(
        profile(entry("read", "ALLOW", {"index": 0.5, "op": "SCMP_CMP_EQ"}))
    ): "$.syscalls[0].args[0].index: exp",
    json.dumps(profile(entry("read", "ALLOW", {"index": 0}))): "$.syscalls[0].args[0]: the key `op` is missing",
    json.dumps(profile(entry("read", "ERRNO", errnoRet=5000))): "$.syscalls[0].errnoRet: errno 5000 is not",
    json.dumps(profile(entry("read", "ERRNO", errnoRet=0))): "$.syscalls[0].errnoRet: errno 0 is not",
    json.dumps(
        profile(entry("read", "ERRNO", errno="EPREM"))
    ): "$.syscalls[0].errno: unknown error `EPREM`; did you mean `EPERM`",
    json.dumps(profile(entry("read", "ERRNO", errno="EPERM", errnoRet=2))): "$.syscalls[0].errno: EPERM is 1, yet",
    json.dumps(profile(entry("", "ALLOW"))): "$.syscalls[0]: no system call is named",
    json.dumps(profile(entry("read", name="write"))): "$.syscalls[0]: `name` and `names` exclude",
    json.dumps(profile(READ, architectures=["SCMP_ARCH_X86_46"])): "$.architectures[0]: unknown architecture",
    json.dumps(profile(READ, architectures=[], archMap=[])): "$: `architectures` and `archMap` exclude",
    json.dumps(
        profile(READ, architectures=["SCMP_ARCH_AARCH64"])
    ): "$: it does not cover x86_64, only SCMP_ARCH_AARCH64",
    json.dumps(
        profile(entry("read", includes={"caps": ["SYS_ADMIN"]}))
    ): "$.syscalls[0].includes.caps[0]: unknown capab",
    json.dumps(
        profile(entry("read", includes={"minKernel": "4"}))
    ): "$.syscalls[0].includes.minKernel: expected a version",
    json.dumps(profile(entry("read", excludes={"arch": ["x"]}))): "$.syscalls[0].excludes: unknown key `arch`",
    json.dumps(profile(entry("read\ud800"))): "$.syscalls[0].names[0]: unknown system call `read\\\\ud800`",
    json.dumps({"ociVersion": "1.0", "linux": {}}): "$.linux: this config.json has no seccomp",
    json.dumps(
        {"ociVersion": "1", "linux": {"seccomp": profile(entry("raed"))}}
    ): "$.linux.seccomp.syscalls[0].names[0]",
}


@pytest.mark.parametrize(("data", "message"), WRONG.items(), ids=range(len(WRONG)))
def test_one_clear_line(data: str, message: str) -> None:
    with pytest.raises(ProfileError) as caught:
        read_profile(data.encode("utf-8", "surrogatepass"))
    said = str(caught.value)
    assert message.replace("\\\\", "\\") in said
    assert "\n" not in said and said.isprintable() and len(said) < 300


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xfe{}",
        b" " * (10 << 20),
        b'{"a": "' + b"x" * (10 << 20) + b'"}',
        encoded(profile(*[entry("read " * 1000)] * 700)),
        encoded(profile(entry("x" * 1_000_000))),
    ],
    ids=["not UTF-8", "10 MB of nothing", "10 MB", "many names", "a long name"],
)
def test_large_and_strange_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(ProfileError) as caught:
        read_profile(data)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("archs", "caps"), [((), ()), (("x86_64", "x86_64"), ()), (("mips",), ()), (("x86_64", "mips"), ())]
)
def test_what_the_caller_gets_wrong(archs: tuple[str, ...], caps: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="expected some of x86_64"):
        read_profile(SHIPPED, archs, caps)
