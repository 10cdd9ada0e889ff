"""What a trial puts onto the host: its settings, files and processes, and one bundle for each container."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stockade.bundle.actions import Catalogue
from stockade.bundle.read import Bundle
from stockade.lab.host import By, Extra, File, Task
from stockade.lab.tree import Tree
from stockade.lab.trial import programs
from stockade.lab.trial.settings import FULL, Setting, stripped, whole
from stockade.lab.trial.volume import volume
from stockade.model.action import Layer, NeedsHostPath
from stockade.model.container import Level
from stockade.model.example import levels
from stockade.model.seccomp import Action
from stockade.model.syscalls import ARCHITECTURES, numbers
from stockade.oci.base import shown_at
from stockade.seccomp.emulate import run

RUNTIMES = {"runc": "/usr/sbin/runc", "crun": "/usr/bin/crun"}
"""The runtimes by name, and where they are on the host."""

FOLDER = "/var/lib/trial"
HOST = "the rest of the host"
"""The name of the task that puts in place what the probes reach for."""

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

LEAKED = "/run/stockade/leaked"
"""The folder of the host, with a program in it, of which the runtimes have a descriptor open."""

VOLUME = "/run/stockade/volume"
"""Where a file system is mounted that has quotas."""

PROCESSES: tuple[tuple[str, str, str, str], ...] = (
    ("RUNTIME", "runtime_t", "s0", "key shm @stockade-shim"),
    ("API", "api_t", "s0", "/run/api.sock,system_u:object_r:api_socket_t:s0"),
    ("NEIGHBOUR", "container_t", "s0:c3,c4", ""),
)
"""(name, label, level, what it holds) of the processes that probes reach for, containerd apart."""


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


def addition() -> Extra:
    """What the host's image needs besides: the two programs of a trial, and a file system to mount."""
    tree = Tree()
    tree.file("usr/lib/trial/host", programs.host(), 0o755)
    tree.file("usr/lib/trial/probe", programs.probe(), 0o755)
    tree.file("usr/lib/trial/volume", volume())
    return Extra(tree)


def tasks(bundle: Bundle, known: Catalogue, cases: Sequence[Case]) -> list[Task]:
    """The rest of the host, and then one container after another: by runc and crun, and all of `full-crun` by ctr."""
    plan = "".join("\t".join(line) + "\n" for line in _plan(bundle, known, cases))
    first = Task(("/usr/lib/trial/host",), By.KERNEL, stdin=plan.encode(), name=HOST)
    return [first, *(Task(_command(case), timeout=120, name=case.name) for case in cases)]


def _command(case: Case) -> tuple[str, ...]:
    folder, runtime = f"{FOLDER}/{case.name}", RUNTIMES[case.setting.runtime]
    if case.setting.containerd:
        command = ("/usr/bin/ctr", "run", "--rm", "--runc-binary", runtime)
        return (*command, "--config", f"{folder}/config.json", case.name)
    leaking = ("/usr/lib/trial/host", "leaking", LEAKED)
    return (*leaking, runtime, "run", "--preserve-fds", "1", "--bundle", folder, case.name)


def files(bundle: Bundle, known: Catalogue, cases: Sequence[Case], tried: Iterable[str] = ()) -> list[File]:
    """The containers' bundles. `tried` names the probes to run, all when it is empty."""
    specs = {case.name: specification(bundle, known, case, tried) for case in cases}
    return [File(f"{FOLDER}/{name}/config.json", json.dumps(spec).encode()) for name, spec in specs.items()]


def _plan(bundle: Bundle, known: Catalogue, cases: Sequence[Case]) -> Iterator[tuple[str, ...]]:
    for path, value in SETTINGS:
        yield "setting", path, value
    for path, label, level in FILES:
        yield "file", path, f"system_u:object_r:{label}:{level}"
    yield "folder", LEAKED, "system_u:object_r:os_t:s0"
    yield "file", f"{LEAKED}/program", "system_u:object_r:os_t:s0"
    yield "volume", VOLUME, "system_u:object_r:state_t:s0"
    for name, label, level, holds in PROCESSES:
        yield "process", name, f"system_u:system_r:{label}:{level}", holds
    for container in sorted({case.container for case in cases}):
        yield "root", root(container), contexts(bundle, known, container)[1]


def root(container: str) -> str:
    """The root file system of a type's containers on the host; they run one after another, and leave it as it was."""
    return f"{FOLDER}/roots/{container}"


def contexts(bundle: Bundle, known: Catalogue, name: str) -> tuple[str, str]:
    """The contexts of one container of a type, with an example's categories: of its processes, of its files."""
    parts = _parts(bundle, name)
    level = Level(parts["annotations"]["io.stockade.level"])
    of_process, of_files, _ = levels(level, known.categories)
    process = ":".join(parts["process"]["selinuxLabel"].split(":")[:3])
    files = ":".join(parts["linux"]["mountLabel"].split(":")[:3])
    return f"{process}:{of_process}", f"{files}:{of_files}"


def specification(bundle: Bundle, known: Catalogue, case: Case, tried: Iterable[str] = ()) -> dict[str, Any]:
    """What a runtime is given for one container: the bundle's own parts, without what the setting takes away."""
    seccomp: Mapping[str, Any] = json.loads(bundle.bytes(f"containers/{case.container}/seccomp.json"))
    label, files = contexts(bundle, known, case.container)
    spec = stripped(whole(_parts(bundle, case.container), seccomp, label, files), case.without)
    needs = (need for action in known.actions.values() for way in action.ways for need in way)
    for path in sorted({need.path for need in needs if isinstance(need, NeedsHostPath)}):
        for _, place, _, _ in shown_at(spec, path):
            spec["process"]["env"].append(f"AT:{path}={place}")
            break
    if case.setting.containerd:
        spec["process"]["env"].append("LINGER=1")
    spec["process"]["args"] = ["/probe", *tried]
    spec["root"]["path"] = root(case.container)
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
