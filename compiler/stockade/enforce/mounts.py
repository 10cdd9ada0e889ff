"""What is mounted into a container: nothing of the host's own system, of the runtime or of the API.

A bind source is judged by the path that it leads to. What is refused is a protected place, what lies beneath it, and
what holds it.
"""

from __future__ import annotations

from stockade.enforce.pods import PODS, foreign
from stockade.enforce.profile import Host, Profile
from stockade.enforce.refusal import (
    NO_API_SOCKET,
    NO_FOREIGN_MOUNT,
    NO_HOST_PATH,
    NO_RUNTIME_SOCKET,
    NO_SHARED_MOUNT,
    WELL_FORMED,
    Reasons,
)
from stockade.enforce.shape import listing, mapping, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Json = dict[str, Any]

_PROTECTED = {
    NO_RUNTIME_SOCKET: (
        "/run/containerd /run/host-containerd /run/containers /run/crio /run/crun /run/docker /run/docker.sock "
        "/run/nri /run/podman /run/runc /run/stockade /etc/containerd /etc/stockade /var/lib/containerd "
        "/var/lib/containers /var/lib/docker /var/lib/kubelet /opt/nri /opt/cni /etc/cni"
    ).split(),
    NO_API_SOCKET: ["/run/api.sock"],
    NO_HOST_PATH: (
        "/proc /sys /dev /boot /usr /bin /sbin /lib /lib32 /lib64 /libx32 /etc /root /local "
        "/run/dbus /run/systemd /run/udev /var/lib/bottlerocket /var/lib/etcd "
        "/var/lib/private /var/lib/systemd"
    ).split(),
}
_WITHIN = tuple(f"{path}/" for paths in _PROTECTED.values() for path in paths)
_HOLDING = frozenset(f"{path}/"[:end] or "/" for path in _WITHIN for end, sign in enumerate(path) if sign == "/")
"""Protected places, and every folder on the way to one; most mounts are of neither, which is told by one look."""

_READABLE = frozenset("/etc/hosts /etc/hostname /etc/resolv.conf /etc/localtime /etc/ssl/certs".split())
"""Files of the host that containers are given by custom; they are mounted read-only."""

_SANDBOXES = ("/run/containerd/io.containerd.", "/var/lib/containerd/io.containerd.")
_SANDBOX_FILES = ("hostname", "hosts", "resolv.conf", "shm")
_FOLDERS = {
    "proc": ("/proc",),
    "sysfs": ("/sys",),
    "cgroup": ("/sys/fs/cgroup",),
    "cgroup2": ("/sys/fs/cgroup",),
    "devpts": ("/dev/pts",),
    "mqueue": ("/dev/mqueue",),
    "tmpfs": (),
}
"""The file systems that every container has, and where; a tmpfs may be anywhere but in /proc and /sys."""

_OPPOSITE = {"ro": "rw", "nosuid": "suid", "nodev": "dev", "noexec": "exec"}
_WIDE = ("shared", "rshared")
_BIND = ("bind", "rbind")


def apply_mounts(spec: Json, profile: Profile, host: Host, reasons: Reasons) -> list[Json]:
    """The mounts with the type's options, and the type's own tmpfs before all others; reasons where one may not be."""
    result = []
    own = {text(mount, "destination"): mount for mount in profile.mounts}
    for mount in listing(spec, "mounts", dict):
        result.append(_mount(mount, own, profile, host, reasons, spec))
    said = {_normal(text(mount, "destination")) for mount in result}
    # First, so that they hide nothing of what the runtime mounts below them.
    added = [dict(mount) for place, mount in own.items() if mount["type"] == "tmpfs" and place not in said]
    return added + result


def judge_root(spec: Json, host: Host, reasons: Reasons) -> None:
    """Note a container whose root is the host's own, or a part of its system; by the path that it leads to."""
    said = text(mapping(spec, "root"), "path", "root.")
    found = _normal(host.resolved.get(said, said))
    if found == "/" or (found.startswith("/") and _protecting(found) == NO_HOST_PATH):
        reasons.add(NO_HOST_PATH, f"the container's root is {said}, which is {found}")


def _mount(mount: Json, own: dict[str, Json], profile: Profile, host: Host, reasons: Reasons, spec: Json) -> Json:
    kind, place = text(mount, "type"), _normal(text(mount, "destination"))
    options = listing(mount, "options", str, "mounts.options.")
    if not place.startswith("/") or place == "/":
        reasons.add(WELL_FORMED, f"a mount to {text(mount, 'destination')!r}")
    if wide := [option for option in options if option in _WIDE]:
        reasons.add(NO_SHARED_MOUNT, f"{place} is mounted {wide[0]}")
    wanted = ["nosuid", *(["nodev"] if place != "/dev" and kind != "devpts" else [])]
    if kind == "bind" or any(option in _BIND for option in options):
        wanted += _bind(mount, place, own.get(place), host, reasons, spec)
    elif kind not in _FOLDERS or (_FOLDERS[kind] and place not in _FOLDERS[kind]):
        reasons.add(NO_FOREIGN_MOUNT, f"a file system of kind {kind!r} at {place}")
    elif kind == "tmpfs":
        if place in ("/proc", "/sys") or _below(place, ("/proc", "/sys")):
            reasons.add(NO_FOREIGN_MOUNT, f"a file system of kind 'tmpfs' at {place}")
        if place in own:
            wanted += own[place]["options"]
    else:
        wanted.append("noexec")
        if kind in ("sysfs", "cgroup", "cgroup2") and not profile.configures:
            wanted.append("ro")
    return {**mount, "options": _joined(options, wanted)}


def _bind(mount: Json, place: str, listed: Json | None, host: Host, reasons: Reasons, spec: Json) -> list[str]:
    """Options that a bind mount gets besides its own; reasons where its source or its place is protected."""
    source = text(mount, "source")
    found = _normal(host.resolved.get(source, source))
    if listed is not None and listed["type"] == "bind" and found == _normal(listed["source"]):
        return [option for option in listed["options"] if option in _OPPOSITE]
    if place in ("/proc", "/sys", "/dev") or _below(place, ("/proc", "/sys")):
        reasons.add(NO_HOST_PATH, f"{source} in the place of {place}")
    if not found.startswith("/"):
        reasons.add(WELL_FORMED, f"a bind mount of {source!r}")
    if found in _READABLE or any(found.startswith(f"{path}/") for path in _READABLE):
        return ["ro"]
    if found.startswith(PODS) and len(found) > len(PODS):
        if why := foreign(found, spec, host):
            reasons.add(NO_HOST_PATH, f"{source}, {why}, is mounted at {place}")
        return []
    if found.startswith(_SANDBOXES) and "/sandboxes/" in found and found.rsplit("/", 1)[1] in _SANDBOX_FILES:
        return []
    if promise := _protecting(found):
        shown = source if source == found else f"{source}, which is {found},"
        reasons.add(promise, f"{shown} is mounted at {place}")
    return []


def _protecting(found: str) -> str | None:
    """The promise that a path would break: by lying in a protected place, or else by holding one."""
    if found not in _HOLDING and not found.startswith(_WITHIN):
        return None
    for promise, paths in _PROTECTED.items():
        if found in paths or _below(found, paths):
            return promise
    return next((promise for promise, paths in _PROTECTED.items() if any(_below(p, [found]) for p in paths)), None)


def _joined(options: list[str], wanted: Iterable[str]) -> list[str]:
    """Options with more of them; each takes the place of its opposite, and the smaller of two sizes stays."""
    result = list(options)
    for option in wanted:
        if option in result:
            continue
        name, _, value = option.partition("=")
        if name == "size":
            said = [other for other in result if other.startswith("size=")]
            if said and _size(said[-1][5:]) is not None and int(str(_size(said[-1][5:]))) <= int(value):
                continue
            result = [other for other in result if not other.startswith("size=")]
        elif name in _OPPOSITE:
            result = [other for other in result if other != _OPPOSITE[name]]
        result.append(option)
    return result


def _size(said: str) -> int | None:
    """Bytes of a tmpfs size as the kernel reads it; None for a share of memory, which is compared with nothing."""
    unit = {"k": 10, "m": 20, "g": 30}.get(said[-1:].lower())
    digits = said[:-1] if unit else said
    return int(digits) << (unit or 0) if digits.isascii() and digits.isdigit() else None


def _below(path: str, folders: Iterable[str]) -> bool:
    return any(path.startswith(folder if folder.endswith("/") else f"{folder}/") for folder in folders)


def _normal(path: str) -> str:
    """A path without repeated slashes, `.` and `..`; what is not absolute stays as it is."""
    if not path.startswith("/"):
        return path
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)
