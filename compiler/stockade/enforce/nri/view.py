"""A container as NRI describes it, said in the runtime specification's words, so that the core can judge it.

The view is partial: what NRI does not show (`features.NEVER`) is absent, and absent here says nothing about what the
container will have. What NRI shows in a form that this code does not know is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .wire import UNKNOWN, Fields

Spec = dict[str, Any]
"""Part of an OCI `config.json`."""


class ViewError(ValueError):
    """NRI says something of a container that has no meaning here."""


# NRI's name of a field to the specification's, where they differ.
_MEMORY = {"kernel_tcp": "kernelTCP", "disable_oom_killer": "disableOOMKiller", "use_hierarchy": "useHierarchy"}
_CPU = {"realtime_runtime": "realtimeRuntime", "realtime_period": "realtimePeriod"}
_DEVICE = {"file_mode": "fileMode"}
_HOOKS = {
    "create_runtime": "createRuntime",
    "create_container": "createContainer",
    "start_container": "startContainer",
}
_SECCOMP = {
    "default_action": "defaultAction",
    "default_errno": "defaultErrnoRet",
    "listener_path": "listenerPath",
    "listener_metadata": "listenerMetadata",
}
_SYSCALL = {"errno_ret": "errnoRet"}
_ARGUMENT = {"value_two": "valueTwo"}
_NUMBERS = {"major": 0, "minor": 0, "hard": 0, "soft": 0, "allow": False, "limit": 0, "index": 0, "value": 0}
"""Of these the specification wants a value even where it is zero, which the wire leaves out."""

IO_CLASSES = ("", "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE")
SCHEDULERS = (
    "",
    "SCHED_OTHER",
    "SCHED_FIFO",
    "SCHED_RR",
    "SCHED_BATCH",
    "SCHED_ISO",
    "SCHED_IDLE",
    "SCHED_DEADLINE",
)


def spec(container: Mapping[str, Any]) -> Spec:
    """The part of a container's specification that NRI shows."""
    linux = container.get("linux", {})
    process: Spec = {
        "args": container.get("args", []),
        "env": container.get("env", []),
        "rlimits": [_filled(limit, "hard", "soft") for limit in container.get("rlimits", [])],
    }
    made: Spec = {
        "annotations": container.get("annotations", {}),
        "hooks": hooks(container.get("hooks", {})),
        "mounts": [dict(mount) for mount in container.get("mounts", [])],
        "process": process,
        "linux": {
            "namespaces": [dict(namespace) for namespace in linux.get("namespaces", [])],
            "devices": [device(item) for item in linux.get("devices", [])],
            "resources": resources(linux.get("resources", {})),
            "sysctl": linux.get("sysctl", {}),
        },
    }
    if "oom_score_adj" in linux:
        process["oomScoreAdj"] = linux["oom_score_adj"]
    if "io_priority" in linux:
        process["ioPriority"] = io_priority(linux["io_priority"])
    if "scheduler" in linux:
        process["scheduler"] = scheduler(linux["scheduler"])
    if "seccomp_policy" in linux:
        made["linux"]["seccomp"] = seccomp(linux["seccomp_policy"])
    if "cgroups_path" in linux:
        made["linux"]["cgroupsPath"] = linux["cgroups_path"]
    if linux.get("net_devices"):
        made["linux"]["netDevices"] = linux["net_devices"]
    return made


def resources(said: Mapping[str, Any]) -> Spec:
    """`linux.resources` of what NRI calls LinuxResources; the classes for block I/O and RDT have no place there."""
    made: Spec = {}
    if "memory" in said:
        made["memory"] = _renamed(said["memory"], _MEMORY)
    if "cpu" in said:
        made["cpu"] = _renamed(said["cpu"], _CPU)
    if "pids" in said:
        made["pids"] = _filled(said["pids"], "limit")
    if "hugepage_limits" in said:
        made["hugepageLimits"] = [
            {"pageSize": item.get("page_size", ""), "limit": item.get("limit", 0)} for item in said["hugepage_limits"]
        ]
    if "unified" in said:
        made["unified"] = dict(said["unified"])
        if "pids" not in made and (most := said["unified"].get("pids.max", "")).isdecimal():
            made["pids"] = {"limit": int(most)}
    if "devices" in said:
        made["devices"] = [_filled(rule, "allow") for rule in said["devices"]]
    return made


def device(said: Mapping[str, Any]) -> Spec:
    """An entry of `linux.devices`."""
    return _filled(_renamed(said, _DEVICE), "major", "minor")


def hooks(said: Mapping[str, Any]) -> Spec:
    """`hooks`, phase by phase."""
    return {_HOOKS.get(phase, phase): [dict(hook) for hook in said[phase]] for phase in said if phase != UNKNOWN}


def seccomp(said: Mapping[str, Any]) -> Spec:
    """`linux.seccomp` of what NRI calls LinuxSeccomp."""
    made = _renamed(said, _SECCOMP)
    made["syscalls"] = [
        {
            **_renamed(rule, _SYSCALL),
            **({"args": [_argument(item) for item in rule["args"]]} if "args" in rule else {}),
        }
        for rule in said.get("syscalls", [])
    ]
    return made


def seccomp_message(profile: Mapping[str, Any]) -> Fields:
    """What NRI calls LinuxSeccomp of a `linux.seccomp`; raises ViewError for what it cannot carry."""
    back = {new: old for old, new in _SECCOMP.items()}
    made: Fields = {}
    for key, value in profile.items():
        name = back.get(key, key)
        if name == "syscalls":
            value = [_syscall(rule) for rule in value]
        elif name not in (*_SECCOMP, "architectures", "flags"):
            raise ViewError(f"seccomp: NRI cannot carry {key}")
        made[name] = value
    return made


def _syscall(rule: Mapping[str, Any]) -> Fields:
    made: Fields = {}
    for key, value in rule.items():
        if key == "errnoRet":
            made["errno_ret"] = value
        elif key == "args":
            made["args"] = [{"value_two" if k == "valueTwo" else k: v for k, v in item.items()} for item in value]
        elif key in ("names", "action"):
            made[key] = value
        elif key != "comment":
            raise ViewError(f"seccomp: NRI cannot carry {key} of a rule")
    return made


def _argument(said: Mapping[str, Any]) -> Spec:
    made = _filled(_renamed(said, _ARGUMENT), "index", "value")
    return {"index": made.pop("index"), "value": made.pop("value"), **made}


def io_priority(said: Mapping[str, Any]) -> Spec:
    """`process.ioPriority`."""
    return {"class": _named("I/O class", IO_CLASSES, said.get("class", 0)), "priority": said.get("priority", 0)}


def scheduler(said: Mapping[str, Any]) -> Spec:
    """`process.scheduler`; flags by number, for nobody here reads them."""
    return {**_known(said), "policy": _named("scheduling policy", SCHEDULERS, said.get("policy", 0))}


def _named(what: str, names: tuple[str, ...], number: int) -> str:
    if not 0 <= number < len(names):
        raise ViewError(f"{what} {number} is not known")
    return names[number]


def _known(said: Mapping[str, Any]) -> Spec:
    return {name: value for name, value in said.items() if name != UNKNOWN}


def _renamed(said: Mapping[str, Any], names: Mapping[str, str]) -> Spec:
    return {names.get(name, name): value for name, value in said.items() if name != UNKNOWN}


def _filled(said: Mapping[str, Any], *numbers: str) -> Spec:
    return {**{name: _NUMBERS[name] for name in numbers}, **_known(said)}


def unknown(said: Any, place: str) -> list[str]:
    """Places in a message, at any depth, that carry fields this code does not know."""
    found = []
    if isinstance(said, dict):
        for name, value in said.items():
            if name == UNKNOWN:
                found += [f"{place}: field {number}" for number in value]
            else:
                found += unknown(value, f"{place}.{name}")
    elif isinstance(said, list):
        for number, item in enumerate(said):
            found += unknown(item, f"{place}[{number}]")
    return found
