"""The system calls the kernel has: their numbers on each architecture, and the architectures' tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from stockade.model.syscalls_arguments import argument, arguments_of, constant, constants_of
from stockade.model.syscalls_table import COLUMNS, KERNEL, TABLE

__all__ = [
    "ARCHITECTURES",
    "KERNEL",
    "NAMES",
    "NATIVE",
    "X32_BIT",
    "Architecture",
    "argument",
    "arguments_of",
    "constant",
    "constants_of",
    "name_of",
    "numbers",
]

X32_BIT = 0x40000000


@dataclass(frozen=True, slots=True)
class Architecture:
    """One system-call ABI: the token the kernel puts in `seccomp_data.arch`, and its name in OCI and Docker profiles.

    x32 shares the token of x86_64 and is told apart by bit 30 of the number. All are little-endian.
    """

    name: str
    token: int
    bits: int
    oci: str
    docker: str
    byte_order: str = "little"


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            Architecture("x86_64", 0xC000003E, 64, "SCMP_ARCH_X86_64", "amd64"),
            Architecture("aarch64", 0xC00000B7, 64, "SCMP_ARCH_AARCH64", "arm64"),
            Architecture("i386", 0x40000003, 32, "SCMP_ARCH_X86", "x86"),
            Architecture("x32", 0xC000003E, 32, "SCMP_ARCH_X32", "x32"),
            Architecture("arm", 0x40000028, 32, "SCMP_ARCH_ARM", "arm"),
            Architecture("riscv64", 0xC00000F3, 64, "SCMP_ARCH_RISCV64", "riscv64"),
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
