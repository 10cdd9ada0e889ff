"""Installs filters in forked children of the running kernel."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import signal
import traceback
from collections.abc import Sequence

ARCH = platform.machine()
LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_NO_NEW_PRIVS, SECCOMP_SET_MODE_FILTER = 38, 1
SECCOMP = {"x86_64": 317, "aarch64": 277}
Outcome = list[int]


class FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def call(nr: int, *args: int) -> int:
    """The errno of a raw call, 0 where it succeeded."""
    ctypes.set_errno(0)
    result = LIBC.syscall(ctypes.c_long(nr), *(ctypes.c_ulong(value) for value in args))
    return ctypes.get_errno() if result == -1 else 0


def install(program: bytes) -> int:
    """The errno with which the kernel refuses a filter, 0 where it accepts it."""
    buffer = ctypes.create_string_buffer(program, len(program) or 1)
    filter_program = FilterProgram(len(program) // 8, ctypes.addressof(buffer))
    LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return call(SECCOMP[ARCH], SECCOMP_SET_MODE_FILTER, 0, ctypes.addressof(filter_program))


def under(program: bytes, calls: Sequence[tuple[int, ...]]) -> tuple[int, Outcome]:
    """(what `install` says, the errno of each call) from a child; -n for the rest where signal n ended it."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            refused = install(program)
            outcome = [refused]
            for raw in [] if refused else calls:
                os.write(write, json.dumps(outcome[-1]).encode() + b"\n")
                outcome.append(call(*raw))
            os.write(write, json.dumps(outcome[-1]).encode() + b"\n")
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = [json.loads(line) for line in pipe]
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        said.append(-os.WTERMSIG(status))
    return said[0], said[1:]


EINVAL, SIGSYS = errno.EINVAL, signal.SIGSYS
