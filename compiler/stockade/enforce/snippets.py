"""What containerd and Kubernetes are told of the container types: base specifications, runtimes, runtime classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stockade.enforce.choose import HANDLER, SELECTING

_MOUNTS = (
    ("/proc", "proc", "proc", "nosuid noexec nodev"),
    ("/dev", "tmpfs", "tmpfs", "nosuid strictatime mode=755 size=65536k"),
    ("/dev/pts", "devpts", "devpts", "nosuid noexec newinstance ptmxmode=0666 mode=0620 gid=5"),
    ("/dev/shm", "tmpfs", "shm", "nosuid noexec nodev mode=1777 size=65536k"),
    ("/dev/mqueue", "mqueue", "mqueue", "nosuid noexec nodev"),
    ("/sys", "sysfs", "sysfs", "nosuid noexec nodev ro"),
)
_ASKED = '  pod_annotations = ["io.stockade.type"]\n'
"""The launcher that chooses is told what a pod asks for."""

_PLUGINS = {2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.runtime"}


def base_spec(oci: Mapping[str, Any], seccomp: Mapping[str, Any]) -> dict[str, Any]:
    """The specification that containerd starts from for a type: complete, and the type's wherever that speaks.

    The labels are containerd's to make, and the mounts of the host the wrapper's to judge: neither is in it.
    """
    process = {key: value for key, value in oci["process"].items() if key != "selinuxLabel"}
    linux = {key: value for key, value in oci["linux"].items() if key != "mountLabel"}
    own = [mount for mount in oci["mounts"] if mount["type"] == "tmpfs"]
    common = [
        {"destination": place, "type": kind, "source": source, "options": options.split()}
        for place, kind, source, options in _MOUNTS
    ]
    return {
        "ociVersion": oci["ociVersion"],
        "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", **process},
        "root": {"path": "rootfs", **oci["root"]},
        "mounts": common + own,
        "linux": {**linux, "seccomp": dict(seccomp)},
    }


def containerd(handlers: Iterable[str], prefix: str, version: int, *, systemd_cgroup: bool = False) -> str:
    """The runtimes of containerd's configuration of one version, 2 or 3, as TOML. KeyError for another version.

    `systemd_cgroup`: the kubelet has systemd make its control groups, and names them as systemd does.
    """
    plugin = _PLUGINS[version]
    groups = "    SystemdCgroup = true\n" if systemd_cgroup else ""
    parts = [f"version = {version}\n"]
    for handler in handlers:
        table = f'plugins."{plugin}".containerd.runtimes.{handler}'
        base = f"{prefix}/share/stockade/cri-base-{handler.removeprefix(HANDLER)}.json"
        parts.append(
            f"[{table}]\n"
            '  runtime_type = "io.containerd.runc.v2"\n'
            + (f'  base_runtime_spec = "{base}"\n' if handler != SELECTING else _ASKED)
            + f'  [{table}.options]\n    BinaryName = "{prefix}/bin/{handler}"\n{groups}'
        )
    return "\n".join(parts)


def runtime_classes(handlers: Iterable[str]) -> str:
    """A Kubernetes RuntimeClass for each handler, as YAML."""
    return "".join(
        f"---\napiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata:\n  name: {handler}\nhandler: {handler}\n"
        for handler in handlers
    )
