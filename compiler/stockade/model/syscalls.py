"""The system calls the kernel has: their numbers on each architecture, and the architectures' tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from types import MappingProxyType

from stockade.model.syscalls_arguments import argument, arguments_of, constant, constants_of, symbol_of
from stockade.model.syscalls_multiplexed import CARRIES
from stockade.model.syscalls_since import OLDEST, SINCE
from stockade.model.syscalls_table import COLUMNS, KERNEL, TABLE

__all__ = [
    "ARCHITECTURES",
    "CARRIES",
    "KERNEL",
    "NAMES",
    "NATIVE",
    "X32_BIT",
    "Architecture",
    "argument",
    "arguments_of",
    "constant",
    "constants_of",
    "introduced",
    "known_by",
    "name_of",
    "numbers",
    "symbol_of",
]

X32_BIT = 0x40000000


@dataclass(frozen=True, slots=True)
class Architecture:
    """One system-call ABI: the token the kernel puts in `seccomp_data.arch`, and its name in OCI and Docker profiles.

    x32 shares the token of x86_64 and is told apart by bit 30 of the number. All are little-endian. `registers` is how
    many bits of an argument the kernel obeys: of a 32-bit ABI's it drops the upper half, x32 has whole registers.
    """

    name: str
    token: int
    bits: int
    oci: str
    docker: str
    registers: int
    byte_order: str = "little"


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            Architecture("x86_64", 0xC000003E, 64, "SCMP_ARCH_X86_64", "amd64", 64),
            Architecture("aarch64", 0xC00000B7, 64, "SCMP_ARCH_AARCH64", "arm64", 64),
            Architecture("i386", 0x40000003, 32, "SCMP_ARCH_X86", "x86", 32),
            Architecture("x32", 0xC000003E, 32, "SCMP_ARCH_X32", "x32", 64),
            Architecture("arm", 0x40000028, 32, "SCMP_ARCH_ARM", "arm", 32),
            Architecture("riscv64", 0xC00000F3, 64, "SCMP_ARCH_RISCV64", "riscv64", 64),
        )
    }
)

NATIVE = ("x86_64", "aarch64")
"""The architectures a filter is compiled for; every other one is foreign."""

_ROWS = tuple(line.split(" ") for line in TABLE.splitlines())

NAMES: frozenset[str] = frozenset(row[0] for row in _ROWS)
"""Every name that any architecture of the table has."""


@cache
def numbers(arch: str) -> Mapping[str, int]:
    """Name to number on `arch`, in order of number; x32 numbers carry bit 30. KeyError for an unknown architecture."""
    if arch not in ARCHITECTURES:
        raise KeyError(arch)
    column = COLUMNS.index(arch) + 1
    found = ((int(row[column]), row[0]) for row in _ROWS if row[column] != "-")
    return MappingProxyType({name: number for number, name in sorted(found)})


@cache
def _names(arch: str) -> Mapping[int, str]:
    return MappingProxyType({number: name for name, number in numbers(arch).items()})


def name_of(arch: str, nr: int) -> str | None:
    """The call with number `nr` on `arch`, or None where the table knows none."""
    return _names(arch).get(nr)


@cache
def _introduced() -> Mapping[str, tuple[str, str]]:
    rows = (line.split(" ") for line in SINCE.splitlines())
    return MappingProxyType({name: (before, by) for name, before, by in rows})


def introduced(name: str) -> tuple[str | None, str]:
    """(newest kernel known to lack the call, oldest known to have it), such as ("6.7", "6.11") for `mseal`.

    The first is None for a call as old as the oldest kernel that the table was compared with. KeyError: no such call.
    """
    if name not in NAMES:
        raise KeyError(name)
    return _introduced().get(name, (None, OLDEST))


@cache
def known_by(kernel: str) -> frozenset[str]:
    """The calls that `kernel`, such as "6.1" or "6.1.0-18-amd64", is known to have; newer than the table means all.

    A call that came between two kernels of the comparison counts from the later one. ValueError: not a version, or
    one older than the oldest kernel compared, whose calls are not known.
    """
    release = _version(kernel)
    if release < _version(OLDEST):
        raise ValueError(f"kernel {kernel} is older than {OLDEST}, the oldest whose calls are known")
    return frozenset(name for name in NAMES if _version(introduced(name)[1]) <= release)


def _version(kernel: str) -> tuple[int, int]:
    major, _, rest = kernel.partition(".")
    minor = "".join(takewhile(str.isdigit, rest))
    if not (major.isascii() and major.isdigit() and minor.isascii() and minor):
        raise ValueError(f"{kernel!r} is not the version of a kernel, such as 6.1")
    return int(major), int(minor)
