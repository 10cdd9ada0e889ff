"""The filters in force, asked of this kernel about real processes, against those that types compile to."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from stockade.audit.container_filters import filter_findings
from stockade.audit.facts import filters
from stockade.audit.facts.fact import Outcome
from stockade.audit.facts.host import Host
from stockade.model.syscalls import NATIVE

LIBC = ctypes.CDLL(None, use_errno=True)
ARCH = next(name for name in NATIVE if name == os.uname().machine)
ALLOW = struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000)
PROFILES = Path(__file__).parents[2] / "profiles/containers"
NO_NEW_PRIVILEGES, SET_SECCOMP, FILTER = 38, 22, 2


class Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def compiled(kind: str) -> bytes:
    return (PROFILES / kind / f"seccomp.{ARCH}.bpf").read_bytes()


def install(program: bytes) -> None:
    held = ctypes.create_string_buffer(program)
    said = Program(len(program) // 8, ctypes.addressof(held))
    if LIBC.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or LIBC.prctl(SET_SECCOMP, FILTER, ctypes.byref(said), 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


@contextlib.contextmanager
def child(*programs: bytes, in_thread: bytes = b"") -> Iterator[int]:
    """A process of ours that waits under these filters, one thread of it under another besides."""
    ready, stay = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(stay[1])
            for one in programs:
                install(one)

            def wait(more: bytes) -> None:
                if more:
                    install(more)
                os.write(ready[1], b"1")
                os.read(stay[0], 1)

            if in_thread:
                threading.Thread(target=wait, args=(in_thread,)).start()
            wait(b"")
        finally:
            os._exit(0)
    os.close(ready[1])
    os.close(stay[0])
    try:
        for _ in range(2 if in_thread else 1):
            assert os.read(ready[0], 1) == b"1"
        yield pid
    finally:
        os.close(stay[1])
        os.close(ready[0])
        os.waitpid(pid, 0)


def modes(pid: int) -> dict[int, int]:
    with Host("/") as host:
        return host.threads(pid)


def found(pid: int, kind: str = "ordinary") -> list[tuple[str, str, str, str]]:
    fact = filters.collect({"c": [pid]}, modes)
    assert fact.known, fact.why
    return list(filter_findings(fact.value["c"], {"filters": {ARCH: compiled(kind).hex()}}))


def test_the_compiled_filter_itself_is_read_byte_for_byte() -> None:
    with child(compiled("ordinary")) as pid:
        assert filters.programs(pid) == [compiled("ordinary")]
        assert found(pid) == []
        # Whoever was asked goes on as before.
        assert "TracerPid:\t0\n" in Path(f"/proc/{pid}/status").read_text()


def test_a_filter_that_allows_all_is_found() -> None:
    with child(ALLOW) as pid:
        ((kind, what, _, live),) = found(pid)
    assert (kind, what) == ("filter", f"process {pid}")
    assert live.startswith("allows ")


def test_the_filter_of_another_type_is_found_where_it_allows_more() -> None:
    with child(compiled("ordinary")) as pid:
        ((_, _, _, live),) = found(pid, "web")
        assert live.startswith("allows ")
    with child(compiled("web")) as pid:
        assert found(pid, "ordinary") == []


@pytest.mark.parametrize("programs", [(compiled("ordinary"), ALLOW), (ALLOW, compiled("ordinary"))])
def test_filters_on_one_another_are_as_strict_as_the_strictest(programs: Sequence[bytes]) -> None:
    with child(*programs) as pid:
        assert filters.programs(pid) == list(programs)
        assert found(pid) == []


def test_no_filter_at_all_is_found() -> None:
    with child() as pid:
        ((_, _, _, live),) = found(pid)
    assert live == "none"


def test_a_thread_has_filters_of_its_own() -> None:
    with child(ALLOW, in_thread=compiled("ordinary")) as pid:
        fact = filters.collect({"c": [pid]}, modes)
        held = {len(one["programs"]) for one in fact.value["c"]}
        assert held == {1, 2}
        ((_, what, _, _),) = found(pid)
    assert what == f"process {pid}"


def test_what_the_kernel_refuses_is_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    with child(compiled("ordinary")) as pid:
        asked = os.fork()
        if not asked:
            # Under a filter of its own nobody may ask for others': the kernel's own rule.
            try:
                install(ALLOW)
                fact = filters.collect({"c": [pid]}, modes)
                os._exit(0 if fact.outcome is Outcome.UNREADABLE and "ptrace" in fact.why else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(asked, 0)[1]) == 0


def test_a_kernel_that_tells_no_filters_says_nothing_about_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without CONFIG_CHECKPOINT_RESTORE the answer is EINVAL, as of a process that has no filter."""
    ask = filters._ptrace

    def without(request: int, pid: int, address: int = 0, data: int = 0) -> int:
        if request == filters._GET_FILTER:
            raise OSError(errno.EINVAL, "Invalid argument")
        return ask(request, pid, address, data)

    monkeypatch.setattr(filters, "_ptrace", without)
    with child(compiled("ordinary")) as pid:
        fact = filters.collect({"c": [pid]}, modes)
    assert fact.outcome is Outcome.UNREADABLE
    assert "does not tell" in fact.why


def test_a_process_that_ended_is_left_out() -> None:
    with child() as pid:
        pass
    fact = filters.collect({"c": [pid]}, modes)
    assert fact.value == {"c": []}
