"""What runtimes would not honour of a profile, and that libseccomp really does not."""

from __future__ import annotations

import itertools
import os
from typing import Any

import pyseccomp
import pytest
from stockade.model.syscalls import NAMES, numbers
from stockade.seccomp.emulate import run
from stockade.seccomp.honour import RELEASES, Finding, Kind, installed_libseccomp, released_libseccomp, unhonoured
from stockade.seccomp.profile import DOCKER_CAPS, NEWEST, read_profile

from tests.seccomp.profiles import SHIPPED, arg, encoded, entry, profile


def found(
    said: Any, runtime: str = "runc", known: frozenset[str] = NAMES, archs: tuple[str, ...] = ("x86_64",)
) -> list[Finding]:
    data = said if isinstance(said, bytes) else encoded(said)
    return unhonoured(read_profile(data, archs), archs[0], runtime, DOCKER_CAPS, NEWEST, known)


def kinds(said: Any, **how: Any) -> list[tuple[Kind, str]]:
    return [(one.kind, one.path) for one in found(said, **how)]


FIRST = "$.syscalls[0]"


def test_nothing_to_say_of_a_plain_profile() -> None:
    for runtime in ("runc", "crun"):
        assert kinds(profile(entry("read"), entry("socket", "ALLOW", arg(0, "EQ", 1))), runtime=runtime) == []


@pytest.mark.parametrize(
    ("said", "kind", "path", "words"),
    [
        ([entry("socket", "ALLOW", arg(0, "GE", 1), arg(0, "LE", 9))], Kind.SAME_ARGUMENT, f"{FIRST}.args", "OR"),
        ([entry("read", "ERRNO", errnoRet=1)], Kind.DEFAULT, FIRST, "dropped"),
        ([entry("read", "ERRNO", errnoRet=1), entry("read")], Kind.DEFAULT, FIRST, "exception to other rules on"),
        ([entry("read", "ERRNO", arg(0, "EQ", 1), errnoRet=9), entry("read")], Kind.SHADOWED, FIRST, "never looked at"),
        ([entry("read"), entry("read", "LOG")], Kind.ORDER, FIRST, "takes the first"),
        (
            [entry("read", "LOG", arg(0, "GE", 3)), entry("read", "ALLOW", arg(0, "LE", 3))],
            Kind.ORDER, FIRST, "does not define",
        ),
        ([entry("read", "ALLOW", arg(0, "LT", 0))], Kind.NEVER, f"{FIRST}.args", "no argument"),
        ([entry("read", "ALLOW", errnoRet=5)], Kind.NUMBER, f"{FIRST}.errnoRet", "SCMP_ACT_ALLOW"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_rules(said: list[dict[str, Any]], kind: Kind, path: str, words: str, runtime: str) -> None:
    matching = [one for one in found(profile(*said), runtime) if one.kind is kind]
    assert [one.path for one in matching] == [path]
    assert words in matching[0].message


def test_what_keeps_containers_from_starting() -> None:
    def fatal(said: Any, runtime: str) -> list[str]:
        return [one.path for one in found(said, runtime) if one.fatal]

    write = profile(entry("write", "NOTIFY"), listenerPath="/run/agent")
    assert (fatal(write, "runc"), fatal(write, "crun")) == ([FIRST], [])
    default = profile(default="NOTIFY", listenerPath="/run/agent")
    assert (fatal(default, "runc"), fatal(default, "crun")) == (["$.defaultAction"], [])
    deaf = profile(entry("read", "NOTIFY"))
    assert (fatal(deaf, "runc"), fatal(deaf, "crun")) == ([FIRST], [FIRST])
    number = profile(entry("read", "ALLOW", errnoRet=5))
    assert (fatal(number, "runc"), fatal(number, "crun")) == ([], [f"{FIRST}.errnoRet"])
    flags = profile(flags=["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "X"])
    assert fatal(flags, "runc") == ["$.flags[1]", "$.flags[2]"]
    assert fatal(flags, "crun") == ["$.flags[2]"]


def test_names_that_libseccomp_lacks() -> None:
    said = profile(entry("read mseal s390_runtime_instr"))
    old = released_libseccomp("2.5.5")
    (strange, absent) = [one for one in found(said, known=old) if one.kind is Kind.UNKNOWN_NAME][::-1]
    assert "`mseal`" in strange.message and not strange.harmless
    assert "`s390_runtime_instr`" in absent.message and absent.harmless
    assert [
        one.harmless for one in found(said, known=released_libseccomp("2.6.0")) if one.kind is Kind.UNKNOWN_NAME
    ] == [True]


def test_releases_grow() -> None:
    sets = [released_libseccomp(version) for version in RELEASES]
    assert all(one < other for one, other in itertools.pairwise(sets))
    assert "set_mempolicy_home_node" in released_libseccomp("2.5.4") - released_libseccomp("2.5.3")


def test_the_installed_library_is_asked() -> None:
    installed = installed_libseccomp()
    assert installed is not None
    version, names = installed
    assert version.count(".") == 2
    assert "read" in names and "_llseek" in names and "mseal" not in names
    assert [name for name in sorted(names) if pyseccomp.resolve_syscall(pyseccomp.system_arch(), name) == -1] == []


def test_multiplexed_calls() -> None:
    archs = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    socket = entry("socket", "ALLOW", arg(0, "NE", 38))
    both = profile(entry("socketcall"), socket, architectures=archs)
    assert (Kind.MULTIPLEXED, "$.syscalls[1]") in kinds(both, archs=("x86_64", "i386"))
    assert kinds(profile(entry("socketcall"), socket)) == []
    made_up = profile(socket, architectures=archs)
    assert (Kind.MULTIPLEXED, "$.syscalls") in kinds(made_up, archs=("x86_64", "i386"))


X86_64 = ["SCMP_ARCH_X86_64"]


def test_newer_calls() -> None:
    def newer(*names: str, archs: tuple[str, ...] = ("x86_64",), **said: Any) -> list[str]:
        asked = found(profile(*(entry(name) for name in names), **said), archs=archs)
        return [one.message for one in asked if one.kind is Kind.NEWER]

    assert "(39 on x86_64)" in newer("getpid", "read", architectures=X86_64)[0]
    three = [*X86_64, "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    assert "(39 on x86_64, 20 on i386, 0x40000027 on x32)" in newer("getpid", architectures=three)[0]
    mapped = [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []}]
    assert "(39 on x86_64)" in newer("getpid", archMap=mapped)[0]
    assert newer("read", architectures=X86_64) == [], "the number 0 is as good as none"
    assert newer("getpid") == [], "no architecture is named"
    assert newer("getpid", architectures=X86_64, defaultErrnoRet=38) == []
    for default in ("ALLOW", "LOG", "TRACE"):
        assert newer("getpid", architectures=X86_64, default=default) == []
    for default in ("KILL", "TRAP"):
        assert len(newer("getpid", architectures=X86_64, default=default)) == 1
    lacking = found(profile(entry("getpid mseal"), architectures=X86_64), known=NAMES - {"mseal"})
    assert "(39 on x86_64)" in next(one.message for one in lacking if one.kind is Kind.NEWER)


@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_architectures_that_start_nothing(runtime: str) -> None:
    def fatal(*others: str) -> list[tuple[str, str]]:
        said = profile(entry("getpid"), architectures=[*X86_64, *(f"SCMP_ARCH_{name}" for name in others)])
        return [(one.kind, one.path) for one in found(said, runtime) if one.fatal]

    assert fatal("X86", "MIPSEL", "RISCV64") == []
    assert fatal("S390X") == fatal("PARISC") == [(Kind.ARCHITECTURE, "$.architectures")]


def test_more_tests_than_crun_reads() -> None:
    said = profile(entry("read", "ALLOW", *(arg(at % 6, "EQ", at) for at in range(7))))
    assert (Kind.TESTS, f"{FIRST}.args") in kinds(said, runtime="crun")
    assert Kind.TESTS not in dict(kinds(said))


def test_the_shipped_profile() -> None:
    assert [one.kind for one in found(SHIPPED) if not one.harmless] == [Kind.ORDER]


def libseccomp(default: int, rules: list[tuple[int, str, list[Any]]]) -> bytes:
    filter_ = pyseccomp.SyscallFilter(default)
    for action, name, tests in rules:
        filter_.add_rule(action, name, *tests)
    with os.fdopen(os.memfd_create("filter"), "w+b") as file:
        filter_.export_bpf(file)
        file.seek(0)
        return file.read()


def test_libseccomp_is_as_we_say() -> None:
    def ask(program: bytes, call: str, first: int) -> int:
        return run(program, 0xC000003E, numbers("x86_64")[call], [first, 0, 0, 0, 0, 0])[0].errno

    refused, other = pyseccomp.ERRNO(1), pyseccomp.ERRNO(9)
    for rules in (
        [(pyseccomp.ALLOW, "read", []), (other, "read", [])],
        [(other, "read", []), (pyseccomp.ALLOW, "read", [])],
    ):
        first = 9 if rules[0][0] == other else 0
        assert ask(libseccomp(refused, rules), "read", 0) == first, "the first of two plain rules"
    tested = (other, "read", [pyseccomp.Arg(0, pyseccomp.EQ, 3)])
    for rules in ([(pyseccomp.ALLOW, "read", []), tested], [tested, (pyseccomp.ALLOW, "read", [])]):
        assert ask(libseccomp(refused, rules), "read", 3) == 0, "a plain rule shadows one with tests"
    mask = (pyseccomp.ALLOW, "read", [pyseccomp.Arg(0, pyseccomp.MASKED_EQ, 1, 3)])
    assert [ask(libseccomp(refused, [mask]), "read", value) for value in (3, 2)] == [0, 1], "bits beyond the mask drop"
