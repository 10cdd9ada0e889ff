"""What is so on this host, of what matters to a specification: found out beside the decision, and before it."""

from __future__ import annotations

import os

from stockade.enforce.profile import Host
from stockade.enforce.refusal import NO_HOST_NAMESPACE, WELL_FORMED, refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

_KINDS = {"network": "net", "mount": "mnt"}
_BIND = ("bind", "rbind")


def host_of(without: Collection[str], spec: dict[str, Any]) -> Host:
    """What is so on this host, of what matters to a specification. Raises Refused where that cannot be found out."""
    linux = spec.get("linux")
    spaces = linux.get("namespaces") if type(linux) is dict else None
    mounts = spec.get("mounts")
    return Host(
        selinux=_has_selinux(),
        without=without,
        cgroup2=os.path.exists("/sys/fs/cgroup/cgroup.controllers"),
        resolved=dict(_resolved(mounts if type(mounts) is list else [])),
        shared=[path for path, own in _joined(spaces if type(spaces) is list else []) if own],
    )


def _has_selinux() -> bool:
    """Whether this process has an SELinux context, which the kernel alone gives."""
    try:
        with open("/proc/thread-self/attr/current", "rb") as file:
            return file.read(4096).count(b":") >= 2
    except OSError:
        return False


def _resolved(mounts: list[Any]) -> list[tuple[str, str]]:
    found = []
    for mount in mounts:
        if type(mount) is dict and type(mount.get("source")) is str:
            options = mount.get("options")
            if mount.get("type") == "bind" or any(
                option in _BIND for option in (options if type(options) is list else ())
            ):
                found.append((mount["source"], os.path.realpath(mount["source"])))
    return found


def _joined(spaces: list[Any]) -> list[tuple[str, bool]]:
    """The namespaces that are joined by a path, and whether each is this process's own or that of PID 1."""
    found = []
    for entry in spaces:
        if type(entry) is not dict or type(entry.get("path")) is not str or not entry["path"]:
            continue
        path, kind = entry["path"], str(entry.get("type"))
        try:
            wanted = os.stat(path)
        except (OSError, ValueError) as error:
            raise refuse(
                WELL_FORMED, f"the {kind} namespace {path}: {getattr(error, 'strerror', None) or error}"
            ) from None
        found.append((path, any(_is_of(who, kind, wanted, path) for who in ("self", "1"))))
    return found


def _is_of(who: str, kind: str, wanted: os.stat_result, path: str) -> bool:
    """Whether a namespace is that of a process of the host. Raises Refused where that cannot be seen."""
    own = f"/proc/{who}/ns/{_KINDS.get(kind, kind)}"
    try:
        return os.path.samestat(wanted, os.stat(own))
    except OSError as error:
        why = f"it joins the {kind} namespace {path}, which may be the host's: {own}: {error.strerror}"
        raise refuse(NO_HOST_NAMESPACE, why) from None
