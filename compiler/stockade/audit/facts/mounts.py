"""/proc/PID/mountinfo as the kernel writes it: which mount is on top of a path, and what lies over what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from stockade.audit.facts.parse import text

Mount = Mapping[str, Any]
"""id, parent, device (`major:minor`), root, point, options, type, source, superblock (options)."""

_ESCAPE: Final = re.compile(r"\\([0-7]{3})")

KERNEL_PLACES: Final = {
    "/proc": {"proc"},
    "/proc/sys/fs/binfmt_misc": {"binfmt_misc", "autofs"},
    "/proc/fs/nfsd": {"nfsd"},
    "/sys": {"sysfs"},
    "/sys/fs/selinux": {"selinuxfs"},
    "/sys/kernel/security": {"securityfs"},
    "/sys/kernel/debug": {"debugfs"},
    "/sys/kernel/debug/tracing": {"tracefs"},
    "/sys/kernel/tracing": {"tracefs"},
    "/sys/kernel/config": {"configfs"},
    "/sys/fs/bpf": {"bpf"},
    "/sys/fs/pstore": {"pstore"},
    "/sys/fs/fuse/connections": {"fusectl"},
    "/sys/fs/cgroup": {"cgroup2", "tmpfs"},
    "/sys/firmware/efi/efivars": {"efivarfs"},
}
"""The mounts that belong below /proc and /sys, and the types they may have."""
FIPS: Final = ("/usr/bin", "/usr/libexec", "/bin", "/libexec")
"""Where an overlay of the image's own folders, without an upper one, chooses the FIPS programs."""


def mountinfo(content: bytes) -> list[dict[str, Any]]:
    """Every mount, in the kernel's order; the last one on a path is on top. ValueError for another form."""
    found = []
    for at, one in enumerate(text(content).splitlines(), 1):
        left, dash, right = one.partition(" - ")
        fields, rest = left.split(" "), right.split(" ", 2)
        if not dash or len(fields) < 6 or len(rest) != 3 or not (fields[0] + fields[1]).isdigit():
            raise ValueError(f"line {at} is no mount: {one[:60]!r}")
        # `[]` would be a mount whose root cannot be reached; the kernel leaves those out.
        found.append(
            {
                "id": int(fields[0]),
                "parent": int(fields[1]),
                "device": fields[2],
                "root": unescaped(fields[3]),
                "point": unescaped(fields[4]),
                "options": fields[5].split(","),
                "type": rest[0],
                "source": unescaped(rest[1]),
                "superblock": [unescaped(option) for option in rest[2].split(",")],
            }
        )
    return found


def unescaped(said: str) -> str:
    """A path with the kernel's octal escapes undone."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), said) if "\\" in said else said


class Tree:
    """The mounts of one namespace as a process finds its way through them: by what lies on what, since one that was
    moved keeps its place in the kernel's list."""

    def __init__(self, mounts: Iterable[Mount]) -> None:
        self._on = {(mount["parent"], mount["point"]): mount for mount in mounts if mount["parent"] != mount["id"]}
        several = [mount for mount in mounts if mount["point"] == "/"]
        ids = {mount["id"] for mount in several}
        # Whoever has its root in a mount does not see what is laid upon that: of several at /, the lowest.
        self.root: Mount | None = next((one for one in several if one["parent"] not in ids - {one["id"]}), None)
        """The mount in which the process has its root."""
        self.upon = [one for one in several if one is not self.root]
        """What is mounted at / besides, which only those see who enter the namespace later."""

    def at(self, path: str) -> Mount | None:
        """The mount that an absolute path leads to."""
        found, folder = self.root, ""
        for name in path.split("/")[1:]:
            folder = f"{folder}/{name}"
            while found is not None and (more := self._on.get((found["id"], folder))) is not None:
                found = more
        return found

    def on_top(self, point: str) -> Mount | None:
        """The mount that is seen at a mount point; None where nothing is mounted there."""
        found = self.at(point)
        return found if found is not None and found["point"] == point else None


def below(path: str, folder: str) -> bool:
    """Is a path a folder's own, or in it?"""
    return folder == "/" or path == folder or path.startswith(folder + "/")


def foreign(mounts: Iterable[Mount]) -> list[str]:
    """Mount points at or below /proc and /sys where something lies that does not belong there, sorted.

    Of a kernel file system only its own root belongs there: one file bound over another has the right type. Below
    /sys/fs/cgroup the controllers of version 1 are at home.
    """
    found = set()
    for mount in mounts:
        point = mount["point"]
        if not (below(point, "/proc") or below(point, "/sys")):
            continue
        if point.startswith("/sys/fs/cgroup/"):
            if mount["type"] not in ("cgroup", "cgroup2") or point.count("/") != 4:
                found.add(point)
        elif mount["type"] not in KERNEL_PLACES.get(point, ()) or mount["root"] != "/":
            found.add(point)
    stacked = [mount["point"] for mount in mounts if mount["point"] in KERNEL_PLACES and mount["type"] != "autofs"]
    found.update(
        point for point in stacked if stacked.count(point) > 1 and not point.startswith("/proc/sys/fs/binfmt_misc")
    )
    return sorted(found)
