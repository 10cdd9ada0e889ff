"""What a runtime mounts into every container beside what a type says: the mounts of the runtimes' own defaults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

BASE_MOUNTS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("/proc", "proc", "proc", ("nosuid", "noexec", "nodev")),
    ("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
    ("/dev/pts", "devpts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620")),
    ("/dev/shm", "tmpfs", "shm", ("nosuid", "noexec", "nodev", "mode=1777", "size=65536k")),
    ("/dev/mqueue", "mqueue", "mqueue", ("nosuid", "noexec", "nodev")),
    ("/sys", "sysfs", "sysfs", ("nosuid", "noexec", "nodev", "ro")),
    ("/sys/fs/cgroup", "cgroup", "cgroup", ("nosuid", "noexec", "nodev", "relatime", "ro")),
)
"""(destination, type, source, options) in containerd's words, which are those of `runc spec` made stricter."""


def _always(kind: str, major: int, minor: int, access: str) -> dict[str, Any]:
    return {"allow": True, "type": kind, "major": major, "minor": minor, "access": access}


_EVERY_RUNTIME: tuple[Mapping[str, Any], ...] = (
    _always("c", -1, -1, "m"),
    _always("b", -1, -1, "m"),
    *(_always("c", major, minor, "rwm") for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2))),
    _always("c", 136, -1, "rwm"),
    _always("c", 10, 200, "rwm"),
)
RUNTIME_DEVICE_RULES: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "runc": _EVERY_RUNTIME,
    "crun": (*_EVERY_RUNTIME, _always("c", 5, 1, "rwm")),
}
"""What a runtime appends to every list of device rules: any node may be made, the standard ones used, and that of
tunnels, which runc left out from 1.2.0 to 1.2.3 and crun from 1.5 to 1.19. No specification takes these away; a
capability and SELinux hold the making of nodes."""


def base_mounts() -> list[dict[str, Any]]:
    """The same as members of a runtime specification."""
    return [
        {"destination": destination, "type": kind, "source": source, "options": list(options)}
        for destination, kind, source, options in BASE_MOUNTS
    ]


def all_mounts(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a container with this specification finds mounted: the base, and the type's own over it."""
    own = {mount["destination"]: mount for mount in spec.get("mounts", [])}
    base = [mount for mount in base_mounts() if mount["destination"] not in own]
    return sorted([*base, *own.values()], key=lambda mount: str(mount["destination"]).split("/"))


def options_at(spec: Mapping[str, Any], path: str) -> tuple[str, frozenset[str]]:
    """The mount point that a path of the container lies under, and the mount's options; the root's `ro` among them."""
    best, options = "/", frozenset(["ro"] if spec.get("root", {}).get("readonly") else [])
    for mount in all_mounts(spec):
        if covers(mount["destination"], path):
            best, options = mount["destination"], frozenset(mount.get("options", []))
    return best, options


def shown_at(spec: Mapping[str, Any], path: str) -> Iterator[tuple[str, str, bool, bool]]:
    """Where a path of the host is shown: the mount's source, the path in the container, whether `ro`, and with all
    below it."""
    for mount in spec.get("mounts", []):
        options = set(mount.get("options", []))
        if not options & {"bind", "rbind"} or not covers(mount["source"], path):
            continue
        rest = path if mount["source"] == "/" else path[len(mount["source"]) :]
        yield mount["source"], f"{mount['destination']}{rest}", "ro" in options or "rro" in options, "rro" in options


def covers(folder: str, path: str) -> bool:
    """Whether a path is a folder or lies below it."""
    return path == folder or folder == "/" or path.startswith(f"{folder}/")
