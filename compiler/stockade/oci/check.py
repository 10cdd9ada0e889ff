"""Strict checking of a runtime-spec document: its keys and names, and what its parts must be to each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stockade.oci.shape import normalised
from stockade.oci.specification import DOCUMENT

BIND = frozenset(["bind", "rbind"])

OPPOSITES = {
    "rw": "ro",
    "rrw": "rro",
    "suid": "nosuid",
    "rsuid": "rnosuid",
    "dev": "nodev",
    "rdev": "rnodev",
    "exec": "noexec",
    "rexec": "rnoexec",
    "symfollow": "nosymfollow",
    "rsymfollow": "rnosymfollow",
    "atime": "noatime",
    "ratime": "rnoatime",
    "diratime": "nodiratime",
    "rdiratime": "rnodiratime",
    "relatime": "norelatime",
    "rrelatime": "rnorelatime",
    "strictatime": "nostrictatime",
    "rstrictatime": "rnostrictatime",
    "iversion": "noiversion",
    "loud": "silent",
    "async": "sync",
    "mand": "nomand",
}
"""Mount options of which only one of a pair can be meant."""

PROPAGATION_OPTIONS = {
    prefix + name: rank
    for prefix in ("", "r")
    for name, rank in (("unbindable", 0), ("private", 0), ("slave", 1), ("shared", 2))
}
"""Propagation options and how much of the host's mount events they let through."""

FLAGS = (
    frozenset(OPPOSITES)
    | frozenset(OPPOSITES.values())
    | frozenset(PROPAGATION_OPTIONS)
    | BIND
    | frozenset(["defaults", "dirsync", "remount", "lazytime", "nolazytime", "tmpcopyup", "idmap", "ridmap", "copy"])
)
"""Mount options that a runtime understands itself and does not hand to the filesystem."""

IPC_SYSCTLS = frozenset(
    "kernel." + name for name in "msgmax msgmnb msgmni sem shm_rmid_forced shmall shmmax shmmni".split()
)
"""Settings of the IPC namespace that runtimes let a container have."""

TMPFS_KEYS = frozenset("size nr_blocks nr_inodes mode uid gid mpol huge context rootcontext fscontext".split())


def check_runtime_spec(spec: object) -> list[str]:
    """What is wrong with a runtime-spec document, or with parts of one; each finding starts with its JSON path.

    Every key and name must be known, every path absolute and in its shortest spelling, and the parts must fit each
    other. An empty list means that nothing was found. Never raises.
    """
    findings = list(DOCUMENT("", spec))
    # Relations are only looked at between parts of the right shape.
    if not findings and isinstance(spec, dict):
        findings.extend(_capabilities(spec.get("process", {}).get("capabilities", {})))
        findings.extend(_rlimits(spec.get("process", {}).get("rlimits", [])))
        findings.extend(_mounts(spec.get("mounts", [])))
        findings.extend(_linux(spec.get("linux", {})))
        findings.extend(_resources(spec.get("linux", {}).get("resources", {})))
    return findings


def _capabilities(sets: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The kernel's rules for the five sets; a runtime that is told otherwise fails or silently drops."""
    rules = (
        ("permitted", ("bounding",)),
        ("effective", ("permitted",)),
        ("inheritable", ("bounding",)),
        ("ambient", ("permitted", "inheritable")),
    )
    for name, holders in rules:
        for holder in holders:
            for capability in sorted(set(sets.get(name, ())) - set(sets.get(holder, ()))):
                yield f"process.capabilities.{name}: {capability} is not in {holder}"


def _rlimits(rlimits: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for index, rlimit in enumerate(rlimits):
        if rlimit["soft"] > rlimit["hard"]:
            soft, hard = rlimit["soft"], rlimit["hard"]
            yield f"process.rlimits[{index}]: the soft limit {soft} of {rlimit['type']} is above the hard limit {hard}"


def _mounts(mounts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    seen: dict[str, int] = {}
    for index, mount in enumerate(mounts):
        here, options = f"mounts[{index}]", set(mount.get("options", ()))
        first = seen.setdefault(mount["destination"], index)
        if first != index:
            yield f"{here}.destination: {mount['destination']} is already mounted by mounts[{first}]"
        for option, opposite in OPPOSITES.items():
            if {option, opposite} <= options:
                yield f"{here}.options: {option} contradicts {opposite}"
        if len(options & PROPAGATION_OPTIONS.keys()) > 1:
            yield f"{here}.options: more than one propagation"
        if mount.get("type") == "bind" or options & BIND:
            if not normalised(mount.get("source", "")):
                yield f"{here}.source: {mount.get('source')!r} is not an absolute path in its shortest spelling"
            if not options & BIND:
                yield f"{here}.options: neither bind nor rbind"
            # A bind mount has no filesystem to pass an option to: the kernel would refuse it.
            for option in sorted(options - FLAGS):
                yield f"{here}.options: unknown option {option!r} of a bind mount"
        elif mount.get("type") == "tmpfs":
            for option in sorted(options - FLAGS):
                if option.partition("=")[0] not in TMPFS_KEYS:
                    yield f"{here}.options: unknown option {option!r} of a tmpfs"


def _linux(linux: Mapping[str, Any]) -> Iterator[str]:
    for index, device in enumerate(linux.get("devices", ())):
        numbers = {"major", "minor"} & device.keys()
        if device["type"] != "p" and len(numbers) != 2:
            yield f"linux.devices[{index}]: {device['path']} needs a major and a minor number"
    for index, rule in enumerate(linux.get("resources", {}).get("devices", ())):
        if rule.get("type", "a") == "a" and (rule.get("major", -1) != -1 or rule.get("minor", -1) != -1):
            yield f"linux.resources.devices[{index}]: numbers without the type b or c"
    if "namespaces" not in linux:
        return
    own = {namespace["type"] for namespace in linux["namespaces"]}
    if "mount" not in own:
        for key in ("maskedPaths", "readonlyPaths"):
            if linux.get(key):
                yield f"linux.{key}: needs a mount namespace, or it would change the host"
    if linux.get("timeOffsets") and "time" not in own:
        yield "linux.timeOffsets: needs a time namespace"
    for name in linux.get("sysctl", {}):
        needed = sysctl_namespace(name)
        if needed is None:
            yield f'linux.sysctl["{name}"]: belongs to no namespace and would change the host'
        elif needed not in own:
            yield f'linux.sysctl["{name}"]: needs a {needed} namespace, or it would change the host'


def sysctl_namespace(name: str) -> str | None:
    """The kind of namespace that a kernel setting belongs to; None is the whole host."""
    name = name.replace("/", ".")
    if name.startswith("net."):
        return "network"
    if name.startswith("fs.mqueue.") or name in IPC_SYSCTLS:
        return "ipc"
    return "uts" if name in ("kernel.domainname", "kernel.hostname") else None


def _resources(resources: Mapping[str, Any]) -> Iterator[str]:
    memory = resources.get("memory", {})
    limit, swap = memory.get("limit"), memory.get("swap")
    if swap is not None and swap >= 0:
        if limit is None or limit < 0:
            yield "linux.resources.memory.swap: needs a memory.limit, for it is memory and swap together"
        elif swap < limit:
            yield f"linux.resources.memory.swap: {swap} is below memory.limit {limit}, which it includes"
    # Runtimes take 0 for "not said" and leave the container without a limit.
    for path, value in (
        ("memory.limit", limit),
        ("memory.swap", swap),
        ("pids.limit", resources.get("pids", {}).get("limit")),
        ("cpu.quota", resources.get("cpu", {}).get("quota")),
    ):
        if value == 0:
            yield f"linux.resources.{path}: 0 means unlimited to some runtimes"
