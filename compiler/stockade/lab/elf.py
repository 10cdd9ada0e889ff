"""The shared libraries that an ELF program says it needs, read from its bytes: nothing foreign is executed for it."""

from __future__ import annotations

import struct

_LOAD, _DYNAMIC = 1, 2
_NEEDED, _STRTAB = 1, 5


class ElfError(Exception):
    """Not a 64-bit little-endian ELF file, or one cut short."""


def needed(data: bytes) -> tuple[str, ...]:
    """The names under DT_NEEDED, in the file's order; none for a static program. ElfError for anything else."""
    if data[:6] != b"\x7fELF\x02\x01":
        raise ElfError("not a 64-bit ELF file")
    try:
        (at,) = struct.unpack_from("<Q", data, 32)
        size, count = struct.unpack_from("<HH", data, 54)
        segments = [struct.unpack_from("<IIQQQQ", data, at + number * size) for number in range(count)]
        names: list[int] = []
        table = None
        for kind, _, offset, _, _, length in segments:
            for place in range(offset, offset + length, 16) if kind == _DYNAMIC else ():
                tag, value = struct.unpack_from("<qQ", data, place)
                if not tag:
                    break
                if tag == _NEEDED:
                    names.append(value)
                elif tag == _STRTAB:
                    table = value
        if not names:
            return ()
        # The string table is named by its address; the loaded segment that covers it says where in the file that is.
        start = next(o + table - v for k, _, o, v, _, n in segments if table and k == _LOAD and v <= table < v + n)
        return tuple(data[start + name : data.index(b"\0", start + name)].decode("ascii") for name in names)
    except (struct.error, StopIteration, ValueError, OverflowError) as error:
        raise ElfError(f"a damaged ELF file: {error}") from error
