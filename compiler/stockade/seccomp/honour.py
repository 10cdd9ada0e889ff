"""What a container runtime would not honour of a seccomp profile, entry by entry, and why it matters."""

from __future__ import annotations

import ctypes
import errno
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from stockade.model.seccomp import Action
from stockade.model.syscalls import ARCHITECTURES, NAMES, X32_BIT, known_by, numbers
from stockade.seccomp.profile import Profile, covered, told_archs
from stockade.seccomp.profile_format import Document, Entry, docker_name
from stockade.seccomp.profile_rules import alternatives

RUNTIMES = ("runc", "crun")
FLAGS: Mapping[str, frozenset[str]] = {
    "runc": frozenset(f"SECCOMP_FILTER_FLAG_{name}" for name in ("TSYNC", "LOG", "SPEC_ALLOW")),
    "crun": frozenset(f"SECCOMP_FILTER_FLAG_{name}" for name in ("TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV")),
}
UNREAD = frozenset(f"SCMP_ARCH_{name}" for name in "PARISC PARISC64 M68K SH SHEB".split())
"""Architectures of the OCI specification that runc does not read."""
BIG_ENDIAN = frozenset(
    f"SCMP_ARCH_{name}" for name in "MIPS MIPS64 MIPS64N32 PPC PPC64 S390 S390X PARISC PARISC64 M68K SHEB".split()
)
PERMISSIVE = (Action.ALLOW, Action.LOG, Action.TRACE)
"""The defaults with which runc leaves newer calls to the profile."""
MAX_TESTS = 6
"""So many elements of `args` crun reads; it passes over the others."""
RELEASES: Mapping[str, tuple[str, frozenset[str]]] = {
    "2.5.3": ("5.15", frozenset()),
    "2.5.4": ("5.17", frozenset(["set_mempolicy_home_node"])),
    "2.5.5": ("6.7", frozenset()),
    "2.6.0": ("6.13", frozenset()),
}
"""libseccomp's releases by its list of changes: the kernel whose calls each knows, and what the table dates later.

Distributions add calls to a release without changing its number; `installed_libseccomp` asks the library itself.
"""


class Kind(StrEnum):
    """Why something is not honoured."""

    SAME_ARGUMENT = "same-argument"
    TESTS = "too-many-tests"
    UNKNOWN_NAME = "unknown-name"
    DEFAULT = "equal-to-default"
    SHADOWED = "shadowed"
    ORDER = "order"
    NEVER = "never-matches"
    NOTIFY = "notify"
    FLAG = "flag"
    NUMBER = "errno-without-use"
    NEWER = "newer-calls"
    MULTIPLEXED = "multiplexed"
    ARCHITECTURE = "architecture"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing at a JSON path; `fatal`: no container starts, `harmless`: no call is answered otherwise."""

    kind: Kind
    path: str
    message: str
    fatal: bool = False
    harmless: bool = False


def unhonoured(
    profile: Profile, host: str, runtime: str, caps: Collection[str], kernel: tuple[int, int], known: Collection[str]
) -> list[Finding]:
    """All that `runtime` (runc or crun) does not do as the profile reads, for a container on `host`.

    `known` are the names that the host's libseccomp has. Sorted by path in the order of the profile.
    """
    document = profile.document
    entries = [entry for entry in document.entries if entry.applies(docker_name(host), caps, kernel)]
    found: list[Finding] = []
    by_call: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        for _, name in entry.names:
            by_call[name].append(entry)
    for entry in entries:
        found += _of_entry(entry, profile, by_call, known, runtime)
    for conflict in profile.conflicts:
        way = "libseccomp takes the first" if conflict.ordered else "libseccomp does not define which one wins"
        message = f"`{conflict.call}` is answered otherwise by {conflict.second}, and both match: {way}"
        found.append(Finding(Kind.ORDER, conflict.first, message))
    for path, flag in document.flags:
        if flag not in FLAGS[runtime]:
            found.append(Finding(Kind.FLAG, path, f"{runtime} does not know `{flag}`", fatal=True))
    for call in profile.made_up:
        message = f"`{call}` of i386 gets rules that libseccomp makes up out of those for the calls that it carries"
        found.append(Finding(Kind.MULTIPLEXED, f"{document.path}.syscalls", message))
    found += _notify(profile, entries, runtime)
    if document.default_number is not None and document.default.action not in (Action.ERRNO, Action.TRACE):
        path = f"{document.path}.defaultErrnoRet"
        found.append(_number(path, document.default_action, runtime))
    found += _architectures(document, host, runtime)
    if runtime == "runc":
        found += _newer(document, host, entries, known)
    order = {entry.path: at for at, entry in enumerate(entries)}
    return sorted(found, key=lambda one: (order.get(one.path, -1), one.path, one.kind, one.message))


def _of_entry(
    entry: Entry, profile: Profile, by_call: Mapping[str, list[Entry]], known: Collection[str], runtime: str
) -> Iterator[Finding]:
    if entry.number is not None and entry.verdict.action not in (Action.ERRNO, Action.TRACE):
        yield _number(f"{entry.path}.errnoRet", entry.action, runtime)
    if entry.verdict == profile.document.default:
        others = sorted(
            name for _, name in entry.names if any(other.verdict != entry.verdict for other in by_call[name])
        )
        message = "its answer is the default's, so it is dropped"
        if others:
            message += f"; as an exception to other rules on {_some(others)} it does nothing"
        yield Finding(Kind.DEFAULT, entry.path, message, harmless=not others)
        return
    if entry.either:
        twice = sorted({t.index for t in entry.tests if sum(o.index == t.index for o in entry.tests) > 1})
        which = ", ".join(map(str, twice))
        message = (
            f"argument {which} is tested more than once, so each of its {len(entry.tests)} tests is a rule alone: OR"
        )
        yield Finding(Kind.SAME_ARGUMENT, f"{entry.path}.args", message)
    if runtime == "crun" and len(entry.tests) > MAX_TESTS:
        message = f"crun reads the first {MAX_TESTS} of these {len(entry.tests)} tests"
        yield Finding(Kind.TESTS, f"{entry.path}.args", message)
    if entry.tests and not alternatives(entry):
        yield Finding(Kind.NEVER, f"{entry.path}.args", "no argument passes these tests", harmless=True)
    strange = sorted(name for _, name in entry.names if name not in known and name in NAMES)
    absent = sorted(name for _, name in entry.names if name not in known and name not in NAMES)
    if strange:
        message = f"this libseccomp has no {_some(strange)}: skipped, the default answers"
        yield Finding(Kind.UNKNOWN_NAME, entry.path, message)
    if absent:
        yield Finding(Kind.UNKNOWN_NAME, entry.path, f"no {_some(absent)} here: skipped", harmless=True)
    if entry.tests:
        shadowed = sorted(
            name
            for _, name in entry.names
            if any(not other.tests and other.verdict != profile.document.default for other in by_call[name])
        )
        if shadowed:
            message = f"a rule without tests answers {_some(shadowed)}, so these tests are never looked at"
            yield Finding(Kind.SHADOWED, entry.path, message)
        yield from _multiplexed(entry, profile)


def _architectures(document: Document, host: str, runtime: str) -> Iterator[Finding]:
    """Architectures for which no filter can be made together with that of the host."""
    told = told_archs(document, host)
    unread = sorted(set(told) & UNREAD)
    path = f"{document.path}.{'architectures' if document.arch_map is None else 'archMap'}"
    if runtime == "runc" and unread:
        yield Finding(Kind.ARCHITECTURE, path, f"runc does not know {_some(unread)}", fatal=True)
    elif others := sorted(set(told) & BIG_ENDIAN):
        message = f"libseccomp puts {_some(others)} into no filter with {host}: their byte orders differ"
        yield Finding(Kind.ARCHITECTURE, path, message, fatal=True)


def _newer(document: Document, host: str, entries: list[Entry], known: Collection[str]) -> Iterator[Finding]:
    """The numbers from which on runc answers ENOSYS, on each architecture of which it is told."""
    if document.default.action in PERMISSIVE or document.default.errno == errno.ENOSYS:
        return
    named = {name for entry in entries for _, name in entry.names} & set(known)
    told = told_archs(document, host)
    highest = {}
    for arch, its in ARCHITECTURES.items():
        # Where none is named, or only the call with the number 0, runc takes it that there are no calls.
        if its.oci in told and (last := max((nr for call, nr in numbers(arch).items() if call in named), default=0)):
            highest[arch] = last
    if highest:
        above = ", ".join(f"{last if last < X32_BIT else hex(last)} on {arch}" for arch, last in highest.items())
        message = f"numbers above the highest that is named ({above}) get ENOSYS, whatever the default says"
        yield Finding(Kind.NEWER, f"{document.path}.defaultAction", message)


def _multiplexed(entry: Entry, profile: Profile) -> Iterator[Finding]:
    tested = {name for _, name in entry.names}
    if tested & {"socket", "socketpair"} and any(
        ARCHITECTURES["i386"].oci in covered(profile.document, host) for host in profile.oci
    ):
        allowed = {rule.call for rule in profile.policy.rules if rule.verdict.action in (Action.ALLOW, Action.LOG)}
        if "socketcall" in allowed:
            message = "on i386 `socketcall` opens the same sockets, its arguments in memory where no filter sees them"
            yield Finding(Kind.MULTIPLEXED, entry.path, message)


def _notify(profile: Profile, entries: list[Entry], runtime: str) -> Iterator[Finding]:
    document = profile.document
    asking = [entry for entry in entries if entry.verdict.action is Action.NOTIFY]
    if document.default.action is Action.NOTIFY and runtime == "runc":
        yield Finding(Kind.NOTIFY, f"{document.path}.defaultAction", "runc refuses NOTIFY as the default", fatal=True)
    for entry in asking:
        if runtime == "runc" and any(name == "write" for _, name in entry.names):
            yield Finding(Kind.NOTIFY, entry.path, "runc refuses NOTIFY for `write`, which it needs itself", fatal=True)
    if (asking or document.default.action is Action.NOTIFY) and not document.listener:
        path = asking[0].path if asking else f"{document.path}.defaultAction"
        yield Finding(Kind.NOTIFY, path, "NOTIFY without a listenerPath: nobody is there to be asked", fatal=True)


def _number(path: str, action: str, runtime: str) -> Finding:
    if runtime == "crun":
        return Finding(Kind.NUMBER, path, f"crun refuses an errno beside {action}", fatal=True)
    return Finding(Kind.NUMBER, path, f"{action} carries no errno; runc ignores it", harmless=True)


def _some(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:8])
    return shown + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def released_libseccomp(version: str) -> frozenset[str]:
    """The calls that a release of libseccomp has. KeyError for one that is not in `RELEASES`."""
    kernel, more = RELEASES[version]
    return known_by(kernel) | more


def installed_libseccomp() -> tuple[str, frozenset[str]] | None:
    """The version of this machine's libseccomp and the names of ours that it has; None where there is none."""
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return None

    class Version(ctypes.Structure):
        _fields_ = (("major", ctypes.c_uint), ("minor", ctypes.c_uint), ("micro", ctypes.c_uint))

    library.seccomp_version.restype = ctypes.POINTER(Version)
    its = library.seccomp_version().contents
    library.seccomp_syscall_resolve_name.argtypes = (ctypes.c_char_p,)
    library.seccomp_syscall_resolve_name.restype = ctypes.c_int
    unknown = -1
    names = frozenset(name for name in NAMES if library.seccomp_syscall_resolve_name(name.encode()) != unknown)
    return f"{its.major}.{its.minor}.{its.micro}", names
