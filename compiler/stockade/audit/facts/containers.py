"""Containers as the kernel has them: found by their processes, never by asking the runtime."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Final

from stockade.audit.facts.fact import Fact, missing
from stockade.audit.facts.host import Host, fault_of
from stockade.audit.facts.mounts import mountinfo
from stockade.audit.facts.parse import label, line, parsed, text
from stockade.audit.facts.processes import Gone, Process, control_group, unread
from stockade.model.names import KERNEL_INTERFACES, KERNEL_SETTINGS

NAMESPACES: Final = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
SETS: Final = {
    "CapInh": "inheritable",
    "CapPrm": "permitted",
    "CapEff": "effective",
    "CapBnd": "bounding",
    "CapAmb": "ambient",
}
LIMITS: Final = (
    "memory.max", "memory.swap.max", "memory.high", "pids.max", "cpu.max", "cpu.weight", "cpuset.cpus", "io.max"
)  # fmt: skip
STATES: Final = ("/run/containerd/io.containerd.runtime.v2.task", "/run/host-containerd/io.containerd.runtime.v2.task")
"""Where containerd keeps the specification that it gave to the runtime: NAMESPACE/ID/config.json below these."""

_OF_SEVERAL: Final = dict.fromkeys(("cpuset.cpus", "io.max"), lambda content: text(content) if content.strip() else "")
"""Limits that may be empty, or of several lines; the others are one line each."""
_MOUNTS: Final = 8 << 20
_DEVICES: Final = re.compile(r"(?m)^\d+:(?:[^:\n]+,)?devices(?:,[^:\n]+)?:(.*)$")


def status(content: bytes) -> dict[str, str]:
    """The lines of /proc/PID/status, by name."""
    found = dict(one.partition(":\t")[::2] for one in text(content).splitlines())
    for name in ("Uid", "NoNewPrivs", "Seccomp", *SETS):
        if name not in found:
            raise ValueError(f"the status of a process without {name}")
    return found


def confinement(process: Process, name: str = "") -> dict[str, Any]:
    """What holds one process, or with `name` (as `task/12/`) one thread."""
    said = status(process.read(f"{name}status"))
    return {
        "pid": process.pid if not name else int(name.split("/")[1]),
        "name": said.get("Name", ""),
        "label": label(process.read(f"{name}attr/current")),
        "next": label(asked) if (asked := process.read(f"{name}attr/exec")).strip(b"\n\0") else "",
        "seccomp": int(said["Seccomp"]),
        "filters": int(said.get("Seccomp_filters", "-1")),
        "no_new_privileges": int(said["NoNewPrivs"]),
        "capabilities": {SETS[key]: int(said[key], 16) for key in SETS},
        "uid": int(said["Uid"].split()[1]),
        "namespaces": {kind: process.link(f"{name}ns/{kind}").partition(":[")[2][:-1] for kind in NAMESPACES},
        "program": process.link(f"{name}exe"),
    }


def collect(host: Host, members: Mapping[str, list[int]], stated: Fact) -> dict[str, Fact]:
    """The facts `containers` (one object each, see `_container`, or id, group, outcome and why) and `containers.host`,
    what PID 1 has of the same."""
    folder = host.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    if isinstance(folder, Fact):
        return {"containers": folder, "containers.host": folder, "containerd.tasks": stated}
    found, ended = [], []
    try:
        init = Process(folder, 1)
        try:
            namespaces = {kind: init.link(f"ns/{kind}").partition(":[")[2][:-1] for kind in NAMESPACES}
        finally:
            init.close()
        for name in sorted(members):
            one = _container(host, folder, name, members[name])
            if not one:
                ended.append(name)
            else:
                found.append(one)
        paths = (*KERNEL_INTERFACES, *KERNEL_SETTINGS)
        exists = [path for path in paths if host.status(path).outcome != "absent"]
        own = Fact.of({"namespaces": namespaces, "ended": ended, "exists": exists}, "/proc/1/ns")
        return {"containers": Fact.of(found, "/proc"), "containers.host": own, "containerd.tasks": stated}
    except OSError as error:
        said = fault_of(error, "/proc")
    except (ValueError, Gone) as error:
        said = Fact.malformed("/proc", str(error) or "a process ended while it was read")
    finally:
        os.close(folder)
    return {"containers": said, "containers.host": said, "containerd.tasks": stated}


def _container(host: Host, folder: int, name: str, pids: list[int]) -> dict[str, Any]:
    """id, group, processes (see `confinement`; threads that differ from their leader too), mounts, limits, devices.

    A process that cannot be read is one of pid, outcome and why, and so is what is not known of mounts and limits;
    where no process can be, the container is no more than that itself. Empty for one that ended while it was read.
    """
    processes: list[dict[str, Any]] = []
    mounts: dict[str, Any] = {}
    common: dict[str, Any] = {}
    for pid in pids:
        try:
            process = Process(folder, pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
        try:
            voice = process.voice()
            several = _threads(process, voice)
            if not common:
                common = _common(process, voice)
            namespace = several[0]["namespaces"]["mnt"]
            if namespace not in mounts:
                mounts[namespace] = _mounts(process, voice)
            processes += several
        except Gone:
            continue
        except (OSError, ValueError) as error:
            processes.append(unread(error, pid).member(pid=pid))
        finally:
            process.close()
    if all(map(missing, processes)):
        said = {key: processes[0][key] for key in ("outcome", "why")} if processes else {}
        return said and {"id": name, "group": common.get("group", "?"), **said}
    return {"id": name, **common, "processes": processes, "mounts": mounts, "limits": _limits(host, common["group"])}


def _threads(process: Process, voice: str) -> list[dict[str, Any]]:
    """The confinement of a process, and of each thread of it that is confined in another way."""
    own = {} if not voice else {"thread_of": process.pid}
    first = {**confinement(process, voice), **own}
    found = [first]
    threads = process.threads()
    for thread in threads if len(threads) > 1 else ():
        if thread == str(first["pid"]) or (voice and thread == str(process.pid)):
            continue
        try:
            other = confinement(process, f"task/{thread}/")
        except Gone:
            continue
        if _confined(other) != _confined(first):
            found.append({**other, "thread_of": process.pid})
    return found


def _common(process: Process, voice: str) -> dict[str, Any]:
    """What the processes of one container share: its control groups, and its limits of old."""
    content = process.read(f"{voice}cgroup")
    if not control_group(content):
        raise ValueError("no control group")
    groups = content.decode("utf-8", "backslashreplace")
    return {
        "group": groups.rpartition("::")[2].strip(),
        "device_group": next(iter(_DEVICES.findall(groups)), ""),
        "rlimits": _rlimits(process.read(f"{voice}limits")),
        "oom_score_adj": int(process.read(f"{voice}oom_score_adj")),
    }


def _mounts(process: Process, voice: str) -> Any:
    try:
        return mountinfo(process.read(f"{voice}mountinfo", _MOUNTS))
    except (OSError, ValueError) as error:
        return unread(error, process.pid).member(pid=process.pid)


def _limits(host: Host, group: str) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    for file in LIMITS:
        said = parsed(host.read(f"/sys/fs/cgroup{group}/{file}", 4096), _OF_SEVERAL.get(file, line))
        if said.known:
            limits[file] = said.value.strip()
        elif said.outcome != "absent":
            limits[file] = said.member(file=file)
    return limits


def _confined(one: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in one.items() if key not in ("pid", "name", "program", "thread_of")}


def _rlimits(content: bytes) -> dict[str, list[str]]:
    """Name as the kernel says it (`Max open files`) to soft and hard limit."""
    found = {}
    for one in text(content).splitlines()[1:]:
        words = one[26:].split()
        if len(words) < 2:
            raise ValueError(f"not a limit: {one[:60]!r}")
        found[one[:26].strip()] = words[:2]
    return found


def tasks(host: Host) -> Fact:
    """What containerd says it runs: id, namespace, group, type (annotation of stockade), and root, from its specs."""
    import json

    found: list[dict[str, Any]] = []
    for state in STATES:
        spaces = host.names(state)
        if not spaces.known:
            if spaces.outcome == "absent":
                continue
            return spaces
        for space in spaces.value:
            names = host.names(f"{state}/{space}")
            for name in names.value or () if names.known else ():
                said = host.read(f"{state}/{space}/{name}/config.json", 4 << 20)
                if not said.known:
                    if said.outcome == "absent":
                        continue
                    return said
                try:
                    spec = json.loads(said.value)
                    linux, notes = spec.get("linux") or {}, spec.get("annotations") or {}
                    found.append(
                        {
                            "id": name,
                            "namespace": space,
                            "group": _group(str(linux.get("cgroupsPath") or "")),
                            "type": notes.get("io.stockade.type", ""),
                            "pod": notes.get("io.kubernetes.cri.sandbox-id", ""),
                            "label": (spec.get("process") or {}).get("selinuxLabel", ""),
                            "kind": notes.get("io.kubernetes.cri.container-type", ""),
                        }
                    )
                except (ValueError, AttributeError, RecursionError) as error:
                    return Fact.malformed(said.path, f"no runtime specification: {error}")
    return Fact.of(found, STATES[0])


def _group(path: str) -> str:
    """The control group that a spec's `cgroupsPath` is, of systemd's form (slice:prefix:name) too."""
    if path.count(":") != 2:
        return path
    slice_, prefix, name = path.split(":")
    parents = ""
    if slice_.endswith(".slice") and slice_ != "-.slice":
        words = slice_.removesuffix(".slice").split("-")
        parents = "".join(f"/{'-'.join(words[:n])}.slice" for n in range(1, len(words) + 1))
    return f"{parents or '/system.slice'}/{f'{prefix}-' if prefix else ''}{name}.scope"
