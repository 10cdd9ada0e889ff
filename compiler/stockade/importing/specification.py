"""Reads an OCI `config.json`, whoever wrote it, as the draft of a container type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stockade.importing.draft import Draft, ImportFault, capability, hidden, listed, mount, size
from stockade.model.container import Device, Level
from stockade.model.names import CAPABILITY_SETS, CGROUP_FILES, NAMESPACES, STANDARD_DEVICES, CgroupKind
from stockade.oci.build import ANNOTATION, INFINITY, TERMINAL_DEVICES, standard_devices
from stockade.oci.check import check_runtime_spec

CONFINING = ("apparmorProfile", "ioPriority", "scheduler", "execCPUAffinity", "oomScoreAdj")
"""Members of `process` that confine or favour it and that no container type says."""

KINDS = {"memory", "cpu", "pids", "hugepageLimits", "unified", "devices"}


def draft_of_spec(spec: Any, where: str = "$") -> Draft:
    """The draft that a runtime specification is. ImportFault with every reason where it is none that is valid."""
    if findings := check_runtime_spec(spec):
        raise ImportFault("\n".join(f"{where}: {finding}" for finding in findings))
    draft = Draft()
    process, linux = spec.get("process") or {}, spec.get("linux") or {}
    annotations = spec.get("annotations") or {}
    draft.name = annotations.get(f"{ANNOTATION}type", spec.get("hostname", ""))
    _selinux(draft, process, linux, annotations)
    _capabilities(draft, process.get("capabilities") or {})
    _namespaces(draft, linux.get("namespaces") or [], annotations)
    cgroup(draft, linux.get("resources") or {})
    draft.body["root"] = "read-only" if (spec.get("root") or {}).get("readonly") else "writable"
    draft.body["tmpfs"], draft.body["mounts"] = [], []
    for at, entry in enumerate(spec.get("mounts") or []):
        kind = entry.get("type", "none")
        mount(draft, entry.get("source", ""), entry["destination"], entry.get("options") or [], kind, f"mounts[{at}]")
    hidden(draft, "mask", "@kernel-interfaces", linux.get("maskedPaths"))
    hidden(draft, "read-only", "@kernel-settings", linux.get("readonlyPaths"))
    draft.body["no-new-privileges"] = bool(process.get("noNewPrivileges"))
    rlimits = process.get("rlimits") or []
    draft.body["rlimits"] = {
        limit["type"].removeprefix("RLIMIT_").lower(): rlimit(limit["soft"], limit["hard"]) for limit in rlimits
    }
    _devices(draft, linux)
    draft.body["sysctls"] = dict(sorted((linux.get("sysctl") or {}).items()))
    draft.seccomp = linux.get("seccomp")
    lost = [f"process.{key}" for key in CONFINING if process.get(key)]
    lost += [f"linux.{key}" for key in ("intelRdt", "personality", "netDevices") if linux.get(key)]
    lost += [key for key in ("hooks",) if spec.get(key)]
    for key in lost:
        draft.note(f"not expressed: {key}")
    return draft


def rlimit(soft: int, hard: int) -> Any:
    """A resource limit as the language writes it; the largest number, and -1 of engines, is no limit."""
    low, high = ("unlimited" if n in (-1, INFINITY) else n for n in (soft, hard))
    return low if low == high else {"soft": low, "hard": high}


def _selinux(draft: Draft, process: Mapping[str, Any], linux: Mapping[str, Any], said: Mapping[str, str]) -> None:
    selinux = {}
    if label := process.get("selinuxLabel"):
        _, _, domain, level = (*label.split(":", 3), "")[:4]
        pair = "all" if "." in level else "pair" if "," in level else "none"
        selinux = {"process": domain, "files": "", "level": said.get(f"{ANNOTATION}level", pair)}
        if selinux["level"] not in tuple(Level):
            raise ImportFault(f"$.annotations.{ANNOTATION}level: {selinux['level']!r} is no level")
    if (label := linux.get("mountLabel")) and selinux:
        selinux["files"] = label.split(":")[2]
    draft.body["selinux"] = {key: value for key, value in selinux.items() if value}


def _capabilities(draft: Draft, sets: Mapping[str, list[str]]) -> None:
    held = {
        key: {capability(word, f"$.process.capabilities.{key}") for word in sets.get(key) or []}
        for key in CAPABILITY_SETS
    }
    bounding = held["bounding"]
    plain = bounding == held["effective"] == held["permitted"] and not (held["inheritable"] or held["ambient"])
    draft.body["capabilities"] = listed(bounding) if plain else {key: listed(held[key]) for key in CAPABILITY_SETS}


def _namespaces(draft: Draft, entries: list[Mapping[str, Any]], said: Mapping[str, str]) -> None:
    new = set()
    for entry in entries:
        kind, path = entry["type"], entry.get("path", "")
        if path.startswith(("/proc/1/ns/", "/proc/self/ns/")):
            continue
        new.add(kind)
        if path:
            draft.note(f"left to the engine: the {kind} namespace is shared with others, by {path}")
    user = "required" if "user" in new else said.get(f"{ANNOTATION}user-namespace", "optional")
    host = [kind for kind in NAMESPACES if kind not in new | {"user", "time"}]
    draft.body["namespaces"] = {"new": [kind for kind in NAMESPACES if kind in new - {"user"}], "host": host}
    draft.body["namespaces"]["user"] = user


def cgroup(draft: Draft, resources: Mapping[str, Any]) -> None:
    """`linux.resources` without devices as control files of cgroup v2; what has no such file is noted."""
    found: dict[str, Any] = {}
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    limit, swap, low = (memory.get(key) for key in ("limit", "swap", "reservation"))
    if limit and limit > 0:
        found["memory.max"] = size(limit)
    if swap == -1:
        found["memory.swap.max"] = "max"
    elif swap and limit and swap >= limit > 0:
        found["memory.swap.max"] = size(swap - limit)
    if low and low > 0:
        found["memory.low"] = size(low)
    if (quota := cpu.get("quota")) and quota > 0:
        found["cpu.max"] = f"{quota} {cpu.get('period') or 100_000}"
    if shares := cpu.get("shares"):
        found["cpu.weight"] = 1 + (min(max(shares, 2), 262_144) - 2) * 9_999 // 262_142
    found |= {f"cpuset.{key}": cpu[key] for key in ("cpus", "mems") if cpu.get(key)}
    if (pids := (resources.get("pids") or {}).get("limit")) and pids > 0:
        found["pids.max"] = pids
    for page in resources.get("hugepageLimits") or []:
        _file(draft, found, f"hugetlb.{page['pageSize']}.max", page["limit"])
    for name, value in (resources.get("unified") or {}).items():
        _file(draft, found, name, value)
    unsaid = [f"memory.{key}" for key in ("kernel", "kernelTCP", "swappiness", "disableOOMKiller") if memory.get(key)]
    unsaid += [f"cpu.{key}" for key in ("realtimeRuntime", "realtimePeriod", "burst", "idle") if cpu.get(key)]
    for key in [*unsaid, *sorted(key for key in resources.keys() - KINDS if resources[key])]:
        draft.note(f"not expressed: linux.resources.{key}")
    draft.body["cgroup"] = dict(sorted(found.items()))


def _file(draft: Draft, found: dict[str, Any], name: str, value: Any) -> None:
    if name not in CGROUP_FILES:
        draft.note(f"not expressed: the control file {name}")
    elif not str(value).isdecimal() or CGROUP_FILES[name] is CgroupKind.LIST:
        found[name] = value
    else:
        kind = CGROUP_FILES[name]
        found[name] = size(int(value)) if kind in (CgroupKind.BYTES, CgroupKind.FLOOR) else int(value)


def _devices(draft: Draft, linux: Mapping[str, Any]) -> None:
    rules = (linux.get("resources") or {}).get("devices") or []
    nodes = {(n["type"], n["major"], n["minor"]): n["path"] for n in linux.get("devices") or [] if "major" in n}
    allowed: dict[tuple[str, int | None, int | None], set[str]] = {}
    everything = False
    for rule in rules:
        kind = {"u": "c"}.get(rule.get("type") or "a", rule.get("type") or "a")
        major, minor = (None if rule.get(key) in (None, -1) else rule[key] for key in ("major", "minor"))
        access = set(rule.get("access") or "rwm")
        if kind == "a" and major is None:
            everything, allowed = bool(rule["allow"]) and len(access) == 3, {}
        elif rule["allow"]:
            allowed.setdefault((kind, major, minor), set()).update(access)
        else:
            _deny(draft, allowed, (kind, major, minor), access)
    if everything:
        draft.body["devices"] = "all"
        return
    if not rules:
        draft.note("narrowed: devices: the standard ones; the specification says nothing of devices")
    draft.body["devices"] = device_list(draft, allowed, nodes)


def _deny(draft: Draft, allowed: dict[Any, set[str]], key: tuple[Any, ...], access: set[str]) -> None:
    """A later refusal takes away from all it covers; where it covers a part of a rule, the whole rule goes."""
    for other in [one for one in allowed if one[0] == key[0] and _meet(one[1], key[1]) and _meet(one[2], key[2])]:
        allowed[other] -= access
        if not allowed[other]:
            del allowed[other]
        if other != key:
            draft.note(f"narrowed: devices: a rule that refuses a part of {other} takes away all of it")


def _meet(one: int | None, other: int | None) -> bool:
    return one is None or other is None or one == other


def device_list(draft: Draft, allowed: Mapping[Any, set[str]], nodes: Mapping[Any, str]) -> str | list[Any]:
    """The value of `devices`, from what is allowed by (kind, major, minor) and the nodes' paths by the same."""
    found: list[Any] = ["@standard"]
    for (kind, major, minor), access in sorted(allowed.items(), key=str):
        letters = "".join(letter for letter in "rwm" if letter in access - _standard(kind, major, minor))
        if major is None and letters == "m":
            draft.note(f"narrowed: devices: nodes of any {'block' if kind == 'b' else 'character'} device are not made")
        elif letters:
            path = nodes.get((kind, major, minor))
            said = {"major": major, "minor": minor}
            numbers = {key: value for key, value in said.items() if value is not None}
            place = path or f"/dev/{kind}-{'any' if major is None else major}-{'any' if minor is None else minor}"
            full = "".join(letter for letter in "rwm" if letter in access)
            why = "as in the imported container"
            found.append({"path": place, "type": kind, **numbers, "access": full, "why": why})
            draft.comments["devices"] = "each device, its path and access"
    return found if len(found) > 1 else "@standard"


def _standard(kind: str, major: int | None, minor: int | None) -> set[str]:
    """What every container may do with such a device."""

    def covers(device: Device) -> bool:
        return (device.kind, device.major) == (kind, major) and device.minor in (None, minor)

    return set("".join(device.access for device in (*standard_devices(), *TERMINAL_DEVICES) if covers(device))) | (
        {"m"} if (kind, major, minor) in STANDARD_DEVICES.values() else set()
    )
