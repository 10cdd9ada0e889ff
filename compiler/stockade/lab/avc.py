"""Reads the kernel's access-vector denials from a console, and notices when one was lost."""

from __future__ import annotations

import re
from dataclasses import dataclass

_RECORD = re.compile(r"audit: type=(\d+) audit\(\d+\.\d{3}:(\d+)\): (.*)")
_DENIAL = re.compile(r"avc: +(denied|granted) +\{((?: \w+)+) \} for +(.+)")
_FIELD = re.compile(r'(\w+)=("[^"]*"|[^\s"]+)(?: +|$)')
# The kernel's own words for records that it dropped. What sel_write_load holds back is no record, but its complaint
# about each policy that a probe failed to load.
_DROPPED = re.compile(
    r"audit_lost=|(?<!\w)(?!sel_write_load:)\w+: \d+ callbacks suppressed|hold queue overflow|backlog limit exceeded"
)
_AVC = 1400


class ConsoleError(Exception):
    """The console cannot be taken as the kernel's word: the text says which line, and why."""


@dataclass(frozen=True, slots=True)
class Denial:
    """One denial: SELinux contexts, object class, permissions; `permissive` when it was only written down."""

    serial: int
    pid: int
    command: str
    scontext: str
    tcontext: str
    tclass: str
    permissions: frozenset[str]
    permissive: bool
    target: str | None

    def as_dict(self) -> dict[str, object]:
        """The denial as plain values for JSON."""
        return {
            "scontext": self.scontext,
            "tcontext": self.tcontext,
            "tclass": self.tclass,
            "permissions": sorted(self.permissions),
            "permissive": self.permissive,
        }

    def __str__(self) -> str:
        words = " ".join(sorted(self.permissions))
        return f"{self.scontext} may not {{ {words} }} on {self.tclass} {self.tcontext}"


def denials(console: str) -> tuple[Denial, ...]:
    """Every denial on the console, in the kernel's order.

    `ConsoleError` for a line that mentions a denial and cannot be read, for a grant, for a record the kernel says it
    dropped, and for a gap in its serial numbers: what is missing might have been the denial that mattered.
    """
    found: list[Denial] = []
    serials: set[int] = set()
    for number, line in enumerate(console.split("\n"), start=1):
        if _DROPPED.search(line):
            raise ConsoleError(f"console line {number}: the kernel dropped audit records: {line.strip()}")
        record = _RECORD.search(line)
        if record is None:
            if "avc:" in line:
                raise ConsoleError(f"console line {number}: a damaged denial: {line.strip()}")
            continue
        serials.add(int(record[2]))
        if int(record[1]) == _AVC:
            found.append(_denial(number, int(record[2]), record[3].strip()))
        elif "avc:" in line:
            raise ConsoleError(f"console line {number}: a denial inside a record of type {record[1]}: {line.strip()}")
    if serials:
        missing = sorted(set(range(min(serials), max(serials))) - serials)
        if missing:
            raise ConsoleError(f"audit records {', '.join(map(str, missing))} are missing from the console")
    return tuple(sorted(found, key=lambda denial: denial.serial))


def _denial(number: int, serial: int, text: str) -> Denial:
    shape = _DENIAL.fullmatch(text)
    if shape is None or shape[1] != "denied":
        raise ConsoleError(f"console line {number}: not a denial as the kernel writes one: {text}")
    fields: dict[str, str] = {}
    at = 0
    while at < len(shape[3]):
        field = _FIELD.match(shape[3], at)
        if field is None or field[1] in fields:
            raise ConsoleError(f"console line {number}: cannot be read after {shape[3][:at]!r}: {text}")
        fields[field[1]] = field[2]
        at = field.end()
    try:
        flag = fields["permissive"]
        if flag not in ("0", "1"):
            raise ConsoleError(f"console line {number}: permissive={flag}")
        return Denial(
            serial=serial,
            pid=int(fields["pid"]),
            command=_text(fields["comm"]),
            scontext=fields["scontext"],
            tcontext=fields["tcontext"],
            tclass=fields["tclass"],
            permissions=frozenset(shape[2].split()),
            permissive=flag == "1",
            target=next((_text(fields[name]) for name in ("path", "name") if name in fields), None),
        )
    except (KeyError, ValueError) as error:
        raise ConsoleError(f"console line {number}: {type(error).__name__} {error}: {text}") from error


def _text(value: str) -> str:
    """A string field: quoted, or in hexadecimal when it holds what would break the line."""
    if value.startswith('"'):
        return value[1:-1]
    return bytes.fromhex(value).decode("utf-8", "backslashreplace")
