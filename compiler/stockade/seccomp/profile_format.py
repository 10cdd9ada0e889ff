"""What a profile says, as read: Docker's extended format and the OCI object, checked word by word, nothing decided."""

from __future__ import annotations

import errno
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from stockade.model.names import CAPABILITIES
from stockade.model.seccomp import Action, Verdict
from stockade.model.syscalls import ARCHITECTURES
from stockade.seccomp.profile_json import Node, ProfileError, nearest, parse, shown

ACTIONS: Mapping[str, Action] = {
    "SCMP_ACT_ALLOW": Action.ALLOW,
    "SCMP_ACT_LOG": Action.LOG,
    "SCMP_ACT_TRACE": Action.TRACE,
    "SCMP_ACT_NOTIFY": Action.NOTIFY,
    "SCMP_ACT_ERRNO": Action.ERRNO,
    "SCMP_ACT_TRAP": Action.TRAP,
    "SCMP_ACT_KILL": Action.KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": Action.KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": Action.KILL_PROCESS,
}
OPERATORS = frozenset(f"SCMP_CMP_{name}" for name in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"))
TOKENS = frozenset(
    f"SCMP_ARCH_{name}"
    for name in (
        "X86 X86_64 X32 ARM AARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE S390 S390X "
        "PARISC PARISC64 RISCV64 LOONGARCH64 M68K SH SHEB"
    ).split()
)
"""Every architecture that the OCI specification names."""
GO_NAMES = frozenset(
    "386 x86 amd64 x32 arm arm64 loong64 mips mips64 mips64n32 mipsle mips64le mips64le mipsel mipsel64 mipsel64n32 "
    "mips64p32 mips64p32le ppc ppc64 ppc64le riscv64 s390 s390x parisc parisc64".split()
)
"""The architectures by which includes and excludes may ask: the names of the Go language and libseccomp's."""
ERRNO = {name: number for name, number in vars(errno).items() if name.startswith("E") and isinstance(number, int)}
_TOP = (
    "defaultAction defaultErrnoRet defaultErrno architectures archMap flags listenerPath listenerMetadata syscalls"
).split()
_ENTRY = "name names action errnoRet errno args comment includes excludes".split()
_KERNEL = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})\Z")
WORD64 = (1 << 64) - 1
EPERM = 1


@dataclass(frozen=True, slots=True)
class Test:
    """One element of `args`: argument `index` against `value` by `op` (without SCMP_CMP_); `two` is for MASKED_EQ."""

    index: int
    op: str
    value: int
    two: int


@dataclass(frozen=True, slots=True)
class When:
    """`includes` or `excludes`: capabilities without CAP_, architectures by Go's names, the least kernel."""

    caps: frozenset[str] = frozenset()
    arches: frozenset[str] = frozenset()
    kernel: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One element of `syscalls` at a JSON path; `number` is its errno or trace data as written, None if absent."""

    path: str
    names: tuple[tuple[str, str], ...]
    action: str
    number: int | None
    verdict: Verdict
    tests: tuple[Test, ...]
    includes: When
    excludes: When

    @property
    def either(self) -> bool:
        """Whether one argument is tested twice: runc and crun then make every test a rule of its own."""
        return len({test.index for test in self.tests}) < len(self.tests)

    def applies(self, host: str, caps: Collection[str], kernel: tuple[int, int]) -> bool:
        """Whether the entry holds on a host of that Docker architecture for a container with these capabilities."""
        held, yes, no = frozenset(caps), self.includes, self.excludes
        if host in no.arches or no.caps & held or (no.kernel is not None and kernel >= no.kernel):
            return False
        wanted = not yes.arches or host in yes.arches
        return wanted and yes.caps <= held and (yes.kernel is None or kernel >= yes.kernel)


@dataclass(frozen=True, slots=True)
class Document:
    """A profile. `architectures` and the keys and values of `arch_map` are OCI names; None where the key is absent."""

    default: Verdict
    default_action: str
    default_number: int | None
    architectures: tuple[str, ...] | None
    arch_map: Mapping[str, tuple[str, ...]] | None
    flags: tuple[tuple[str, str], ...]
    listener: bool
    entries: tuple[Entry, ...]
    path: str

    @property
    def asks_kernel(self) -> bool:
        """Whether some entry depends on the version of the kernel."""
        return any(when.kernel for entry in self.entries for when in (entry.includes, entry.excludes))

    @property
    def asks_caps(self) -> bool:
        """Whether some entry depends on capabilities."""
        return any(when.caps for entry in self.entries for when in (entry.includes, entry.excludes))


def read(data: bytes) -> Document:
    """The profile in JSON text: Docker's format, an OCI `linux.seccomp` object, or an OCI config.json that has one.

    ProfileError names the path of the first thing that is wrong.
    """
    value, path = parse(data), "$"
    if "ociVersion" in value:
        linux = value.get("linux")
        if not isinstance(linux, dict) or not isinstance(linux.get("seccomp"), dict):
            raise ProfileError("$.linux", "this config.json has no seccomp profile")
        value, path = linux["seccomp"], "$.linux.seccomp"
    top = Node(value, path, _TOP)
    action, number, verdict = _answer(top, "defaultAction", "defaultErrnoRet", "defaultErrno")
    if top.has("architectures") and top.has("archMap"):
        raise ProfileError(path, "`architectures` and `archMap` exclude each other")
    tokens = [_token(*item) for item in top.texts("architectures")]
    entries = tuple(_entry(place, item) for place, item in top.listed("syscalls"))
    for key in ("listenerPath", "listenerMetadata"):
        if top.has(key):
            top.text(key)
    return Document(
        verdict,
        action,
        number,
        tuple(tokens) if top.has("architectures") else None,
        _arch_map(top) if top.has("archMap") else None,
        tuple(top.texts("flags")),
        top.has("listenerPath"),
        entries,
        path,
    )


def kernel_version(text: str) -> tuple[int, int] | None:
    """`6.1` as (6, 1); None where it is not two numbers."""
    found = _KERNEL.match(text)
    return (int(found[1]), int(found[2])) if found else None


def _token(path: str, name: str) -> str:
    if name not in TOKENS:
        raise ProfileError(path, f"unknown architecture `{shown(name)}`{nearest(name, TOKENS)}")
    return name


def _arch_map(top: Node) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for path, item in top.listed("archMap"):
        row = Node(item, path, ("architecture", "subArchitectures"))
        main = _token(f"{path}.architecture", row.text("architecture"))
        if main in found:
            raise ProfileError(f"{path}.architecture", f"{main} is mapped twice")
        found[main] = tuple(_token(*sub) for sub in row.texts("subArchitectures"))
    return found


def _answer(node: Node, action_key: str, number_key: str, name_key: str) -> tuple[str, int | None, Verdict]:
    """(action as written, number, verdict); the number may be given as such, by name, or both if they agree."""
    word = node.text(action_key)
    if word not in ACTIONS:
        raise ProfileError(f"{node.path}.{action_key}", f"unknown action `{shown(word)}`{nearest(word, ACTIONS)}")
    action = ACTIONS[word]
    number = node.number(number_key, 0xFFFF) if node.has(number_key) else None
    # Go programs write an absent name as an empty text.
    if node.has(name_key) and (name := node.text(name_key)):
        if name not in ERRNO:
            raise ProfileError(f"{node.path}.{name_key}", f"unknown error `{shown(name)}`{nearest(name, ERRNO)}")
        if number is not None and number != ERRNO[name]:
            raise ProfileError(f"{node.path}.{name_key}", f"{name} is {ERRNO[name]}, yet {number_key} is {number}")
        number = ERRNO[name]
    said = EPERM if number is None else number
    if action is Action.TRACE:
        return word, number, Verdict(action, data=said)
    if action is not Action.ERRNO:
        return word, number, Verdict(action)
    if not 1 <= said <= 4095:
        raise ProfileError(f"{node.path}.{number_key}", f"errno {said} is not between 1 and 4095")
    return word, number, Verdict(action, said)


def _entry(path: str, value: Any) -> Entry:
    node = Node(value, path, _ENTRY)
    names = node.texts("names")
    if node.has("name") and node.text("name"):
        if names:
            raise ProfileError(path, "`name` and `names` exclude each other")
        names = [(f"{path}.name", node.text("name"))]
    if not names:
        raise ProfileError(path, "no system call is named")
    if node.has("comment"):
        node.text("comment")
    action, number, verdict = _answer(node, "action", "errnoRet", "errno")
    tests = tuple(_test(place, item) for place, item in node.listed("args"))
    when = (_when(node, key) for key in ("includes", "excludes"))
    return Entry(path, tuple(names), action, number, verdict, tests, *when)


def _test(path: str, value: Any) -> Test:
    node = Node(value, path, ("index", "value", "valueTwo", "op"))
    op = node.text("op")
    if op not in OPERATORS:
        raise ProfileError(f"{path}.op", f"unknown operator `{shown(op)}`{nearest(op, OPERATORS)}")
    # Go programs leave out a zero.
    index, number, two = node.number("index", 5, 0), node.number("value", WORD64, 0), node.number("valueTwo", WORD64, 0)
    return Test(index, op.removeprefix("SCMP_CMP_"), number, two)


def _when(entry: Node, key: str) -> When:
    if not entry.has(key):
        return When()
    node = Node(entry.value[key], f"{entry.path}.{key}", ("caps", "arches", "minKernel"))
    caps, arches = [], []
    for path, name in node.texts("caps"):
        short = name.removeprefix("CAP_")
        if short == name or short not in CAPABILITIES:
            known = [f"CAP_{cap}" for cap in CAPABILITIES]
            raise ProfileError(path, f"unknown capability `{shown(name)}`{nearest(name, known)}")
        caps.append(short)
    for path, name in node.texts("arches"):
        if name not in GO_NAMES:
            raise ProfileError(path, f"unknown architecture `{shown(name)}`{nearest(name, GO_NAMES)}")
        arches.append(name)
    kernel = None
    if node.has("minKernel") and node.text("minKernel"):
        kernel = kernel_version(node.text("minKernel"))
        if kernel is None:
            raise ProfileError(f"{node.path}.minKernel", "expected a version of two numbers, such as 4.8")
    return When(frozenset(caps), frozenset(arches), kernel)


def docker_name(arch: str) -> str:
    """Docker's name for one of our architectures."""
    return ARCHITECTURES[arch].docker
