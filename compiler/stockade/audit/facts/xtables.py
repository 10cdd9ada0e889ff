"""The filter table of iptables' older half (ip_tables, ip6_tables): asked of the kernel by getsockopt, taken apart.

The structures are those of linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h and x_tables.h, as a
64-bit kernel lays them out.
"""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from stockade.audit.facts.chains import HOOKS, Base, Step

TABLE: Final = b"filter"
_INFO: Final = struct.Struct("=32sI5I5III")
_HEAD: Final = struct.Struct("=32sII")  # ipt_get_entries: name, size, and the padding before the first entry
_TARGET: Final = struct.Struct("=H29sB")
_LARGEST: Final = 64 << 20
_VIA_IN, _VIA_OUT, _TOS, _SOURCE, _DESTINATION, _FRAGMENT, _PROTOCOL = 1, 2, 4, 8, 16, 32, 64
_VERDICTS: Final = {-1: "DROP", -2: "ACCEPT", -5: "RETURN"}
_HARMLESS: Final = ("LOG", "NFLOG", "MARK", "CONNMARK", "TRACE", "AUDIT")
"""Targets after which a packet goes on to the next rule."""


@dataclass(frozen=True, slots=True)
class Version:
    """Where a version of IP keeps what: lengths and offsets in bytes in its entry, and its socket options."""

    family: int
    level: int
    info: int
    entries: int
    address: int
    protocol: int
    flags: int
    inverted: int
    offsets: int
    entry: int
    goto: int
    conditional: int
    names: str


IPV4: Final = Version(2, socket.IPPROTO_IP, 64, 65, 4, 80, 82, 83, 88, 112, 2, 1, "ip_tables_names")
IPV6: Final = Version(10, socket.IPPROTO_IPV6, 64, 65, 16, 128, 131, 132, 140, 168, 4, 2, "ip6_tables_names")

_libc = ctypes.CDLL(None, use_errno=True)


def ask(version: Version) -> tuple[bytes, bytes]:
    """The kernel's answers to GET_INFO and GET_ENTRIES for the filter table of our network namespace.

    OSError as getsockopt(2) has it. Ask only for a table that `version.names` lists: the kernel makes it otherwise.
    """
    # The option is netfilter's and works on every socket of the family; this kind needs no further right.
    with socket.socket(version.family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as one:
        for _ in range(8):
            info = _option(one, version, version.info, TABLE, _INFO.size)
            size = _INFO.unpack(info)[-1]
            if size > _LARGEST:
                raise OSError(errno.EFBIG, f"a table of {size} bytes")
            head = _HEAD.pack(TABLE, size, 0)
            try:
                return info, _option(one, version, version.entries, head, _HEAD.size + size)
            except OSError as error:
                if error.errno != errno.EAGAIN:  # the table was replaced in between
                    raise
    raise OSError(errno.EAGAIN, "the table is replaced again and again")


def _option(one: socket.socket, version: Version, option: int, said: bytes, size: int) -> bytes:
    buffer = ctypes.create_string_buffer(said, size)
    length = ctypes.c_uint32(size)
    if _libc.getsockopt(one.fileno(), version.level, option, buffer, ctypes.byref(length)):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return buffer.raw[: length.value]


def table(version: Version, info: bytes, entries: bytes) -> tuple[list[Base], dict[Hashable, list[Step]]]:
    """The chains that the kernel calls, and all chains by the offset of their first rule. ValueError for no table."""
    if len(info) != _INFO.size:
        raise ValueError(f"{len(info)} bytes about a table, and {_INFO.size} say it")
    name, hooks, *offsets, _, size = _INFO.unpack(info)
    begins, ends = offsets[:5], offsets[5:]
    if name.rstrip(b"\0") != TABLE or len(entries) != _HEAD.size + size or _HEAD.unpack_from(entries)[1] != size:
        raise ValueError("not the entries of the filter table, or not all of them")
    if hooks != sum(1 << hook for hook in HOOKS):
        raise ValueError(f"a filter table at the places {hooks:#x}")
    content = entries[_HEAD.size :]
    places = {begins[hook] for hook in HOOKS}
    chains: dict[Hashable, list[Step]] = {}
    policies: dict[int, Step] = {}
    key, at = 0, 0
    while at < size:
        step, after, named = _step(version, content, at)
        if at in places:
            key = at
            chains[key] = []
        if named:
            key = after
            chains[key] = []
        elif at in (ends[hook] for hook in HOOKS):
            policies[at] = step
        elif key in chains:
            chains[key].append(step)
        else:
            raise ValueError(f"a rule at {at} that is in no chain")
        at = after
    bases = []
    for hook, name_ in HOOKS.items():
        policy = policies.get(ends[hook])
        if begins[hook] not in chains or policy is None or policy.target not in ("ACCEPT", "DROP"):
            raise ValueError(f"no policy of {name_}")
        bases.append(Base(f"{version.names.removesuffix('_names')} filter", name_, policy.target, 0, begins[hook]))
    return bases, chains


def _step(version: Version, content: bytes, at: int) -> tuple[Step, int, bool]:
    """A rule, the offset after it, and whether it is the head of a chain (or the end of the table)."""
    if at + version.entry + _TARGET.size > len(content):
        raise ValueError(f"a rule at {at} that is cut off")
    target, length = struct.unpack_from("=HH", content, at + version.offsets)
    if target < version.entry or target + _TARGET.size > length or length % 8 or at + length > len(content):
        raise ValueError(f"a rule at {at} of a wrong length")
    size, raw, _ = _TARGET.unpack_from(content, at + target)
    if size < _TARGET.size or target + size > length:
        raise ValueError(f"a target at {at + target} of a wrong length")
    kind = raw.split(b"\0")[0].decode("ascii", "backslashreplace")
    if kind == "ERROR":
        return Step(""), at + length, True
    plain, said = _conditions(version, content[at : at + version.entry])
    plain = plain and _only_comments(content[at + version.entry : at + target])
    verdict, to = _verdict(version, content, at, target, kind)
    if verdict is None:
        plain, verdict = False, ""
    return Step(verdict, plain, *said, to=to), at + length, False


def _verdict(version: Version, content: bytes, at: int, target: int, kind: str) -> tuple[str | None, Hashable]:
    """What a rule does with a packet, None where that is not known; and the chain it jumps to."""
    if kind:
        return ("REJECT" if kind == "REJECT" else "" if kind in _HARMLESS else None), None
    if at + target + _TARGET.size + 4 > len(content):
        raise ValueError(f"a target at {at + target} that is cut off")
    (code,) = struct.unpack_from("=i", content, at + target + _TARGET.size)
    if code >= 0:
        return ("GOTO" if content[at + version.flags] & version.goto else "JUMP"), code
    return _VERDICTS.get(code), None


def _conditions(version: Version, entry: bytes) -> tuple[bool, tuple[str, str, str]]:
    """Do interface and source alone decide? And these: input, output, source."""
    size = version.address
    source, _, mask, other = (entry[n * size : (n + 1) * size] for n in range(4))
    names = [entry[4 * size + n * 16 : 4 * size + (n + 1) * 16] for n in range(4)]
    inverted = entry[version.inverted]
    (protocol,) = struct.unpack_from("=H", entry, version.protocol)
    if version.family == IPV6.family and not entry[version.flags] & 1:
        protocol = 0  # which protocol counts where the flag says so, and only there
    plain = not any(other) and not protocol and not entry[version.flags] & version.conditional
    plain = plain and not inverted & (_TOS | _DESTINATION | _FRAGMENT | _PROTOCOL)
    sign = "!" if inverted & _SOURCE else ""
    if any(mask):
        bits = int.from_bytes(mask, "big")
        length = bits.bit_count()
        if bits != ((1 << length) - 1) << (8 * size - length):
            return False, ("", "", "")
        network = f"{sign}{ipaddress.ip_address(source)}/{length}"
    else:
        network, plain = "", plain and not sign
    via = (
        interface(names[0], names[2], bool(inverted & _VIA_IN)),
        interface(names[1], names[3], bool(inverted & _VIA_OUT)),
    )
    return plain, (*via, network)


def interface(name: bytes, mask: bytes, inverted: bool) -> str:
    """An interface as iptables writes it: `lo`, `eth+`, `!lo`; nothing where any will do."""
    length = len(mask.rstrip(b"\0"))
    if not length:
        return "!+" if inverted else ""
    text = name[:length]
    said = text.rstrip(b"\0").decode("ascii", "backslashreplace") + ("" if b"\0" in text else "+")
    return f"!{said}" if inverted else said


def _only_comments(matches: bytes) -> bool:
    """Are the further matches of a rule comments only?"""
    at = 0
    while at < len(matches):
        if at + _TARGET.size > len(matches):
            raise ValueError("a match that is cut off")
        size, raw, _ = _TARGET.unpack_from(matches, at)
        if size < _TARGET.size or at + size > len(matches):
            raise ValueError("a match of a wrong length")
        if raw.split(b"\0")[0] != b"comment":
            return False
        at += size
    return True
