"""The seam: how a host is read, live or as an unpacked image; nothing is written, nothing is started.

Every path is opened below a folder descriptor whose file system was looked at first. A path below /proc, /sys or
another kernel file system may cross no mount on its way, so that nothing laid over a file is ever believed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from stockade.audit.facts import calls
from stockade.audit.facts.fact import Fact

ANCHORS: Final = {
    "/proc": calls.PROC,
    "/sys": calls.SYSFS,
    "/sys/fs/selinux": calls.SELINUX,
    "/sys/kernel/security": calls.SECURITYFS,
    "/sys/fs/cgroup": calls.CGROUP2,
    "/sys/firmware/efi/efivars": calls.EFIVARFS,
}
"""Where the kernel speaks, and the file system that must be there."""

SMALL: Final = 1 << 20
"""Bytes that a file of the kernel or of configuration may have; a longer one is malformed."""

_REFUSED: Final = {errno.EACCES, errno.EPERM}
_ABSENT: Final = {errno.ENOENT, errno.ENOTDIR, errno.ESRCH}


class Host:
    """One host, anchored on descriptors. `kind` is live or image; close it, or use it in a with statement."""

    def __init__(
        self, root: str = "/", kind: str = "live", file_system: Callable[[int], int] = calls.file_system
    ) -> None:
        self.kind = kind
        self.root = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.covered: tuple[str, ...] = ()
        self._anchors: dict[str, tuple[int, str]] = {}
        self._file_system = file_system
        self.opened = 0
        for place, magic in ANCHORS.items() if kind == "live" else ():
            self._anchors[place] = self._anchor(place, magic)

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the descriptors back."""
        for descriptor in (self.root, *(one for one, _ in self._anchors.values())):
            if descriptor >= 0:
                os.close(descriptor)
        self._anchors, self.root = {}, -1

    def _anchor(self, place: str, magic: int) -> tuple[int, str]:
        """Descriptor and fault of a kernel file system; -1 where it is not there or is another."""
        try:
            descriptor = calls.openat2(
                self.root, place.lstrip("/"), os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, calls.IN_ROOT
            )
        except OSError as error:
            return -1, "" if error.errno in _ABSENT else error.strerror or str(error)
        try:
            found = self._file_system(descriptor)
        except OSError as error:
            os.close(descriptor)
            return -1, error.strerror or str(error)
        if found == magic:
            return descriptor, ""
        os.close(descriptor)
        # A plain folder of the file system above means that nothing is mounted; anything else was put there.
        above = {"/sys": None, "/proc": None}.get(place, calls.SYSFS)
        return -1, "" if found == above else f"{calls.NAMES.get(found, hex(found))} is there"

    def ground(self, place: str) -> Fact:
        """What is at an anchor: the name of the right file system, absent, or malformed with what is there."""
        if self.kind != "live":
            return Fact.absent(place, "an image has no kernel")
        descriptor, fault = self._anchors[place]
        if descriptor >= 0:
            return Fact.of(calls.NAMES[ANCHORS[place]], place)
        if not fault:
            return Fact.absent(place, f"no {calls.NAMES[ANCHORS[place]]} is mounted")
        return Fact.malformed(place, f"not {calls.NAMES[ANCHORS[place]]}: {fault}")

    def cover(self, places: Iterable[str]) -> None:
        """Names mounts that do not belong where they are: what is read at or below one is malformed from now on."""
        self.covered = tuple(places)

    def open(self, path: str, flags: int = os.O_RDONLY) -> int | Fact:
        """A descriptor for a path of the host, or the fact that says why there is none."""
        for place in self.covered:
            if path == place or path.startswith(place + "/"):
                return Fact.malformed(path, f"something is mounted over {place}")
        place = self._place(path)
        if place and self.kind != "live":
            return Fact.absent(path, "an image has no kernel")
        folder, fault = self._anchors[place] if place else (self.root, "")
        if folder < 0:
            wanted = calls.NAMES[ANCHORS[place]]
            if not fault:
                return Fact.absent(path, f"no {wanted} is mounted")
            return Fact.malformed(path, f"{place} is not {wanted}: {fault}")
        below = path[len(place) :].lstrip("/") or "."
        try:
            self.opened += 1
            resolve = calls.NO_CROSSING if place else calls.IN_ROOT
            # openat2 refuses flags that O_PATH would ignore.
            more = 0 if flags & os.O_PATH else os.O_NONBLOCK | os.O_NOCTTY
            return calls.openat2(folder, below, flags | more, resolve)
        except OSError as error:
            return fault_of(error, path)

    def read(self, path: str, limit: int = SMALL) -> Fact:
        """The bytes of a file: a value, or why there is none. More than `limit` bytes are malformed."""
        descriptor = self.open(path)
        if isinstance(descriptor, Fact):
            return descriptor
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return Fact.malformed(path, "not a regular file")
            content = whole(descriptor, limit)
        except OSError as error:
            return fault_of(error, path)
        finally:
            os.close(descriptor)
        if len(content) > limit:
            return Fact.malformed(path, f"more than {limit} bytes")
        return Fact.of(content, path)

    def names(self, path: str) -> Fact:
        """The sorted names in a folder, or why they are not known."""
        descriptor = self.open(path, os.O_RDONLY | os.O_DIRECTORY)
        if isinstance(descriptor, Fact):
            return descriptor
        try:
            return Fact.of(listing(descriptor), path)
        except OSError as error:
            return fault_of(error, path)
        finally:
            os.close(descriptor)

    def threads(self, pid: int) -> dict[int, int]:
        """The seccomp mode of each living thread of a process, its first too; ProcessLookupError where none lives."""
        said = self.names(f"/proc/{pid}/task")
        if said.outcome == "absent":
            raise ProcessLookupError(pid)
        if not said.known:
            raise OSError(errno.EACCES, said.why)
        modes = {}
        for name in said.value:
            status = self.read(f"/proc/{pid}/task/{name}/status")
            lines = dict(one.partition(b":\t")[::2] for one in (status.value or b"").splitlines())
            if lines.get(b"State", b"")[:1] in (b"Z", b"X"):
                continue
            if status.known:
                modes[int(name)] = int(lines.get(b"Seccomp", b"-1"))
            elif status.outcome != "absent":
                raise OSError(errno.EACCES, status.why)
        if not modes:
            raise ProcessLookupError(pid)
        return modes

    def nested(self, folder: str, limit: int = 4096) -> Fact:
        """Name to bytes of the files in a folder that is a mount of its own, and in the root's type of mount only."""
        for place in self.covered:
            if folder == place or folder.startswith(place + "/"):
                return Fact.malformed(folder, f"something is mounted over {place}")
        if self.kind != "live":
            return Fact.absent(folder, "an image has no kernel")
        try:
            descriptor = calls.openat2(
                self.root, folder.lstrip("/"), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, calls.IN_ROOT
            )
        except OSError as error:
            return fault_of(error, folder)
        found = {}
        try:
            for name in listing(descriptor):
                if name == "register":
                    continue
                file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=descriptor)
                try:
                    found[name] = whole(file, limit)[:limit]
                finally:
                    os.close(file)
        except OSError as error:
            return fault_of(error, folder)
        finally:
            os.close(descriptor)
        return Fact.of(found, folder)

    def status(self, path: str, follow: bool = True) -> Fact:
        """The os.stat_result of a path, or why it is not known."""
        descriptor = self.open(path, os.O_PATH | (0 if follow else os.O_NOFOLLOW))
        if isinstance(descriptor, Fact):
            return descriptor
        try:
            return Fact.of(os.fstat(descriptor), path)
        finally:
            os.close(descriptor)

    def link(self, path: str) -> Fact:
        """What a symbolic link says, or why it is not known."""
        descriptor = self.open(path, os.O_PATH | os.O_NOFOLLOW)
        if isinstance(descriptor, Fact):
            return descriptor
        try:
            return Fact.of(os.readlink("", dir_fd=descriptor), path)
        except OSError as error:
            return fault_of(error, path)
        finally:
            os.close(descriptor)

    def _place(self, path: str) -> str:
        best = ""
        for place in ANCHORS:
            if (path == place or path.startswith(place + "/")) and len(place) > len(best):
                best = place
        return best


def listing(descriptor: int) -> list[str]:
    """The sorted names in a folder."""
    with os.scandir(descriptor) as entries:
        return sorted(entry.name for entry in entries)


def whole(descriptor: int, limit: int) -> bytes:
    """All of a file, and one byte more than `limit` at the most."""
    content = os.read(descriptor, min(limit + 1, 1 << 16))
    if not content:
        return content
    parts, left = [content], limit + 1 - len(content)
    while left > 0 and (part := os.read(descriptor, min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def fault_of(error: OSError, path: str) -> Fact:
    """The fact that an OSError is."""
    if error.errno in _ABSENT:
        return Fact.absent(path)
    if error.errno == errno.EXDEV:
        return Fact.malformed(path, "something is mounted over it or on the way to it")
    if error.errno in _REFUSED:
        return Fact.unreadable(path, error.strerror or str(error))
    return Fact.malformed(path, error.strerror or str(error))


def kind_of(root: str) -> str:
    """Is a root a live host's, or an image? Only a folder that was named, has nothing at /proc and is not reached by
    way of /proc is an image: nobody turns a host into an image by laying something over its /proc."""
    path = Path(root)
    if path.absolute().is_relative_to("/proc") or (real := Path(os.path.realpath(path))) == Path("/"):
        return "live"
    try:
        return "live" if any((real / "proc").iterdir()) else "image"
    except FileNotFoundError:
        return "image"
