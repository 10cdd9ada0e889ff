"""What is taken away from a container before it is tried: one layer, or all but one, so each answers for itself."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from stockade.model.action import Layer
from stockade.model.names import CAPABILITIES
from stockade.oci.base import base_mounts

HOST_ROOT = "/all-of-the-host"
"""Where a container finds the host's files once the layer of mounts is taken away."""

_OPTIONS = frozenset({"ro", "rro", "nodev", "noexec", "nosuid"})
_SHARED = frozenset({"cgroup", "pid", "network", "ipc", "uts"})


@dataclass(frozen=True, slots=True)
class Setting:
    """A name, the layers that are taken away, the runtime that starts a container, and whether containerd calls it."""

    name: str
    without: frozenset[Layer]
    runtime: str = "runc"
    containerd: bool = False

    @property
    def enforcing(self) -> bool:
        """Whether the kernel enforces the SELinux policy."""
        return Layer.SELINUX not in self.without


FULL = Setting("full", frozenset())
SECOND = Setting("full-crun", frozenset(), "crun", containerd=True)
NOTHING = Setting("nothing", frozenset(Layer), "crun")
# By crun, which starts a container in a quarter of runc's time.
ABLATIONS = tuple(Setting(f"without-{layer}", frozenset({layer}), "crun") for layer in Layer)
ALONE = tuple(Setting(f"only-{layer}", frozenset(Layer) - {layer}, "crun") for layer in Layer)
ALL = (FULL, SECOND, *ABLATIONS, *ALONE)


def stripped(spec: Mapping[str, Any], without: Iterable[Layer]) -> dict[str, Any]:
    """A copy of a whole runtime specification without what holds these layers. SELinux is the kernel's to switch."""
    gone, new = frozenset(without), copy.deepcopy(dict(spec))
    process, linux = new["process"], new["linux"]
    if Layer.SECCOMP in gone:
        linux.pop("seccomp", None)
    if Layer.CAPABILITIES in gone:
        every = [f"CAP_{name}" for name in CAPABILITIES]
        process["capabilities"] |= {"bounding": every, "effective": every, "permitted": every}
    if Layer.NAMESPACES in gone:
        linux["namespaces"] = [space for space in linux["namespaces"] if space["type"] not in _SHARED]
    if Layer.DEVICES in gone:
        linux["resources"]["devices"] = [{"allow": True, "access": "rwm"}]
    if Layer.MOUNTS in gone:
        linux["maskedPaths"], linux["readonlyPaths"] = [], []
        new["root"]["readonly"] = False
        for mount in new["mounts"]:
            mount["options"] = [option for option in mount["options"] if option not in _OPTIONS]
        options = ["rbind", "rw", "rprivate"]
        new["mounts"].append({"destination": HOST_ROOT, "type": "bind", "source": "/", "options": options})
    if Layer.PRIVILEGES in gone:
        process["noNewPrivileges"] = False
    if Layer.LIMITS in gone:
        linux["resources"] = {"devices": linux["resources"]["devices"]}
    return new


def whole(parts: Mapping[str, Any], seccomp: Mapping[str, Any], label: str, files: str) -> dict[str, Any]:
    """The parts of a bundle's `oci.json` as a specification that a runtime starts the probes from.

    `label` is the process's context, `files` that of its mounts: those of the bundle with a container's categories.
    """
    spec = copy.deepcopy(dict(parts))
    spec["ociVersion"] = "1.0.2"
    spec["process"] |= {
        "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "cwd": "/",
        "args": ["/probe"],
        "env": ["PATH=/"],
        "selinuxLabel": label,
    }
    own = {mount["destination"]: mount for mount in spec["mounts"]}
    base = [mount for mount in base_mounts() if mount["destination"] not in own]
    spec["mounts"] = sorted([*base, *own.values()], key=lambda mount: str(mount["destination"]).split("/"))
    spec["linux"] |= {"seccomp": dict(seccomp), "mountLabel": files}
    return spec
