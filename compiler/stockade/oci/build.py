"""A container type as the parts of an OCI runtime specification that it fixes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stockade.model.container import ContainerType, Device, Level, Mount, Rlimit, Tmpfs, UserNamespace
from stockade.model.json_text import spelled
from stockade.model.names import CAPABILITY_SETS, NAMESPACES, STANDARD_DEVICES
from stockade.oci.cgroup import to_resources
from stockade.oci.check import BIND, PROPAGATION_OPTIONS, check_runtime_spec

OCI_VERSION = "1.1.0"
"""The first version of the specification that knows every key written here (`unified`, time namespaces)."""

ANNOTATION = "io.stockade."
"""Prefix of what the specification has no place for: `type`, `level` (pair, all or none; a `pair` is the runtime's to
choose and `selinuxLabel` then says s0), and `user-namespace` (required, optional or forbidden)."""

PROPAGATION = "rprivate"
"""Whether mount events of the host reach the container: never. The specification's own `private` is not recursive:
runc then leaves every other mount of the new namespace in its peer group with the host, so that a bind mount without a
propagation of its own is shared, where it would have been a slave had nothing been said."""

INFINITY = (1 << 64) - 1
"""RLIM_INFINITY: no limit."""

TERMINAL_DEVICES = (
    Device("/dev/ptmx", "c", 5, 2, "rw"),
    Device("/dev/pts", "c", 136, None, "rw"),
)
"""What every runtime needs to give a container a terminal; never mknod(2)."""

LEVELS = {Level.PAIR: "s0", Level.ALL: "s0-s0:c0.c1023", Level.NONE: "s0"}


class OciError(ValueError):
    """A container type that no valid runtime specification expresses; `reasons` says why, one string each."""

    def __init__(self, name: str, reasons: list[str]) -> None:
        self.name = name
        self.reasons = reasons
        super().__init__("\n".join(f"container type {name}: {reason}" for reason in reasons))


def to_runtime_spec(type: ContainerType, seccomp: Mapping[str, Any] | None = None) -> dict[str, object]:
    """The runtime-spec document of a container type; `seccomp` becomes `linux.seccomp` as it is.

    Everything that the type fixes is said, also where it is empty, so that a reader can tell "none" from "not said".
    Arrays are sorted where order has no meaning. Raises OciError where the type cannot be said, or where what was
    built does not pass `check_runtime_spec`.
    """
    spec = as_said(type, seccomp)
    if findings := check_runtime_spec(spec):
        raise OciError(type.name, findings)
    return spec


def as_said(type: ContainerType, seccomp: Mapping[str, Any] | None = None) -> dict[str, object]:
    """The document of a type that has been compiled before: `to_runtime_spec` without looking at what it built."""
    try:
        return _spec(type, seccomp)
    except ValueError as error:
        raise OciError(type.name, [str(error)]) from error


def to_json(spec: Mapping[str, object]) -> bytes:
    """The one spelling of a document: keys sorted, two spaces, ASCII, one newline at the end."""
    return spelled(spec)


def _spec(type: ContainerType, seccomp: Mapping[str, Any] | None) -> dict[str, object]:
    linux: dict[str, Any] = {
        "devices": _nodes(type),
        "maskedPaths": sorted(type.masked),
        "mountLabel": f"system_u:object_r:{type.files}:s0",
        "namespaces": _namespaces(type),
        "readonlyPaths": sorted(type.read_only),
        "resources": {"devices": _device_rules(type), **to_resources(type.cgroup)},
        "rootfsPropagation": PROPAGATION,
        "sysctl": dict(sorted(type.sysctls.items())),
    }
    if seccomp is not None:
        linux["seccomp"] = dict(seccomp)
    return {
        "ociVersion": OCI_VERSION,
        "annotations": {
            f"{ANNOTATION}level": type.level.value,
            **({f"{ANNOTATION}mode": type.mode} if type.mode != "enforce" else {}),
            f"{ANNOTATION}type": type.name,
            f"{ANNOTATION}user-namespace": type.namespaces.user.value,
        },
        "process": {
            "capabilities": {
                name: sorted(f"CAP_{capability}" for capability in type.capabilities[name]) for name in CAPABILITY_SETS
            },
            "noNewPrivileges": type.no_new_privileges,
            "rlimits": [_rlimit(name, limit) for name, limit in sorted(type.rlimits.items())],
            "selinuxLabel": f"system_u:system_r:{type.domain}:{LEVELS[type.level]}",
        },
        "root": {"readonly": type.read_only_root},
        # A parent folder must be mounted before what lies beneath it.
        "mounts": sorted(
            [_tmpfs(tmpfs) for tmpfs in type.tmpfs] + [_bind(mount) for mount in type.mounts],
            key=lambda mount: mount["destination"].split("/"),
        ),
        "linux": linux,
    }


def _rlimit(name: str, limit: Rlimit) -> dict[str, Any]:
    return {
        "type": f"RLIMIT_{name.upper()}",
        "soft": INFINITY if limit.soft is None else limit.soft,
        "hard": INFINITY if limit.hard is None else limit.hard,
    }


def _namespaces(type: ContainerType) -> list[dict[str, str]]:
    spaces = type.namespaces
    if both := spaces.new & spaces.host:
        raise ValueError(f"namespaces: {', '.join(sorted(both))} cannot be both the container's own and the host's")
    if missing := set(NAMESPACES) - {"user", "time"} - spaces.new - spaces.host:
        raise ValueError(f"namespaces: not said whose {', '.join(sorted(missing))} is")
    if "user" in spaces.new | spaces.host:
        raise ValueError("namespaces: user is neither new nor host, but required, optional or forbidden")
    own = spaces.new | ({"user"} if spaces.user is UserNamespace.REQUIRED else set())
    return [{"type": name} for name in sorted(own)]


def _tmpfs(tmpfs: Tmpfs) -> dict[str, Any]:
    if tmpfs.size is not None and tmpfs.size <= 0:
        raise ValueError(f"tmpfs {tmpfs.path}: the kernel reads a size of {tmpfs.size} as no limit")
    size = [] if tmpfs.size is None else [f"size={tmpfs.size}"]
    options = ["nodev", "noexec", "nosuid", *size]
    return {"destination": tmpfs.path, "type": "tmpfs", "source": "tmpfs", "options": options}


def _bind(mount: Mount) -> dict[str, Any]:
    options = set(mount.options) | {"nodev", "nosuid"}
    if not options & BIND:
        options.add("bind")
    if not options & PROPAGATION_OPTIONS.keys():
        options.add("rprivate")
    return {"destination": mount.destination, "type": "bind", "source": mount.source, "options": sorted(options)}


def _device_rules(type: ContainerType) -> list[dict[str, Any]]:
    """What the device cgroup allows: nothing, then what every container has, then what this type lists."""
    if type.all_devices:
        if type.devices:
            raise ValueError("devices: all devices and a list of devices")
        return [{"allow": True, "access": "rwm"}]
    allowed: dict[tuple[str, int, int], set[str]] = {}
    for device in (*standard_devices(), *TERMINAL_DEVICES, *type.devices):
        if device.major is None and device.minor is not None:
            raise ValueError(f"devices: {device.path} has a minor number without a major one")
        key = (device.kind, _any(device.major), _any(device.minor))
        allowed.setdefault(key, set()).update(device.access)
    return [{"allow": False, "access": "rwm"}] + [
        {
            "allow": True,
            "type": kind,
            **({} if major < 0 else {"major": major}),
            **({} if minor < 0 else {"minor": minor}),
            "access": "".join(letter for letter in "rwm" if letter in access),
        }
        for (kind, major, minor), access in sorted(allowed.items())
    ]


def standard_devices() -> list[Device]:
    """The devices that every container may read and write, as the specification lists them."""
    return [Device(path, kind, major, minor, "rw") for path, (kind, major, minor) in STANDARD_DEVICES.items()]


def _any(number: int | None) -> int:
    return -1 if number is None else number


def _nodes(type: ContainerType) -> list[dict[str, Any]]:
    """The nodes a runtime must create: the listed devices that are one device each, without those it makes itself."""
    return [
        {
            "path": device.path,
            "type": device.kind,
            "major": device.major,
            "minor": device.minor,
            "fileMode": 0o666,
            "uid": 0,
            "gid": 0,
        }
        for device in sorted(type.devices, key=lambda device: device.path)
        if device.path not in STANDARD_DEVICES and device.major is not None and device.minor is not None
    ]
