"""How a program was hardened, from its program headers and dynamic section; sections may be stripped, or lie."""

from __future__ import annotations

import io
import os
from typing import Any, Final

_PIE: Final = 0x08000000
_NOW: Final = 0x1
_BIND_NOW: Final = 0x8
_TEXTREL: Final = 0x4
_STRINGS: Final = 64 << 20
_CHUNK: Final = 4 << 20
_OVERLAP: Final = 64
MARKS: Final = {
    "shell": (b"\0PS4", b"\0IFS"),
    "busybox": (b"BusyBox v",),
    "toybox": (b"\0toybox\0",),
    "awk": (b"\0RSTART\0", b"\0FNR\0"),
    "python": (b"PYTHONHASHSEED",),
    "perl": (b"PERL5LIB",),
    "ruby": (b"RUBYLIB",),
    "lua": (b"LUA_PATH",),
    "node": (b"NODE_OPTIONS",),
    "php": (b"PHP_INI_SCAN_DIR",),
    "tcl": (b"tcl_platform",),
}
"""What an interpreter holds whatever its file is called: the variables of its language, all of those that are given."""
LIBRARIES: Final = (b"libpython", b"libperl", b"libruby", b"liblua", b"libtcl", b"libnode", b"libphp", b"libguile")
"""Libraries that make an interpreter of whoever is linked with them."""
FORTIFIED: Final = frozenset(
    "memcpy memmove memset mempcpy strcpy strncpy stpcpy stpncpy strcat strncat sprintf snprintf vsprintf vsnprintf "
    "printf fprintf vprintf vfprintf dprintf vdprintf asprintf vasprintf gets fgets read pread pread64 recv recvfrom "
    "readlink readlinkat getcwd realpath confstr getgroups ttyname_r gethostname getdomainname fread fread_unlocked "
    "poll ppoll syslog vsyslog longjmp wcscpy wcsncpy swprintf vswprintf mbstowcs wcstombs fdelt open open64 openat "
    "openat64 explicit_bzero obstack_printf".split()
)
"""Functions of which the C library has a checking twin `__NAME_chk`."""


def hardening(descriptor: int) -> dict[str, Any]:
    """pie, relro (none, partial, full), nx, wx (a segment writable and executable), textrel, canary, fortify, language,
    interprets (the language that it runs programs of, by what is in it; empty for none).

    `relro` counts where it covers what it is for: the dynamic section, and the table of addresses. `canary` is true,
    false or null where it cannot be known; `fortify` is [calls that check, calls that could].
    `error` alone says that the file is no program that can be read.
    """
    try:
        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile
    except ImportError:
        return {"error": "pyelftools, which reads programs, is missing"}

    with open(descriptor, "rb", closefd=False, buffering=1 << 14) as stream:
        try:
            return _judged(ELFFile(stream), descriptor)
        except (ELFError, ValueError, KeyError, IndexError, AttributeError, TypeError, OverflowError) as error:
            return {"error": f"not a program that can be read: {error}"}
        except (MemoryError, io.UnsupportedOperation):
            return {"error": "a program of impossible sizes"}


def _judged(file: Any, descriptor: int) -> dict[str, Any]:
    relro, stack, wx = range(0), None, False
    interpreter, dynamic = False, None
    for segment in file.iter_segments():
        kind, flags = segment["p_type"], segment["p_flags"]
        if kind == "PT_GNU_RELRO":
            relro = range(segment["p_vaddr"], segment["p_vaddr"] + segment["p_memsz"])
        elif kind == "PT_GNU_STACK":
            stack = not flags & 1
        elif kind == "PT_LOAD":
            wx = wx or flags & 3 == 3
        elif kind == "PT_INTERP":
            interpreter = True
        elif kind == "PT_DYNAMIC":
            dynamic = segment
    now = textrel = pie = False
    size, addresses = 0, None
    for tag in dynamic.iter_tags() if dynamic is not None else ():
        kind, value = tag.entry.d_tag, tag.entry.d_val
        size = value if kind == "DT_STRSZ" else size
        addresses = value if kind == "DT_PLTGOT" else addresses
        now = now or kind == "DT_BIND_NOW" or (kind == "DT_FLAGS" and bool(value & _BIND_NOW))
        now = now or (kind == "DT_FLAGS_1" and bool(value & _NOW))
        pie = pie or (kind == "DT_FLAGS_1" and bool(value & _PIE))
        textrel = textrel or kind == "DT_TEXTREL" or (kind == "DT_FLAGS" and bool(value & _TEXTREL))
    language = _language(file)
    # Names are all that is asked of the symbols, so their texts are read and the tables are not.
    names: set[bytes] = set()
    if language == "c" and dynamic is not None:
        names |= _names(file, dynamic.get_table_offset("DT_STRTAB")[1], size)
    table = file.get_section_by_name(".strtab") if language == "c" and dynamic is None else None
    if table is not None:
        names |= _names(file, table["sh_offset"], table["sh_size"])
    covered = len(relro) > 0 and (dynamic is None or dynamic["p_vaddr"] in relro)
    fixed = now and (addresses is None or addresses in relro)
    linked = next((one for one in LIBRARIES if any(name.startswith(one) for name in names)), b"")
    shared = file["e_type"] == "ET_DYN"
    canary: bool | None = any(name.startswith(b"__stack_chk_") for name in names)
    if not canary and (language != "c" or (dynamic is None and table is None)):
        canary = None
    checked = sum(1 for name in FORTIFIED if f"__{name}_chk".encode() in names)
    plain = sum(1 for name in FORTIFIED if name.encode() in names)
    return {
        "pie": shared and (pie or interpreter),
        "library": shared and not pie and not interpreter,
        "relro": "none" if not covered else "full" if fixed or dynamic is None else "partial",
        "nx": bool(stack),
        "wx": wx,
        "textrel": textrel,
        "canary": canary,
        "fortify": [checked, checked + plain],
        "language": language,
        "interprets": linked.decode().removeprefix("lib") or ("" if language == "go" else _interprets(descriptor)),
    }


def _interprets(descriptor: int) -> str:
    """The language that a program interprets, by what its file holds."""
    left = {mark for marks in MARKS.values() for mark in marks}
    found: set[bytes] = set()
    at, tail = 0, b""
    while content := os.pread(descriptor, _CHUNK, at):
        at += len(content)
        said = tail + content
        found |= {mark for mark in left if mark in said}
        left -= found
        for name, marks in MARKS.items():
            if found.issuperset(marks):
                return name
        tail = said[-_OVERLAP:]
    return ""


def _names(file: Any, offset: int | None, size: int) -> set[bytes]:
    """The texts of a string table; ValueError where the file does not have it."""
    if offset is None or not 0 < size <= _STRINGS:
        raise ValueError("a table of names of an impossible size")
    file.stream.seek(offset)
    content: bytes = file.stream.read(size)
    if len(content) < size:
        raise ValueError("the table of names is cut short")
    return set(content.split(b"\0"))


def _language(file: Any) -> str:
    if file.get_section_by_name(".go.buildinfo") or file.get_section_by_name(".note.go.buildid"):
        return "go"
    comment = file.get_section_by_name(".comment")
    if comment is not None and b"rustc" in comment.data():
        return "rust"
    return "c"
