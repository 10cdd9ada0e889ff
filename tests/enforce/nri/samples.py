"""Pods and containers as containerd describes them to a plugin, on a host with cgroup v2."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from stockade.enforce.nri.wire import Fields

SANDBOX = "/run/containerd/io.containerd.grpc.v1.cri/sandboxes/p"


def pod(**more: Any) -> Fields:
    """A pod in the namespace `shop`."""
    kinds = ("ipc", "mount", "network", "pid", "uts")
    made: Fields = {
        "id": "p" * 64,
        "name": "web-0",
        "uid": "u",
        "namespace": "shop",
        "annotations": {"io.kubernetes.cri.container-type": "sandbox"},
        "runtime_handler": "",
        "linux": {"namespaces": [{"type": kind} for kind in kinds]},
        "pid": 7860,
    }
    return {**made, **more}


def container(**linux: Any) -> Fields:
    """A container as CRI makes it when nobody asks for more; `linux` replaces parts of what is beneath that key."""
    made: Fields = {
        "id": "c" * 64,
        "pod_sandbox_id": "p" * 64,
        "name": "web",
        "annotations": {"io.kubernetes.cri.image-name": "images.example/shop/web:1"},
        "args": ["/bin/serve"],
        "env": ["PATH=/bin", "HOSTNAME=web-0"],
        "mounts": [
            mount("/proc", "proc", "nosuid noexec nodev"),
            mount("/dev", "tmpfs", "nosuid strictatime mode=755 size=65536k"),
            mount("/dev/pts", "devpts", "nosuid noexec newinstance ptmxmode=0666 mode=0620 gid=5"),
            mount("/dev/mqueue", "mqueue", "nosuid noexec nodev"),
            mount("/sys", "sysfs", "nosuid noexec nodev ro"),
            mount("/sys/fs/cgroup", "cgroup", "nosuid noexec nodev relatime ro"),
            mount("/etc/hostname", "bind", "rbind rprivate rw", f"{SANDBOX}/hostname"),
            mount("/etc/resolv.conf", "bind", "rbind rprivate rw", f"{SANDBOX}/resolv.conf"),
            mount("/dev/shm", "bind", "rbind rprivate rw", f"{SANDBOX}/shm"),
        ],
        "linux": {
            "namespaces": [
                *({"type": kind, "path": f"/proc/7860/ns/{kind}"} for kind in ("pid", "ipc", "uts")),
                {"type": "mount"},
                {"type": "network", "path": "/proc/7860/ns/net"},
                {"type": "cgroup"},
            ],
            "resources": {
                "memory": {"limit": 1 << 27, "swap": 1 << 27},
                "cpu": {"shares": 2},
                "devices": [{"access": "rwm"}],
            },
            "oom_score_adj": 900,
            "cgroups_path": "kubepods-podu.slice:cri-containerd:c",
            "seccomp_profile": {"profile_type": 1},
        },
    }
    made["linux"] |= deepcopy(linux)
    return made


def mount(destination: str, kind: str, options: str, source: str = "") -> Fields:
    return {"destination": destination, "type": kind, "source": source or kind, "options": options.split()}
