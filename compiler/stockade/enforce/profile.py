"""What a container type fixes, read from a bundle's files after their digests were compared."""

from __future__ import annotations

from stockade.enforce.exact import Malformed, loads
from stockade.enforce.filters import Said
from stockade.enforce.refusal import CONFINED, refuse
from stockade.enforce.shape import listing, mapping, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    Json = dict[str, Any]

ANNOTATION = "io.stockade."
SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


class Profile:
    """A container type's confinement.

    `spec` is its `oci.json`, `seccomp` its `seccomp.json`, `domain` the SELinux type of its processes, `file` that of
    its files, `level` (pair, all or none), `own_range` the range of a type that is not given one by the runtime.
    `defaults` are the SELinux types that the runtime asks for when nobody chose one: those of processes and of files.
    """

    def __init__(self, spec: Json, seccomp: Json, defaults: Collection[str] = ()) -> None:
        notes = mapping(spec, "annotations")
        process, linux = mapping(spec, "process"), mapping(spec, "linux")
        self.spec = spec
        self.seccomp = seccomp
        self.name = text(notes, f"{ANNOTATION}type")
        self.level = text(notes, f"{ANNOTATION}level")
        self.user_namespace = text(notes, f"{ANNOTATION}user-namespace")
        label = text(process, "selinuxLabel").split(":", 3)
        mount = text(linux, "mountLabel").split(":", 3)
        if not self.name or len(label) != 4 or len(mount) != 4 or not seccomp:
            raise refuse(CONFINED, "the bundle's files are those of no container type")
        self.label, self.mount_label = label, mount
        self.domain, self.file, self.own_range = label[2], mount[2], label[3]
        self.defaults = frozenset(defaults)
        self.capabilities = {
            key: frozenset(listing(mapping(process, "capabilities"), key, str, "capabilities.")) for key in SETS
        }
        self.namespaces = {text(entry, "type") for entry in listing(linux, "namespaces", dict)}
        self.resources = mapping(linux, "resources")
        self.all_devices = any(
            rule.get("allow") is True and "type" not in rule for rule in listing(self.resources, "devices", dict)
        )
        self.configures = not listing(linux, "readonlyPaths", str)
        """Whether the type changes settings of the kernel: it has no read-only paths, and /sys is writable."""
        self.mounts = listing(spec, "mounts", dict)
        self._calls: Said | None = None

    def calls(self) -> Said:
        """What its filter says of each call, found out once."""
        if self._calls is None:
            self._calls = Said(self.seccomp)
        return self._calls

    @classmethod
    def from_files(cls, oci: bytes, seccomp: bytes, defaults: Collection[str] = ()) -> Profile:
        """From the bytes of `oci.json` and `seccomp.json`; raises Refused where they are not such files."""
        try:
            spec, filters = loads(oci), loads(seccomp)
        except Malformed as error:
            raise refuse(CONFINED, f"the bundle: {error}") from None
        if type(spec) is not dict or type(filters) is not dict:
            raise refuse(CONFINED, "the bundle: not an object")
        return cls(spec, filters, defaults)


class Host:
    """What is true of the host that a container starts on, found out before anything is decided.

    `selinux`: whether the kernel has SELinux; `without`: layers that this installation does without, by an explicit
    choice; `cgroup2`: whether limits are those of version 2; `resolved`: bind sources to the paths that they lead to;
    `shared`: paths of namespaces that are the host's own; `pod`: the UID of the container's pod, where the runtime says
    it beside the specification; `machine`: the kernel's name of its architecture, empty where filters are to be for all
    that the type knows.
    """

    def __init__(
        self,
        *,
        selinux: bool = True,
        without: Collection[str] = (),
        cgroup2: bool = True,
        resolved: dict[str, str] | None = None,
        shared: Collection[str] = (),
        machine: str = "",
        pod: str = "",
    ) -> None:
        self.selinux = selinux
        self.without = frozenset(without)
        self.cgroup2 = cgroup2
        self.resolved = resolved or {}
        self.shared = frozenset(shared)
        self.machine = machine
        self.pod = pod
