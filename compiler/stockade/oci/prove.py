"""Proof that a runtime-spec document says what a container type says, no less and no more.

Reads the document with a reading of its own, into the model's terms, and takes away each part it has understood: what
is left over is something the type did not say.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from typing import Any

from stockade.model.container import CgroupValue, ContainerType, Level, Quota, UserNamespace
from stockade.model.names import CAPABILITY_SETS, CGROUP_FILES, STANDARD_DEVICES, CgroupKind
from stockade.oci.check import check_runtime_spec

_ABSENT = object()


def prove_oci(type: ContainerType, spec: Mapping[str, object]) -> list[str]:
    """Every difference between a type and its document, in words; empty where they are equal.

    `linux.seccomp` is left to the proof of the filter. A document that is not a valid runtime specification is
    answered with the findings of `check_runtime_spec` alone, for it has no certain meaning. Never raises.
    """
    if findings := check_runtime_spec(spec):
        return findings
    rest: dict[str, Any] = pickle.loads(pickle.dumps(dict(spec)))  # a copy of all of it, in a tenth of deepcopy's time
    differences = [
        *_identity(type, rest),
        *_process(type, rest.get("process", {})),
        *_paths(type, rest),
        *_mounts(type, rest),
        *_namespaces(type, rest.get("linux", {})),
        *_devices(type, rest.get("linux", {})),
        *_cgroup(type, rest.get("linux", {}).get("resources", {})),
    ]
    rest.get("linux", {}).pop("seccomp", None)
    return differences + [f"{path}: not said by the type" for path in _leaves("", rest)]


def _leaves(path: str, value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _leaves(f"{path}.{name}" if path else name, member)
    else:
        yield path


def _same(path: str, found: object, meant: object) -> Iterator[str]:
    if found is _ABSENT:
        yield f"{path}: missing, the type says {meant!r}"
    elif found != meant:
        yield f"{path}: {found!r}, the type says {meant!r}"


def _identity(type: ContainerType, rest: dict[str, Any]) -> Iterator[str]:
    if rest.pop("ociVersion", None) is None:
        yield "ociVersion: missing"
    notes = rest.get("annotations", {})
    yield from _same("annotations.io.stockade.type", notes.pop("io.stockade.type", _ABSENT), type.name)
    yield from _same("annotations.io.stockade.level", notes.pop("io.stockade.level", _ABSENT), type.level.value)
    mode = notes.pop("io.stockade.mode", "enforce")
    yield from _same("annotations.io.stockade.mode", mode, type.mode)
    user = notes.pop("io.stockade.user-namespace", _ABSENT)
    yield from _same("annotations.io.stockade.user-namespace", user, type.namespaces.user.value)
    label = str(rest.get("process", {}).pop("selinuxLabel", "")).split(":", 3)
    level = "s0-s0:c0.c1023" if type.level is Level.ALL else "s0"
    yield from _same("process.selinuxLabel", label, ["system_u", "system_r", type.domain, level])
    files = str(rest.get("linux", {}).pop("mountLabel", "")).split(":", 3)
    yield from _same("linux.mountLabel", files, ["system_u", "object_r", type.files, "s0"])


def _process(type: ContainerType, process: dict[str, Any]) -> Iterator[str]:
    sets = process.get("capabilities", {})
    for name in CAPABILITY_SETS:
        path = f"process.capabilities.{name}"
        if name not in sets:
            yield f"{path}: missing"
            continue
        found, meant = {held.removeprefix("CAP_") for held in sets.pop(name)}, type.capabilities[name]
        for capability in sorted(found ^ meant):
            yield f"{path}: {capability} is in the {'document' if capability in found else 'type'} only"
    yield from _same("process.noNewPrivileges", process.pop("noNewPrivileges", False), type.no_new_privileges)
    limits = {
        entry["type"].removeprefix("RLIMIT_").lower(): (_unlimited(entry["soft"]), _unlimited(entry["hard"]))
        for entry in process.pop("rlimits", [])
    }
    meant_limits = {name: (limit.soft, limit.hard) for name, limit in type.rlimits.items()}
    yield from _tables("process.rlimits", limits, meant_limits)


def _unlimited(value: int) -> int | None:
    return None if value == 2**64 - 1 else value


def _tables(path: str, found: Mapping[Any, object], meant: Mapping[Any, object]) -> Iterator[str]:
    for name in sorted(found.keys() | meant.keys(), key=str):
        if name not in meant:
            yield f"{path}: {name} is {found[name]!r}, the type does not say it"
        else:
            yield from _same(f"{path}: {name}", found.get(name, _ABSENT), meant[name])


def _paths(type: ContainerType, rest: dict[str, Any]) -> Iterator[str]:
    yield from _same("root.readonly", rest.get("root", {}).pop("readonly", False), type.read_only_root)
    linux = rest.get("linux", {})
    for key, meant in (("maskedPaths", type.masked), ("readonlyPaths", type.read_only)):
        found = set(linux.pop(key, []))
        for path in sorted(found ^ set(meant)):
            yield f"linux.{key}: {path} is in the {'document' if path in found else 'type'} only"
    yield from _tables("linux.sysctl", linux.pop("sysctl", {}), type.sysctls)
    yield from _same("linux.rootfsPropagation", linux.pop("rootfsPropagation", _ABSENT), "rprivate")


def _mounts(type: ContainerType, rest: dict[str, Any]) -> Iterator[str]:
    found: dict[str, tuple[object, ...]] = {}
    for mount in rest.pop("mounts", []):
        described = (mount.pop("type", None), mount.pop("source", None), frozenset(mount.pop("options", [])))
        place = mount.pop("destination")
        for parent in found:
            if parent.startswith(place.rstrip("/") + "/"):
                yield f"mounts: {place} comes after {parent} and hides it"
        found[place] = described
        yield from (f"mounts: {place} has {key}, the type does not say it" for key in mount)
    meant: dict[str, tuple[object, ...]] = {}
    for tmpfs in type.tmpfs:
        size = set() if tmpfs.size is None else {f"size={tmpfs.size}"}
        meant[tmpfs.path] = ("tmpfs", "tmpfs", frozenset({"nosuid", "nodev", "noexec"} | size))
    for bind in type.mounts:
        options = {"nosuid", "nodev", *bind.options}
        options |= set() if "rbind" in options else {"bind"}
        spread = {"private", "slave", "shared", "unbindable"}
        options |= set() if any(option.removeprefix("r") in spread for option in options) else {"rprivate"}
        meant[bind.destination] = ("bind", bind.source, frozenset(options))
    yield from _tables("mounts", found, meant)


def _namespaces(type: ContainerType, linux: dict[str, Any]) -> Iterator[str]:
    found = set()
    for space in linux.pop("namespaces", []):
        found.add(space["type"])
        if "path" in space:
            yield f"linux.namespaces: {space['type']} is joined at {space['path']}, the type says a new one"
    meant = set(type.namespaces.new)
    if type.namespaces.user is UserNamespace.REQUIRED:
        meant.add("user")
    for name in sorted(found ^ meant):
        owner = "new" if name in found else "the host's"
        yield f"linux.namespaces: {name} is {owner} in the document, not in the type"


def _devices(type: ContainerType, linux: dict[str, Any]) -> Iterator[str]:
    rules = linux.get("resources", {}).pop("devices", [])
    if not rules:
        yield "linux.resources.devices: missing; what a runtime allows is then its own choice"
    everything = {(kind, -1, -1): set("rwm") for kind in "bc"}
    # Without a rule that denies the rest, the device cgroup of a new container allows everything.
    allowed: dict[tuple[str, int, int], set[str]] = {key: set(letters) for key, letters in everything.items()}
    for rule in rules:
        kinds = "bc" if rule.get("type", "a") == "a" else rule["type"]
        for kind in kinds:
            key = (kind, rule.get("major", -1), rule.get("minor", -1))
            if rule["allow"]:
                allowed.setdefault(key, set()).update(rule["access"])
            elif key[1:] == (-1, -1) and set(rule["access"]) == set("rwm"):
                allowed = {other: letters for other, letters in allowed.items() if other[0] != kind}
            else:
                yield f"linux.resources.devices: {rule} denies a part, the type only allows"
    meant = everything
    if not type.all_devices:
        meant = {(kind, major, minor): set("rw") for kind, major, minor in STANDARD_DEVICES.values()}
        meant |= {("c", 5, 2): set("rw"), ("c", 136, -1): set("rw")}
        for device in type.devices:
            major, minor = (-1 if number is None else number for number in (device.major, device.minor))
            meant.setdefault((device.kind, major, minor), set()).update(device.access)
    yield from _tables("linux.resources.devices", allowed, meant)
    nodes = {node.pop("path"): node for node in linux.pop("devices", [])}
    meant_nodes = {
        device.path: {"type": device.kind, "major": device.major, "minor": device.minor}
        | {"fileMode": 0o666, "uid": 0, "gid": 0}
        for device in type.devices
        if device.path not in STANDARD_DEVICES and None not in (device.major, device.minor)
    }
    yield from _tables("linux.devices", nodes, meant_nodes)


def _cgroup(type: ContainerType, resources: dict[str, Any]) -> Iterator[str]:
    found: dict[str, CgroupValue] = {}
    for name, value in kernel_files(resources):
        if name in found:
            yield f"linux.resources: {name} is set twice, to {found[name]!r} and to {value!r}"
        found[name] = value
    yield from _tables("linux.resources", found, type.cgroup)


def kernel_files(resources: dict[str, Any]) -> Iterator[tuple[str, CgroupValue]]:
    """What a runtime writes to which control file on cgroup v2; `unified` comes last there, and so here."""
    memory, cpu, pids = (resources.get(key, {}) for key in ("memory", "cpu", "pids"))
    limit = memory.pop("limit", None)
    if limit is not None:
        yield "memory.max", None if limit == -1 else limit
    if (swap := memory.pop("swap", None)) is not None:
        yield "memory.swap.max", None if swap == -1 else swap - limit
    if (quota := cpu.pop("quota", None)) is not None:
        # A period alone is left over, and so a difference: it sets no limit.
        yield "cpu.max", None if quota == -1 else Quota(quota, cpu.pop("period", 100_000))
    for key in ("cpus", "mems"):
        if key in cpu:
            yield f"cpuset.{key}", cpu.pop(key)
    if "limit" in pids:
        count = pids.pop("limit")
        yield "pids.max", None if count == -1 else count
    for page in resources.pop("hugepageLimits", []):
        yield f"hugetlb.{page['pageSize']}.max", page["limit"]
    for name, content in resources.pop("unified", {}).items():
        if CGROUP_FILES.get(name) is CgroupKind.LIST:
            yield name, content
        elif CGROUP_FILES.get(name) is CgroupKind.QUOTA:
            amount, _, length = content.partition(" ")
            yield name, None if amount == "max" else Quota(int(amount), int(length or 100_000))
        else:
            yield name, None if content == "max" else int(content) if content.isdecimal() else content
