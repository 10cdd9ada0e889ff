"""Runs user-mode Linux once: unprivileged, in its own process group, never past its time, nothing left behind."""

from __future__ import annotations

import fcntl
import math
import os
import selectors
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .tools import Drop, LabMissing, Tools

# More than any boot prints; a guest that loops on its console must not fill this machine's memory.
_LIMIT = 64 << 20
_PREFIX = "stockade-lab-"
_SHARED, _MOUNTS = Path("/dev/shm"), Path("/proc/self/mounts")
# A trial runs as many guests as that.
_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Ran:
    """What a guest left: its console, its report channel, how it ended (None: it was stopped at the limit), seconds.

    `raw` is the report channel's bytes as they came, `report` the same as text.
    """

    console: str
    report: str
    status: int | None
    seconds: float
    raw: bytes = b""


@contextmanager
def work_folder(drop: Drop) -> Iterator[Path]:
    """A guest's private folder, gone afterwards; and with it those of others who were killed before they cleaned up."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if (lock := _lock(path)) is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)
    lock = None
    while lock is None:
        work = Path(tempfile.mkdtemp(prefix=_PREFIX))
        lock = _lock(work)  # None when somebody swept in between, and took it for a dead one's
    try:
        drop.own(work)
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        os.close(lock)


def _lock(folder: Path) -> int | None:
    """A descriptor that holds a folder's lock until its holder ends, however that is; None where another has it."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_nlink:
            return handle
    except OSError:
        pass
    os.close(handle)
    return None


def run(
    tools: Tools,
    work: Path,
    drop: Drop,
    *,
    initrd: Path,
    disks: Sequence[Path],
    timeout: float,
    memory: str = "256M",
    options: Sequence[str] = (),
) -> Ran:
    """Boot once, with `disks` read-only as ubda, ubdb, ..., and wait for power-off, at most `timeout` seconds.

    `work` is the guest's private folder on this machine: its sockets and its memory file are made there. `options` are
    added to the kernel's command line.
    """
    with ExitStack() as stack:
        # By descriptor, for the guest's user may not be able to walk to where a cache lies.
        opened = [os.open(path, os.O_RDONLY) for path in (initrd, *disks)]
        for number in opened:
            stack.callback(os.close, number)
        return _run(tools, work, drop, opened, timeout, memory, options)


def _run(
    tools: Tools,
    work: Path,
    drop: Drop,
    opened: Sequence[int],
    timeout: float,
    memory: str,
    options: Sequence[str],
) -> Ran:
    report_read, report_write = os.pipe()
    initrd, *disks = (f"/proc/self/fd/{number}" for number in opened)
    command = [
        *("/bin/sh", "-c", 'read -r _ && exec "$@" </dev/null', "sh"),  # not before the guard knows of it
        str(tools.linux),
        f"mem={memory}",
        f"initrd={initrd}",
        *(f"ubd{number}r={disk}" for number, disk in enumerate(disks)),
        "con=null",
        "con0=null,fd:1",
        f"con1=null,fd:{report_write}",
        "uml_dir=./",  # not by its whole name: the kernel has room for a short one
        "umid=guest",
        "enforcing=0",
        "panic=1",
        "loglevel=7",
        "audit_backlog_limit=8192",
        "random.trust_cpu=on",
        # For the guest's own watch.
        f"lab_seconds={math.ceil(timeout) + 1}",
        *options,
    ]
    started = time.monotonic()
    guard = _guard(drop)
    try:
        process = subprocess.Popen(
            command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(report_write, *opened),
            start_new_session=True,
            cwd=work,
            env={"HOME": str(work), "TMPDIR": str(_memory_folder(work, memory)), "PATH": os.defpath, "LC_ALL": "C"},
            user=drop.uid,
            group=drop.gid,
            extra_groups=None if drop.uid is None else [],
        )
    except OSError as error:
        os.close(report_read)
        _end(guard)
        raise LabMissing(f"a working {tools.linux}", str(error)) from error
    finally:
        os.close(report_write)
    assert process.stdin is not None and process.stdout is not None and guard.stdin is not None
    streams = {process.stdout.fileno(): bytearray(), report_read: bytearray()}
    ended = False
    try:
        guard.stdin.write(b"%d\n" % process.pid)
        process.stdin.write(b"\n")
        process.stdin.close()
        ended = _drain(streams, started + timeout)
        ended = ended and _exited(process.pid, started + timeout)
    finally:
        _end(guard)
        # The leader is not reaped yet, so its group number cannot have passed to anybody else.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        status = process.wait()
        process.stdout.close()
        os.close(report_read)
    console, report = (bytes(data).decode("utf-8", "replace").replace("\r\n", "\n") for data in streams.values())
    raw = bytes(streams[report_read])
    return Ran(console, report, status if ended else None, time.monotonic() - started, raw)


def _memory_folder(work: Path, memory: str, shared: Path = _SHARED, mounts: Path = _MOUNTS) -> Path:
    """Where the guest's memory is a file, which its kernel removes as soon as it is open: `shared` where that can be.

    On a disk its pages would be written back all the time. It has to be a tmpfs from which programs may be mapped, with
    room for the guests that run at once.
    """
    rows = [line.split() for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines()]
    kinds = [(row[2], row[3].split(",")) for row in rows if row[1] == str(shared)]
    if not kinds or kinds[-1][0] != "tmpfs" or "noexec" in kinds[-1][1] or "ro" in kinds[-1][1]:
        return work
    there = os.statvfs(shared)
    size = int(memory[:-1]) << {"M": 20, "G": 30}[memory[-1]]
    roomy = there.f_bavail * there.f_frsize >= _AT_ONCE * size
    return shared if roomy and stat.S_IMODE(shared.stat().st_mode) == 0o1777 else work


def _guard(drop: Drop) -> subprocess.Popen[bytes]:
    """Who kills a guest's process group, whose number it is told, once this program is gone without having done so.

    Every process of a guest is one of this machine too, and stops at each system call for the guest's kernel to carry
    it out. Killing that kernel alone would let them loose: they would go on, and call this machine's kernel.
    """
    return subprocess.Popen(
        ["/bin/sh", "-c", 'read -r group && { read -r _; kill -s KILL -- "-$group"; }'],
        bufsize=0,
        stdin=subprocess.PIPE,  # it closes with this program, however that ends
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        env={"PATH": os.defpath},
        user=drop.uid,
        group=drop.gid,
        extra_groups=None if drop.uid is None else [],
    )


def _end(guard: subprocess.Popen[bytes]) -> None:
    guard.kill()
    guard.communicate()


def _drain(streams: dict[int, bytearray], deadline: float) -> bool:
    """Read every stream to its end; False when the deadline or the size limit came first."""
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            for key, _ in selector.select(left):
                data = os.read(key.fd, 65536)
                if not data:
                    selector.unregister(key.fd)
                streams[key.fd] += data
                if len(streams[key.fd]) > _LIMIT:
                    return False
    return True


def _exited(pid: int, deadline: float) -> bool:
    """Wait for the process to end without reaping it."""
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.005)
    return True
