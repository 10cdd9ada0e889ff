"""The i386 gate of a 64-bit kernel: junk in the upper half of a register is no way around a rule."""

from __future__ import annotations

import ctypes
import mmap
import os

import pytest
from stockade.model.seccomp import Action, Condition, Verdict
from stockade.model.syscalls import NAMES, numbers
from stockade.seccomp.cbpf import compile_filter

from tests.seccomp.kernel import ARCH, install
from tests.seccomp.policies import policy, rule

pytestmark = pytest.mark.skipif(ARCH != "x86_64", reason="only x86_64 kernels have the gate of i386")
SIGSEGV, DENIED = 11, 71
# push rbx; mov eax, edi; mov rbx, rsi; int 0x80; pop rbx; ret
GATE = bytes.fromhex("53 89f8 4889f3 cd80 5b c3")
SUBJECT = policy(
    *(rule(name) for name in sorted(NAMES)),
    rule("umask", Condition(0, 64, ((8, 9),)), verdict=Verdict(Action.ERRNO, DENIED)),
)


def through_the_gate(program: bytes, nr: int, argument: int) -> int:
    """The errno of a call with one 64-bit argument, from a child under the filter; -n where signal n ended it."""
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(GATE)
    entry = ctypes.addressof(ctypes.c_char.from_buffer(page))
    gate = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_long, ctypes.c_ulong)(entry)
    child = os.fork()
    if child == 0:
        os._exit(200 if program and install(program) else -min(gate(nr, argument), 0))
    _, status = os.waitpid(child, 0)
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


HAS_GATE = through_the_gate(b"", numbers("i386")["umask"], 0) == 0


@pytest.mark.parametrize("junk", [0, 1 << 32, 0xFFFFFFFF << 32])
@pytest.mark.parametrize(("low", "expected"), [(7, 0), (8, DENIED), (9, DENIED), (10, 0)])
def test_the_upper_half_of_an_argument_changes_nothing(junk: int, low: int, expected: int) -> None:
    program = compile_filter(SUBJECT, ("x86_64", "i386"))
    assert through_the_gate(program, numbers("i386")["umask"], junk | low) == (expected if HAS_GATE else -SIGSEGV)
