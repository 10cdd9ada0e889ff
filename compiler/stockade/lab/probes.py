"""What the guest holds and what is tried in it, as data: the fixtures, the probes, and the default plan."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

_PATH = re.compile(r"(/(?!\.\.?(/|$))[^/\s\\\"]+)+")
_CONTEXT = re.compile(r"\w+:\w+:\w+:s\d+(:c\d+([.,]c\d+)*)?(-s\d+(:c\d+([.,]c\d+)*)?)?")


class Verdict(StrEnum):
    """What a policy, or a kernel, says to an attempt."""

    ALLOWED = "allowed"
    DENIED = "denied"


class Kind(StrEnum):
    """What a fixture is. Inside a `tmpfs` every label is the mount's."""

    TMPFS = "tmpfs"
    FOLDER = "folder"
    FILE = "file"
    PROGRAM = "program"
    SOCKET = "socket"


class Operation(StrEnum):
    """What a probe tries; `write`, `relabel` and `kill` take an argument: the text, the new context, the signal.

    `execute` wants a program that answers when it runs: a `PROGRAM` fixture copied from the image's own probe.
    """

    READ = "read"
    WRITE = "write"
    CREATE = "create"
    UNLINK = "unlink"
    MKDIR = "mkdir"
    LIST = "list"
    CHMOD = "chmod"
    RELABEL = "relabel"
    CONNECT = "connect"
    EXECUTE = "execute"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class Fixture:
    """One thing below `/lab`, made before the kernel enforces. `label` None: the surrounding mount's.

    `detail`: a file's text, the path in the image a program is copied from, the context of a socket's listener.
    """

    kind: Kind
    path: str
    label: str | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """One attempt: a process in `context`, entered by executing `entry`, tries `operation` on `target`.

    A denied probe may name the `tclass` and `permission` that must be what the kernel refused.
    """

    name: str
    context: str
    entry: str
    operation: Operation
    target: str
    expect: Verdict
    argument: str = ""
    tclass: str | None = None
    permission: str | None = None


def encode(fixtures: Sequence[Fixture], probes: Sequence[Probe]) -> bytes:
    """The plan as the guest reads it: one tab-separated line each. `ValueError` names what cannot be said in it."""
    lines: list[tuple[str, ...]] = []
    for fixture in fixtures:
        _check(fixture.path.startswith("/lab/") and _PATH.fullmatch(fixture.path), "path below /lab", fixture.path)
        _check(fixture.label is None or _CONTEXT.fullmatch(fixture.label), "context", fixture.label)
        _check((fixture.label is None) <= (fixture.kind not in (Kind.TMPFS, Kind.SOCKET)), "label for", fixture.path)
        lines.append((fixture.kind, fixture.path, fixture.label or "-", fixture.detail))
    names: set[str] = set()
    for probe in probes:
        _check(re.fullmatch(r"[a-z0-9][a-z0-9-]*", probe.name) and probe.name not in names, "new name", probe.name)
        names.add(probe.name)
        _check(_CONTEXT.fullmatch(probe.context), "context", probe.context)
        _check(_PATH.fullmatch(probe.entry), "path", probe.entry)
        _check((probe.tclass is None) == (probe.permission is None), "class and permission of", probe.name)
        _check(probe.tclass is None or probe.expect is Verdict.DENIED, "denial expected of", probe.name)
        lines.append(("probe", probe.context, probe.entry, probe.operation, probe.target, probe.argument))
    for line in lines:
        _check(all(field.isprintable() for field in line), "printable line", repr(line))
    return "".join("\t".join(line) + "\n" for line in lines).encode()


def _check(holds: object, wanted: str, given: object) -> None:
    if not holds:
        raise ValueError(f"not a {wanted}: {given}")


def _object(name: str, level: str = "s0") -> str:
    return f"system_u:object_r:{name}:{level}"


def _process(name: str, level: str) -> str:
    return f"system_u:system_r:{name}:{level}"


_ORDINARY = _process("container_t", "s0:c1,c2")
_CONTROL = _process("control_t", "s0-s0:c0.c1023")
_SUPER = _process("super_t", "s0-s0:c0.c1023")
_ENTRY = "/lab/own/probe"
_SOURCE = "/usr/lib/lab/probe"

FIXTURES: tuple[Fixture, ...] = (
    Fixture(Kind.TMPFS, "/lab/own", _object("data_t", "s0:c1,c2")),
    Fixture(Kind.PROGRAM, _ENTRY, None, _SOURCE),
    Fixture(Kind.FILE, "/lab/own/data", None, "mine"),
    Fixture(Kind.TMPFS, "/lab/other", _object("data_t", "s0:c3,c4")),
    Fixture(Kind.FILE, "/lab/other/data", None, "theirs"),
    Fixture(Kind.FILE, "/lab/other-pair", _object("data_t", "s0:c3,c4"), "theirs"),
    Fixture(Kind.FILE, "/lab/half-pair", _object("data_t", "s0:c1,c3"), "theirs"),
    Fixture(Kind.FILE, "/lab/private", _object("private_t"), "settings"),
    Fixture(Kind.FILE, "/lab/os", _object("os_t"), "the host's"),
    Fixture(Kind.SOCKET, "/lab/api.sock", _object("api_socket_t"), _process("api_t", "s0")),
)


def _ordinary(
    name: str, operation: Operation, target: str, denied: tuple[str, str] | None = None, argument: str = ""
) -> Probe:
    expect = Verdict.ALLOWED if denied is None else Verdict.DENIED
    tclass, permission = denied or (None, None)
    return Probe(name, _ORDINARY, _ENTRY, operation, target, expect, argument, tclass, permission)


# The refusals a container host lives by. The allowed ones show that the fixtures work: a denial is the policy's.
DEFAULT: tuple[Probe, ...] = (
    _ordinary("own-data-read", Operation.READ, "/lab/own/data"),
    _ordinary("own-data-write", Operation.WRITE, "/lab/own/data", argument="more"),
    _ordinary("own-data-create", Operation.CREATE, "/lab/own/new"),
    _ordinary("own-program-execute", Operation.EXECUTE, "/lab/own/probe"),
    _ordinary("os-read", Operation.READ, "/lab/os"),
    _ordinary("os-write", Operation.WRITE, "/lab/os", ("file", "write")),
    _ordinary("private-read", Operation.READ, "/lab/private", ("file", "read")),
    _ordinary("private-write", Operation.WRITE, "/lab/private", ("file", "write")),
    _ordinary("api-socket-connect", Operation.CONNECT, "/lab/api.sock", ("sock_file", "write")),
    _ordinary("api-socket-write", Operation.WRITE, "/lab/api.sock", ("sock_file", "write")),
    _ordinary("other-pair-read", Operation.READ, "/lab/other-pair", ("file", "read")),
    _ordinary("other-pair-write", Operation.WRITE, "/lab/other-pair", ("file", "write")),
    _ordinary("other-pair-mount", Operation.READ, "/lab/other/data", ("dir", "search")),
    _ordinary("half-pair-read", Operation.READ, "/lab/half-pair", ("file", "read")),
    _ordinary("permissive", Operation.WRITE, "/sys/fs/selinux/enforce", ("security", "setenforce"), "0"),
    _ordinary("policy-load", Operation.WRITE, "/sys/fs/selinux/load", ("security", "load_policy"), "policy"),
    Probe("control-private-read", _CONTROL, _ENTRY, Operation.READ, "/lab/private", Verdict.ALLOWED),
    Probe(
        "control-private-write",
        _CONTROL,
        _ENTRY,
        Operation.WRITE,
        "/lab/private",
        Verdict.DENIED,
        tclass="file",
        permission="write",
    ),
    Probe("super-private-write", _SUPER, _ENTRY, Operation.WRITE, "/lab/private", Verdict.ALLOWED, "settings"),
    Probe("super-api-socket-connect", _SUPER, _ENTRY, Operation.CONNECT, "/lab/api.sock", Verdict.ALLOWED),
)
