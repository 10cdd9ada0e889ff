"""Denials in logs: audit.log as the kernel or as ausearch writes it, dmesg, journald as text or JSON, strace.

Every line is one of four: a denial, which is kept; a record that denies nothing; a record that could not be read, which
is kept with its place, for it may have been a denial; and no record at all.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from stockade.model.syscalls import ARCHITECTURES, NAMES, name_of

_AVC = re.compile(r"avc: +(denied|granted) +\{ ?([a-z0-9_ ]+?) ?\} +for +(.*)", re.IGNORECASE)
_FIELD = {
    name: re.compile(rf"(?:^|[ ,']){name}=(\"[^\"]*\"|[^\s\"']+)")
    for name in ("scontext", "tcontext", "tclass", "subj", "arch", "syscall", "code", "sig")
}
_SECCOMP = re.compile(r"type=(?:SECCOMP|1326)\b|\bSECCOMP auid=")
_USER = re.compile(r"type=(?:USER_AVC|1107)\b|\bUSER_AVC\b")
_MENTIONS = re.compile(r"avc: |type=(?:AVC|1400|SECCOMP|1326|USER_AVC|1107)\b")
_STRACE = re.compile(
    r"(?:\[pid +\d+\] |\d+ +)?(?:[\d.:]+ +)?([a-z][a-z0-9_]+)\(.*\)"
    r" += +(-?\d+|0x[0-9a-f]+|\?)(?: ([A-Z]+))?(?: \(.*\))?"
)
_LOST = re.compile(r"audit_lost=[1-9]|kauditd\w*: \d+ callbacks suppressed|hold queue overflow|backlog limit exceeded")
_RET_ALLOW = 0x7FFF0000
_TOKENS = {arch.token: name for name, arch in ARCHITECTURES.items() if name != "x32"}
_X32_BIT = 1 << 30
Key = TypeVar("Key")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a record was: a file's name, and a line counted from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(slots=True)
class Seen:
    """How often something was denied, and where first."""

    first: Place
    count: int = 0


Access = tuple[str, str, str, str]
"""SELinux type of the process, type of the object, class, permission."""


@dataclass(slots=True)
class Log:
    """All that logs say.

    `access` and `calls` (SELinux type or empty, call) are denials; `levels` has, for each pair of types, how often the
    levels differed; `unread` are records that could not be read; `others` counts what denies nothing.
    """

    access: dict[Access, Seen] = field(default_factory=dict)
    calls: dict[tuple[str, str], Seen] = field(default_factory=dict)
    levels: Counter[tuple[str, str]] = field(default_factory=Counter)
    unread: list[tuple[Place, str]] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    records: int = 0

    def read(self, file: str, lines: Iterable[str]) -> None:
        """Take in the lines of one log."""
        for number, line in enumerate(lines, start=1):
            self._line(Place(file, number), line.rstrip("\r\n"))

    def _line(self, place: Place, line: str) -> None:
        if line.startswith("{") and '"MESSAGE"' in line:
            try:
                said = json.loads(line)["MESSAGE"]
                # journald writes what is not UTF-8 as a list of bytes.
                line = bytes(said).decode("utf-8", "replace") if isinstance(said, list) else str(said)
            except (ValueError, TypeError) as error:
                self.unread.append((place, f"a journal entry that is no JSON: {error}"))
                return
        if _USER.search(line):
            self.others["of a daemon's own objects, which no kernel policy decides"] += 1
        elif match := _AVC.search(line):
            self._avc(place, match)
        elif _SECCOMP.search(line):
            self._seccomp(place, line)
        elif _MENTIONS.search(line):
            self.unread.append((place, "a record of a denial that cannot be read"))
        elif match := _STRACE.fullmatch(line.strip()):
            self._traced(place, match)
        elif _LOST.search(line):
            self.unread.append((place, "the kernel dropped records here"))
        elif line.strip():
            self.others["no record of a denial"] += 1

    def _avc(self, place: Place, match: re.Match[str]) -> None:
        self.records += 1
        fields = {name: _field(name, match[3]) for name in ("scontext", "tcontext", "tclass")}
        source, target = (str(fields[name] or "").split(":", 3) for name in ("scontext", "tcontext"))
        if len(source) < 3 or len(target) < 3 or not fields["tclass"]:
            self.unread.append((place, "a denial without scontext, tcontext or tclass"))
            return
        if match[1].lower() == "granted":
            self.others["granted"] += 1
            return
        if source[3:] != target[3:]:
            self.levels[source[2], target[2]] += 1
        for permission in match[2].split():
            self._count(self.access, (source[2], target[2], str(fields["tclass"]), permission), place)

    def _seccomp(self, place: Place, line: str) -> None:
        self.records += 1
        said = {name: _field(name, line) for name in ("subj", "arch", "syscall", "code")}
        try:
            call = _call(str(said["arch"]), str(said["syscall"]))
            answer = int(str(said["code"]), 16) & 0xFFFF0000 if said["code"] else None
        except ValueError as error:
            self.unread.append((place, str(error)))
            return
        if answer == _RET_ALLOW:
            self.others["granted"] += 1
            return
        context = str(said["subj"] or "").split(":", 3)
        self._count(self.calls, (context[2] if len(context) >= 3 else "", call), place)

    def _traced(self, place: Place, match: re.Match[str]) -> None:
        if match[1] not in NAMES:
            self.others["no record of a denial"] += 1
        elif match[3] in ("EPERM", "EACCES", "ENOSYS"):
            self.records += 1
            self._count(self.calls, ("", match[1]), place)
        else:
            self.others["granted"] += 1

    @staticmethod
    def _count(table: dict[Key, Seen], key: Key, place: Place) -> None:
        table.setdefault(key, Seen(place)).count += 1


def _field(name: str, text: str) -> str | None:
    match = _FIELD[name].search(text)
    return match[1].strip('"') if match else None


def _call(arch: str, said: str) -> str:
    """The name of a call; ValueError saying why there is none."""
    if said in NAMES:
        return said
    try:
        name, number = ARCHITECTURES[arch].name if arch in ARCHITECTURES else _TOKENS[int(arch, 16)], int(said)
    except (KeyError, ValueError):
        raise ValueError(f"no such architecture and call: arch={arch} syscall={said}") from None
    found = name_of("x32" if name == "x86_64" and number & _X32_BIT else name, number)
    if found is None:
        raise ValueError(f"{name} has no call with the number {number}")
    return found
