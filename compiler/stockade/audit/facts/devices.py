"""Which devices a control group lets its processes use: programs of the kernel in version 2, a list in version 1."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

from stockade.audit.facts import calls
from stockade.audit.facts.fact import Fact, Outcome, missing
from stockade.audit.facts.host import Host, whole
from stockade.audit.facts.mounts import Mount

CGROUP1: Final = 0x0027E0EB
_BPF: Final = {"x86_64": 321, "aarch64": 280}
_FD_BY_ID, _INFO_BY_FD, _QUERY = 13, 15, 16
_ATTACHED_TO_DEVICES, _EFFECTIVE = 6, 1
_MOST: Final = 64
"""Programs in force for one group; its own and those of the groups above it."""
_LONGEST: Final = 1 << 20

_libc = ctypes.CDLL(None, use_errno=True)


def collect(host: Host, groups: Mapping[str, tuple[str, str]], mounts: Sequence[Mount]) -> Fact:
    """Container to {programs} (each in hexadecimal; all of them must allow) or {list} (lines as `c 1:3 rwm`).

    `groups` has the paths of a container's group: in the unified hierarchy, and in that of the controller `devices`
    (empty where there is none). A container of which the kernel does not tell has outcome and why instead; where it
    tells of none, the whole is that.
    """
    seen: dict[int, str] = {}
    found: dict[str, Any] = {}
    for name, (unified, older) in sorted(groups.items()):
        where = f"/sys/fs/cgroup{unified}"
        try:
            if older:
                found[name] = {"list": _listed(host, older, mounts)}
                continue
            folder = host.open(where, os.O_RDONLY | os.O_DIRECTORY)
            if isinstance(folder, Fact):
                found[name] = folder.member()
                continue
            try:
                found[name] = {"programs": [_program(number, seen) for number in programs(folder)]}
            finally:
                os.close(folder)
        except OSError as error:
            found[name] = Fact.unreadable(where, f"device programs by bpf: {error.strerror}").member()
        except ValueError as error:
            found[name] = Fact.malformed(where, str(error)).member()
    lost = [one for one in found.values() if missing(one)]
    if found and len(lost) == len(found):
        return Fact(Outcome(lost[0]["outcome"]), None, "bpf", lost[0]["why"])
    return Fact.of(found, "bpf")


def programs(group: int) -> list[int]:
    """The numbers of the programs that decide about devices for a group (a descriptor of its folder)."""
    numbers = (ctypes.c_uint32 * _MOST)()
    said = struct.pack("=IIIIQIxxxx", group, _ATTACHED_TO_DEVICES, _EFFECTIVE, 0, ctypes.addressof(numbers), _MOST)
    answer = _bpf(_QUERY, said)[1]
    (count,) = struct.unpack_from("=I", answer, 24)
    if count > _MOST:
        raise ValueError(f"{count} device programs in force for one group")
    return list(numbers[:count])


def _program(number: int, seen: dict[int, str]) -> str:
    if number not in seen:
        descriptor = _bpf(_FD_BY_ID, struct.pack("=III", number, 0, 0))[0]
        try:
            seen[number] = _instructions(descriptor).hex()
        finally:
            os.close(descriptor)
    return seen[number]


def _instructions(descriptor: int) -> bytes:
    """A program as the kernel runs it, before it is compiled to the processor's own."""
    info = ctypes.create_string_buffer(256)
    ask = struct.pack("=IIQ", descriptor, len(info.raw), ctypes.addressof(info))
    _bpf(_INFO_BY_FD, ask)
    (length,) = struct.unpack_from("=I", info, 20)
    if not length:
        raise OSError(errno.EPERM, "the program is not shown")
    if length > _LONGEST:
        raise ValueError(f"a device program of {length} bytes")
    buffer = ctypes.create_string_buffer(length)
    ctypes.memset(info, 0, len(info.raw))
    struct.pack_into("=I", info, 20, length)
    struct.pack_into("=Q", info, 32, ctypes.addressof(buffer))
    _bpf(_INFO_BY_FD, ask)
    if not struct.unpack_from("=Q", info, 32)[0]:
        raise OSError(errno.EPERM, "the program is not shown")
    return buffer.raw


def _bpf(command: int, said: bytes) -> tuple[int, bytes]:
    number = _BPF.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, f"bpf(2) of {platform.machine()} is not known")
    buffer = ctypes.create_string_buffer(said, max(len(said), 64))
    answer = int(_libc.syscall(number, command, buffer, len(buffer.raw)))
    if answer < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return answer, buffer.raw


def _listed(host: Host, group: str, mounts: Sequence[Mount]) -> list[str]:
    """The lines of devices.list, through the mount of that controller."""
    places = [one for one in mounts if one["type"] == "cgroup" and "devices" in one["superblock"]]
    if not places:
        raise OSError(errno.ENODEV, "the controller of devices is not mounted")
    place = places[-1]["point"]
    folder = calls.openat2(host.root, place.lstrip("/"), os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, calls.IN_ROOT)
    try:
        if calls.file_system(folder) != CGROUP1:
            raise ValueError(f"{place} is no hierarchy of control groups")
        file = calls.openat2(folder, f".{group}/devices.list", os.O_RDONLY, calls.NO_CROSSING)
    finally:
        os.close(folder)
    try:
        return whole(file, 1 << 16).decode("ascii").splitlines()
    finally:
        os.close(file)
