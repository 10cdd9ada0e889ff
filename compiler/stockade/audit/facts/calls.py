"""Kernel calls that Python lacks: openat2, with which a path cannot lead elsewhere, and the type of a file system."""

from __future__ import annotations

import ctypes
import os
from typing import Final

PROC: Final = 0x9FA0
SYSFS: Final = 0x62656572
SELINUX: Final = 0xF97CFF8C
SECURITYFS: Final = 0x73636673
CGROUP2: Final = 0x63677270
EFIVARFS: Final = 0xDE5E81E4

NAMES: Final = {
    PROC: "procfs",
    SYSFS: "sysfs",
    SELINUX: "selinuxfs",
    SECURITYFS: "securityfs",
    CGROUP2: "cgroup2",
    EFIVARFS: "efivarfs",
    0x01021994: "tmpfs",
    0x858458F6: "ramfs",
    0xEF53: "ext4",
    0x794C7630: "overlay",
    0xE0F5E1E2: "erofs",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0x65735546: "fuse",
    0x73717368: "squashfs",
}
"""Magic numbers of file systems by statfs(2), with the names that reports use."""

NO_CROSSING: Final = 0x01 | 0x02
"""openat2: the path may cross no mount (RESOLVE_NO_XDEV) and follow no magic link (RESOLVE_NO_MAGICLINKS)."""
IN_ROOT: Final = 0x10 | 0x02
"""openat2: absolute links and `..` stay in the folder (RESOLVE_IN_ROOT), and no magic link is followed."""

_OPENAT2: Final = 437  # the same on every architecture
_libc = ctypes.CDLL(None, use_errno=True)


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def openat2(folder: int, path: str, flags: int, resolve: int) -> int:
    """A descriptor of `path` below the descriptor `folder`, close-on-exec. Raises OSError as open(2) would."""
    how = _How(flags | os.O_CLOEXEC, 0, resolve)
    found: int = _libc.syscall(_OPENAT2, folder, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
    if found < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), path)
    return found


def file_system(descriptor: int) -> int:
    """The magic number of the file system that a descriptor is on, as fstatfs(2) gives it."""
    buffer = ctypes.create_string_buffer(256)
    if _libc.fstatfs(descriptor, buffer):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return int.from_bytes(buffer.raw[: ctypes.sizeof(ctypes.c_long)], "little") & 0xFFFFFFFF
