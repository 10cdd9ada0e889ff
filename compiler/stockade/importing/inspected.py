"""Reads what `docker`, `podman`, `nerdctl` and `crictl inspect` print as the draft of a container type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from stockade.importing.draft import Draft, ImportFault, capability, hidden, listed, member, mount, texts
from stockade.importing.specification import cgroup, device_list, draft_of_spec, rlimit
from stockade.model.names import CAPABILITIES, NAMESPACES
from stockade.seccomp.profile import DOCKER_CAPS

MODES = {
    "mount": None,
    "pid": "PidMode",
    "network": "NetworkMode",
    "ipc": "IpcMode",
    "uts": "UTSMode",
    "cgroup": "CgroupnsMode",
}
"""Kind of namespace to the member of `HostConfig` that says whose it is."""

SEEN: Mapping[str, str] = {
    "/lib/modules": "capabilities: SYS_MODULE, if it loads modules; reading them needs the mount alone",
    "/dev/net/tun": "capabilities: NET_ADMIN, and the device",
    "/dev/fuse": "capabilities: SYS_ADMIN, and the device",
    "/dev": "devices: those it opens, each by name",
    "/sys": "read-only: what it changes below /sys, taken out",
    "/proc": "namespaces: {host: [pid]}, if it looks at the host's processes",
    "/var/run/docker.sock": "nothing: who speaks to the engine is root on the host, whatever the type says",
    "/run/docker.sock": "nothing: who speaks to the engine is root on the host, whatever the type says",
    "/run/containerd/containerd.sock": "nothing: who speaks to the engine is root on the host, whatever the type says",
}
"""Host paths that say what a privileged container is for, and what of a type would let it."""


def draft_of_inspect(document: Any) -> Draft:
    """The draft of the one container that was inspected. ImportFault where there is none, or more than one."""
    entries = document if isinstance(document, list) else [document]
    if len(entries) != 1:
        raise ImportFault(f"$: expected one container, got {len(entries)}; inspect one at a time")
    if not isinstance(entries[0], dict):
        raise ImportFault(f"$: expected a container, got {entries[0]!r}"[:300])
    if "RootFS" in entries[0] and "HostConfig" not in entries[0]:
        raise ImportFault("$: this is an image, which says nothing of what may be done: inspect a container of it")
    entry, path = entries[0], "$[0]" if isinstance(document, list) else "$"
    if isinstance(entry.get("info"), dict):
        return _crictl(entry, path)
    if isinstance(entry.get("Spec"), dict):
        draft = draft_of_spec(entry["Spec"], f"{path}.Spec")
        draft.name = str((entry.get("Labels") or {}).get("nerdctl/name", draft.name))
        draft.seccomp = None
        draft.note("left to the policy: system calls: nerdctl does not say whether the filter was asked for")
        return draft
    if not isinstance(entry.get("HostConfig"), dict):
        raise ImportFault(
            f"{path}: no container: neither HostConfig (docker, podman), Spec (nerdctl) nor info (crictl)"
        )
    return _engine(entry, path)


def _crictl(entry: dict[str, Any], path: str) -> Draft:
    info = entry["info"]
    if not isinstance(info.get("runtimeSpec"), dict):
        raise ImportFault(f"{path}.info.runtimeSpec: missing; this crictl prints no runtime specification")
    draft = draft_of_spec(info["runtimeSpec"], f"{path}.info.runtimeSpec")
    status = member(entry, path, "status", dict, {})
    draft.name = str(member(status, f"{path}.status", "metadata", dict, {}).get("name", draft.name))
    said: Any = info.get("config") or {}
    for key in ("linux", "security_context"):
        said = said.get(key) or {} if isinstance(said, dict) else {}
    kind = (said.get("seccomp") or {}).get("profile_type", 0) if isinstance(said, dict) else 0
    if said.get("privileged"):
        _privileged(draft)
    if draft.seccomp is None:
        draft.note("narrowed: system calls: the container runs without a filter")
    elif kind not in (2, "Localhost"):
        draft.seccomp = None
        draft.note("left to the policy: system calls: the runtime's default filter was not asked for")
    return draft


def _engine(entry: dict[str, Any], path: str) -> Draft:
    host, config = entry["HostConfig"], member(entry, path, "Config", dict, {})
    here = f"{path}.HostConfig"
    draft = Draft(name=member(entry, path, "Name", str, "").lstrip("/"))
    privileged = member(host, here, "Privileged", bool, False)
    _capabilities(draft, entry, host, config, path)
    options = _security(draft, texts(host, here, "SecurityOpt"))
    draft.body["no-new-privileges"] = options["no-new-privileges"]
    _namespaces(draft, host, here)
    cgroup(draft, _resources(host, here))
    draft.body["root"] = "read-only" if member(host, here, "ReadonlyRootfs", bool, False) else "writable"
    _mounts(draft, entry, host, path)
    hides = not (privileged or options["unmasked"])
    for key, group, name in (
        ("mask", "@kernel-interfaces", "MaskedPaths"),
        ("read-only", "@kernel-settings", "ReadonlyPaths"),
    ):
        listing = host.get(name) is not None
        hidden(draft, key, group, texts(host, here, name) if listing else ["/proc/kcore"] if hides else [])
        if not listing:
            draft.notes = [note for note in draft.notes if not note.startswith(f"narrowed: {key}: ")]
    draft.body["rlimits"] = {}
    for at, limit in enumerate(member(host, here, "Ulimits", list, [])):
        where = f"{here}.Ulimits[{at}]"
        name = member(limit, where, "Name", str, "").lower().removeprefix("rlimit_")
        draft.body["rlimits"][name] = rlimit(
            member(limit, where, "Soft", int, -1), member(limit, where, "Hard", int, -1)
        )
    _devices(draft, host, here, privileged)
    draft.body["sysctls"] = dict(sorted(member(host, here, "Sysctls", dict, {}).items()))
    if member(host, here, "NetworkMode", str, "") == "none":
        draft.body["sockets"] = {"families": ["unix"], "why": "it has no network; libraries use unix sockets"}
    if privileged:
        _privileged(draft)
    return draft


def _capabilities(draft: Draft, entry: dict[str, Any], host: dict[str, Any], config: dict[str, Any], path: str) -> None:
    here = f"{path}.HostConfig"
    added = [word.upper() for word in texts(host, here, "CapAdd")]
    dropped = [word.upper() for word in texts(host, here, "CapDrop")]
    extra = {capability(word, f"{here}.CapAdd") for word in added if word != "ALL"}
    less = {capability(word, f"{here}.CapDrop") for word in dropped if word != "ALL"}
    if bounding := texts(entry, path, "BoundingCaps"):  # podman says what came of all this
        held = {capability(word, f"{path}.BoundingCaps") for word in bounding}
    elif "ALL" in added:
        held = set(CAPABILITIES) - less
    else:
        held = (set() if "ALL" in dropped else set(DOCKER_CAPS) - less) | extra
    user = member(config, f"{path}.Config", "User", str, "").partition(":")[0]
    if user not in ("", "0", "root") and held - extra:
        draft.note(f"narrowed: capabilities: it runs as {user}, who holds none of those that the engine gives")
        held &= extra
    ports = member(config, f"{path}.Config", "ExposedPorts", dict, {})
    numbers = [int(port.partition("/")[0]) for port in ports if port.partition("/")[0].isdecimal()]
    if "NET_BIND_SERVICE" in held - extra and numbers and min(numbers) >= 1024:
        draft.note(f"narrowed: capabilities: NET_BIND_SERVICE: no port below 1024 is exposed, but {min(numbers)}")
        held.discard("NET_BIND_SERVICE")
    draft.body["capabilities"] = listed(held)
    draft.comments["capabilities"] = "what the program needs; the engine gives most of these unasked"
    draft.added = sorted(held if "ALL" in added else extra & held)


def _security(draft: Draft, options: list[str]) -> dict[str, bool]:
    """What `--security-opt` says; the profile, where one is given, goes into the draft."""
    found = {"no-new-privileges": False, "unmasked": False}
    for option in options:
        name, _, value = option.replace(":", "=", 1).partition("=") if "=" not in option else option.partition("=")
        if name == "no-new-privileges":
            found[name] = value != "false"
        elif name == "seccomp" and value == "unconfined":
            draft.note("narrowed: system calls: the container runs without a filter")
        elif name == "seccomp" and value.lstrip().startswith("{"):
            try:
                draft.seccomp = json.loads(value)
            except ValueError as error:
                raise ImportFault(f"SecurityOpt: seccomp: not JSON: {error}") from None
        elif name == "seccomp" and value not in ("", "builtin", "default"):
            draft.note(f"not expressed: the filter in {value}: give it with --seccomp")
        elif name in ("systempaths", "unmask"):
            found["unmasked"] = True
        elif name != "seccomp":
            draft.note(f"not expressed: security option {option}: labels are the policy's to say")
    return found


def _namespaces(draft: Draft, host: dict[str, Any], here: str) -> None:
    shared = []
    for kind, key in MODES.items():
        mode = member(host, here, key, str, "") if key else ""
        if mode == "host":
            shared.append(kind)
        elif mode.partition(":")[0] in ("container", "ns"):
            draft.note(f"left to the engine: the {kind} namespace is shared with others: {mode}")
    new = [kind for kind in NAMESPACES if kind in MODES and kind not in shared]
    draft.body["namespaces"] = {"new": new, "host": shared, "user": "optional"}
    if member(host, here, "UsernsMode", str, "") == "host":
        draft.note("left to the engine: it runs without a user namespace; the type leaves that open")


def _resources(host: dict[str, Any], here: str) -> dict[str, Any]:
    """The limits of `HostConfig` as the specification's `linux.resources`."""

    def number(key: str) -> int:
        return int(member(host, here, key, int, 0))

    quota = number("CpuQuota") or number("NanoCpus") // 10_000
    return {
        "memory": {"limit": number("Memory"), "swap": number("MemorySwap"), "reservation": number("MemoryReservation")},
        "cpu": {
            "quota": quota,
            "period": number("CpuPeriod") or 100_000,
            "shares": number("CpuShares"),
            "cpus": member(host, here, "CpusetCpus", str, ""),
            "mems": member(host, here, "CpusetMems", str, ""),
        },
        "pids": {"limit": number("PidsLimit")},
        "blockIO": number("BlkioWeight"),
    }


def _mounts(draft: Draft, entry: dict[str, Any], host: dict[str, Any], path: str) -> None:
    draft.body["tmpfs"], draft.body["mounts"] = [], []
    for to, said in sorted(member(host, f"{path}.HostConfig", "Tmpfs", dict, {}).items()):
        mount(draft, "tmpfs", to, [word for word in str(said).split(",") if word], "tmpfs", "Tmpfs")
    for at, one in enumerate(member(entry, path, "Mounts", list, [])):
        here = f"{path}.Mounts[{at}]"
        kind, to = member(one, here, "Type", str, "bind"), member(one, here, "Destination", str, "")
        if kind == "tmpfs":
            if not any(to in (item, isinstance(item, dict) and item["path"]) for item in draft.body["tmpfs"]):
                mount(draft, "tmpfs", to, [], "tmpfs", here)
            continue
        options = ["rw" if member(one, here, "RW", bool, True) else "ro"]
        if (spread := member(one, here, "Propagation", str, "")) not in ("", "rprivate"):
            options.append(spread)
        shown = "bind" if kind in ("bind", "volume") else kind
        mount(draft, member(one, here, "Source", str, ""), to, ["rbind", "nodev", "nosuid", *options], shown, here)


def _devices(draft: Draft, host: dict[str, Any], here: str, privileged: bool) -> None:
    for at, one in enumerate(member(host, here, "Devices", list, [])):
        where = f"{here}.Devices[{at}]"
        to = member(one, where, "PathInContainer", str, "") or member(one, where, "PathOnHost", str, "")
        access = member(one, where, "CgroupPermissions", str, "rwm")
        letters = "".join(letter for letter in "rwm" if letter in access)
        draft.note(f"not expressed: device {to}: its kind and number are not in what inspect prints: see `choose`")
        draft.comments["devices"] = f"write {to} ({letters}) as {{path, type, major, minor, access, why}}; see ls -l"
    allowed: dict[Any, set[str]] = {}
    for rule in texts(host, here, "DeviceCgroupRules"):
        kind, _, rest = rule.partition(" ")
        numbers, _, access = rest.partition(" ")
        words = [None if word == "*" else int(word) for word in numbers.split(":") if word == "*" or word.isdecimal()]
        if kind not in ("b", "c") or len(words) != 2 or not access or set(access) - set("rwm"):
            raise ImportFault(f"{here}.DeviceCgroupRules: {rule!r} is no device rule")
        allowed.setdefault((kind, *words), set()).update(access)
    listing = device_list(draft, allowed, {})
    draft.body["devices"] = "all" if privileged else listing
    if host.get("DeviceRequests"):
        draft.note("not expressed: DeviceRequests: name the devices that the driver would choose")


def _privileged(draft: Draft) -> None:
    """What can be seen of a privileged container's use; what only the privilege gave is left out of the type."""
    draft.uses += [f"{name}, added by name -> capabilities: [{name}]" for name in draft.added]
    for one in draft.body["mounts"]:
        reason = SEEN.get(one["source"], "mounts: the path")
        draft.uses.append(f"{one['source']} at {one['to']} ({', '.join(one['options'])}) -> {reason}")
    for kind in draft.body["namespaces"]["host"]:
        draft.uses.append(f"the host's {kind} namespace -> namespaces: {{host: [{kind}]}}")
    draft.body["capabilities"] = sorted({*DOCKER_CAPS, *draft.added})
    draft.body |= {"devices": "@standard", "mask": "@kernel-interfaces", "read-only": "@kernel-settings"}
    draft.note("narrowed: privileged: capabilities, devices, open /proc and /sys are not taken over; see the file")
