"""What a trial puts into the guest: the host's settings, files and processes, and one bundle for each container."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stockade.bundle.actions import Catalogue
from stockade.bundle.read import Bundle
from stockade.lab.tools import LabMissing, Tools, libraries
from stockade.lab.tree import Tree
from stockade.lab.trial import programs
from stockade.lab.trial.settings import FULL, Setting, stripped, whole
from stockade.model.action import Layer, NeedsHostPath
from stockade.model.container import Level
from stockade.model.example import levels
from stockade.model.seccomp import Action
from stockade.model.syscalls import ARCHITECTURES, numbers
from stockade.oci.base import shown_at
from stockade.seccomp.emulate import run

RUNTIMES = {"runc": "runc", "crun": "crun"}
"""Name of a runtime -> the Debian package that brings it."""

SETTINGS: tuple[tuple[str, str], ...] = (
    ("/proc/sys/kernel/dmesg_restrict", "1"),
    ("/proc/sys/kernel/kptr_restrict", "1"),
    ("/proc/sys/kernel/unprivileged_bpf_disabled", "1"),
    ("/proc/sys/kernel/perf_event_paranoid", "2"),
    ("/proc/sys/vm/unprivileged_userfaultfd", "0"),
    ("/proc/sys/kernel/core_pattern", "core"),
)
"""What the host sets in its kernel, on which the needs of some actions rest."""

FILES: tuple[tuple[str, str, str], ...] = (
    ("/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/layer", "cache_t", "s0"),
    ("/var/lib/bottlerocket/settings", "private_t", "s0"),
    ("/etc/kubernetes/pki/private/key", "secret_t", "s0"),
    ("/etc/resolv.conf", "etc_t", "s0"),
    ("/var/lib/kernel-modules/state", "state_t", "s0"),
    ("/run/stockade/runc", "runtime_exec_t", "s0"),
    ("/run/stockade/program", "os_t", "s0"),
    ("/run/stockade/neighbour", "data_t", "s0:c3,c4"),
)
"""(path, label, level) of the files that probes reach for."""

PROCESSES: tuple[tuple[str, str, str, str], ...] = (
    (
        "RUNTIME",
        "runtime_t",
        "s0",
        "key shm @stockade-shim /run/containerd/containerd.sock,system_u:object_r:any_t:s0",
    ),
    ("API", "api_t", "s0", "/run/api.sock,system_u:object_r:api_socket_t:s0"),
    ("NEIGHBOUR", "container_t", "s0:c3,c4", ""),
)
"""(name, label, level, what it holds) of the processes that probes reach for."""


@dataclass(frozen=True, slots=True, order=True)
class Case:
    """One container: a type with some layers taken away."""

    container: str
    setting: Setting
    keeps: frozenset[Layer] = frozenset()

    @property
    def without(self) -> frozenset[Layer]:
        """The layers that are in fact taken away: those of the setting, but for what runc cannot start without."""
        return self.setting.without - self.keeps

    @property
    def name(self) -> str:
        """Its name for runc."""
        return f"{self.container}.{self.setting.name}"


def initramfs(
    bundle: Bundle, known: Catalogue, policy: bytes, tools: Tools, cases: Sequence[Case], tried: Iterable[str] = ()
) -> bytes:
    """The whole guest as one archive. `tried` names the probes to run, all when it is empty."""
    tree = Tree()
    tree.file("init", programs.host(), 0o755)
    tree.file("policy", policy)
    tree.file("plan", "".join("\t".join(line) + "\n" for line in _plan(bundle, known, cases)).encode())
    tree.file("host/probe", programs.probe(), 0o755)
    for name in sorted({case.setting.runtime for case in cases}):
        program = _program(name)
        tree.file(f"host/usr/sbin/{name}", program.read_bytes(), 0o755)
        for library in libraries(program):
            tree.file(f"host{library}", Path(library).read_bytes(), 0o755)
    for place in (
        "proc",
        "sys",
        "dev",
        "new",
        *(f"host/{name}" for name in ("proc", "sys", "dev", "run", "etc", "var")),
    ):
        tree.folder(place)
    for case in cases:
        spec = specification(bundle, known, case, tried)
        text = json.dumps(spec, indent=1, sort_keys=True)
        tree.file(f"host/bundles/{case.name}/config.json", text.encode())
        tree.folder(f"host/bundles/{case.name}/rootfs")
    tree.character("dev/console", 5, 1)
    return tree.archive()


def _plan(bundle: Bundle, known: Catalogue, cases: Sequence[Case]) -> Iterable[tuple[str, ...]]:
    for path, value in SETTINGS:
        yield "sysctl", path, value
    for path, label, level in FILES:
        yield "file", path, f"system_u:object_r:{label}:{level}"
    for name, label, level, holds in PROCESSES:
        yield "process", name, f"system_u:system_r:{label}:{level}", holds
    yield "become", "system_u:system_r:init_t:s0"
    for case in cases:
        mode = "1" if case.setting.enforcing else "0"
        yield "container", case.name, mode, contexts(bundle, known, case.container)[1], case.setting.runtime


def _program(name: str) -> Path:
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin:/usr/bin:/bin")
    if found is None:
        raise LabMissing(name, f"apt-get install {RUNTIMES[name]}")
    return Path(found)


def contexts(bundle: Bundle, known: Catalogue, name: str) -> tuple[str, str]:
    """The contexts of one container of a type, with an example's categories: of its processes, of its files."""
    parts = _parts(bundle, name)
    level = Level(parts["annotations"]["io.stockade.level"])
    of_process, of_files, _ = levels(level, known.categories)
    process = ":".join(parts["process"]["selinuxLabel"].split(":")[:3])
    files = ":".join(parts["linux"]["mountLabel"].split(":")[:3])
    return f"{process}:{of_process}", f"{files}:{of_files}"


def specification(bundle: Bundle, known: Catalogue, case: Case, tried: Iterable[str] = ()) -> dict[str, Any]:
    """What runc is given for one container: the bundle's own parts, without what the setting takes away."""
    seccomp: Mapping[str, Any] = json.loads(bundle.bytes(f"containers/{case.container}/seccomp.json"))
    label, files = contexts(bundle, known, case.container)
    spec = stripped(whole(_parts(bundle, case.container), seccomp, label, files), case.without)
    needs = (need for action in known.actions.values() for way in action.ways for need in way)
    for path in sorted({need.path for need in needs if isinstance(need, NeedsHostPath)}):
        for _, place, _, _ in shown_at(spec, path):
            spec["process"]["env"].append(f"AT:{path}={place}")
            break
    spec["process"]["args"] = ["/probe", *tried]
    spec["linux"]["cgroupsPath"] = f"/{case.name}"
    return spec


def _parts(bundle: Bundle, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bundle.bytes(f"containers/{name}/oci.json"))
    return found


def cases(bundle: Bundle, types: Iterable[str], settings: Iterable[Setting]) -> list[Case]:
    """Every type in every setting, those with SELinux enforcing first.

    Where executing a program may raise privileges, runtimes install the filter before they become the container's
    user. A type whose filter refuses setgroups cannot be started so, and keeps `no-new-privileges` while it has its
    filter.
    """
    found = []
    for name in sorted(types):
        needs = frozenset() if _may_set_groups(bundle, name) else frozenset({Layer.PRIVILEGES})
        for setting in settings:
            keeps = needs if Layer.SECCOMP not in setting.without else frozenset()
            case = Case(name, setting, keeps & setting.without)
            if case.without or not setting.without:
                found.append(case)
    return sorted(found, key=lambda case: (not case.setting.enforcing, case.setting.name != FULL.name))


def _may_set_groups(bundle: Bundle, name: str) -> bool:
    program = bundle.bytes(f"containers/{name}/seccomp.x86_64.bpf")
    verdict, _ = run(program, ARCHITECTURES["x86_64"].token, numbers("x86_64")["setgroups"], (0,) * 6)
    return verdict.action is Action.ALLOW
