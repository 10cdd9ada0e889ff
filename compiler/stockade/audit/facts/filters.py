"""The seccomp filters in force, asked of the kernel by ptrace: each process stops for a moment."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Mapping
from typing import Final

from stockade.audit.facts.fact import Fact, missing

_SEIZE, _INTERRUPT, _DETACH, _GET_FILTER = 0x4206, 0x4207, 17, 0x420C
_WALL: Final = 0x40000000
_MOST: Final = 4096
"""Instructions of the longest classic program that the kernel takes (BPF_MAXINSNS)."""
_STACK: Final = 64
FILTERED: Final = 2
"""The mode of a process that filters decide for (SECCOMP_MODE_FILTER)."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


def collect(members: Mapping[str, list[int]], threads: Callable[[int], dict[int, int]]) -> Fact:
    """Container to [{pid, programs}], the programs of each process in hexadecimal, in the order of their installing.

    A thread is there too, with `thread_of`, where its filters are others than its leader's: each installs its own.
    `threads` has the seccomp mode of each living thread of a process. A process that cannot be asked has pid,
    outcome and why. Unreadable as a whole where none can be, or where the kernel tells no filters: it does with
    CONFIG_CHECKPOINT_RESTORE.
    """
    found: dict[str, list[dict[str, object]]] = {}
    for name, pids in sorted(members.items()):
        found[name] = []
        for pid in pids:
            leader: list[str] | None = None
            try:
                modes = threads(pid)
            except (FileNotFoundError, ProcessLookupError):
                continue
            except OSError as error:
                found[name].append(Fact.unreadable(f"/proc/{pid}", error.strerror or str(error)).member(pid=pid))
                continue
            for one in sorted(modes, key=lambda one: one != pid):
                try:
                    held = [program.hex() for program in programs(one)] if modes[one] == FILTERED else []
                except ProcessLookupError:
                    continue
                except OSError as error:
                    said = Fact.unreadable(f"/proc/{pid}", f"filters by ptrace: {error.strerror}")
                    if error.errno == errno.EOPNOTSUPP:
                        return said
                    found[name].append(said.member(pid=one))
                    continue
                if one == pid:
                    leader = held
                    found[name].append({"pid": pid, "programs": held})
                elif held != leader:
                    found[name].append({"pid": one, "thread_of": pid, "programs": held})
    every = [one for several in found.values() for one in several]
    if every and all(map(missing, every)):
        return Fact.unreadable("ptrace", str(every[0]["why"]))
    return Fact.of(found, "ptrace")


def programs(pid: int) -> list[bytes]:
    """The filters of a process or thread that has some, the first installed first. OSError as ptrace(2) has it."""
    _ptrace(_SEIZE, pid)
    try:
        _ptrace(_INTERRUPT, pid)
        os.waitpid(pid, _WALL)
        found: list[bytes] = []
        buffer = ctypes.create_string_buffer(_MOST * 8)
        while len(found) < _STACK:
            try:
                length = _ptrace(_GET_FILTER, pid, len(found), ctypes.addressof(buffer))
            except OSError as error:
                if error.errno == errno.ENOENT:
                    return found
                if error.errno == errno.EINVAL and not found:
                    raise OSError(errno.EOPNOTSUPP, "this kernel does not tell filters") from None
                raise
            found.append(buffer.raw[: length * 8])
        raise OSError(errno.E2BIG, "too many filters on one another")
    finally:
        _libc.ptrace(_DETACH, pid, None, None)


def _ptrace(request: int, pid: int, address: int = 0, data: int = 0) -> int:
    answer: int = _libc.ptrace(request, pid, address, data)
    if answer < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return answer
