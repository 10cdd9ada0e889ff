"""Filters compiled from profiles, installed in forked children: native, i386 and x32 calls get what `decide` says."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable
from typing import Any

import pytest
from stockade.model.seccomp import Action
from stockade.model.syscalls import numbers
from stockade.seccomp.cbpf import compile_filter
from stockade.seccomp.profile import read_profile
from stockade.seccomp.semantics import decide

from tests.seccomp.kernel import ARCH, SIGSYS, call, install
from tests.seccomp.profiles import arg, encoded, entry, profile

pytestmark = pytest.mark.skipif(ARCH != "x86_64", reason="i386 and x32 are ABIs of x86_64 kernels")
X86 = ("x86_64", "i386", "x32")
DENIED, OTHER, ENOSYS = 71, 72, 38
SIGSEGV = 11
# int 0x80 with the number and three arguments of a C call: eax, ebx, ecx, edx; rbx is the caller's and kept.
STUB = bytes.fromhex("53 89f8 4189c8 89f3 89d1 4489c2 cd80 5b c3")
_PAGE = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
_PAGE.write(STUB)
_ENTRY = ctypes.addressof(ctypes.c_char.from_buffer(_PAGE))
_INT80 = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint)(_ENTRY)


def i386(nr: int, *args: int) -> int:
    """The errno of a call through the i386 gate, 0 where it succeeded."""
    result = int(_INT80(nr, *[*args, 0, 0, 0][:3]))
    return -result if -4096 < result < 0 else 0


def in_child(program: bytes, ask: Callable[[], int]) -> int:
    """What `ask` says in a child under the filter; -n where signal n ended it."""
    child = os.fork()
    if child == 0:
        os._exit(200 if program and install(program) else ask())
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) != 200, "the kernel refuses the filter"
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


IA32 = in_child(b"", lambda: i386(numbers("i386")["getpid"])) == 0
X32 = in_child(b"", lambda: call(numbers("x32")["getpid"])) == 0

SAID = profile(
    entry("getpid exit_group lseek write close munmap"),
    entry("personality", "ALLOW", arg(0, "EQ", 0xFFFFFFFF)),
    entry("socket", "ALLOW", arg(0, "LE", 2)),
    entry("getuid", "ERRNO", errnoRet=OTHER),
    entry("getuid32", "ERRNO", errnoRet=OTHER),
    entry("kcmp", "KILL_PROCESS"),
    defaultErrnoRet=DENIED,
    archMap=[{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}],
)
CALLS = [
    ("getpid",), ("getppid",), ("getuid",), ("personality", 0xFFFFFFFF), ("personality", 8), ("socket", 1, 1, 0),
    ("socket", 38, 5, 0), ("kcmp",), ("umask", 0o22),
]  # fmt: skip


def expected(archs: tuple[str, ...], arch: str, name: str, args: tuple[int, ...], there: bool) -> int:
    said = decide(read_profile(encoded(SAID), archs).policy, arch, numbers(arch)[name], [*args, *[0] * 6][:6], archs)
    if said.action is Action.ALLOW:
        return 0 if there else ENOSYS
    return said.errno if said.action is Action.ERRNO else -SIGSYS


def program(*archs: str) -> bytes:
    return compile_filter(read_profile(encoded(SAID), archs).policy, archs)


@pytest.mark.parametrize("said", CALLS, ids=lambda said: f"{said[0]}{list(said[1:])}")
@pytest.mark.parametrize("archs", [X86, ("x86_64",)], ids=["three", "one"])
def test_each_abi(archs: tuple[str, ...], said: Any) -> None:
    name, *args = said
    filter_ = program(*archs)
    native = in_child(filter_, lambda: call(numbers("x86_64")[name], *args))
    assert native == expected(archs, "x86_64", name, tuple(args), True)
    compat = in_child(filter_, lambda: i386(numbers("i386")[name], *args))
    # A kernel without the i386 gate faults before any filter is asked.
    assert compat == (expected(archs, "i386", name, tuple(args), True) if IA32 else -SIGSEGV)
    # The filter is asked before the kernel looks whether it has x32 at all.
    assert in_child(filter_, lambda: call(numbers("x32")[name], *args)) == expected(
        archs, "x32", name, tuple(args), X32
    )


def test_numbers_nobody_knows() -> None:
    assert in_child(program(*X86), lambda: call(4000)) == DENIED
    assert in_child(program(*X86), lambda: call(0x40000000 + 4000)) == DENIED
    assert in_child(program(*X86), lambda: i386(4000)) == (DENIED if IA32 else -SIGSEGV)


def test_the_filter_is_what_answers() -> None:
    """Without it the same calls get the kernel's own answers: the numbers above are the filter's."""
    assert in_child(b"", lambda: call(numbers("x86_64")["getuid"])) == 0
    assert in_child(b"", lambda: call(numbers("x32")["umask"], 0o22)) == (0 if X32 else ENOSYS)
    assert in_child(b"", lambda: i386(numbers("i386")["umask"], 0o22)) == (0 if IA32 else -SIGSEGV)
