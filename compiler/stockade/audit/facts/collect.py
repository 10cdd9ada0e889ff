"""Everything that rules may ask of a host, read once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

from stockade.audit.facts import (
    configuration,
    containers,
    devices,
    filters,
    firewall,
    image,
    kernel,
    mounts,
    processes,
    selinux,
    verity,
)
from stockade.audit.facts.fact import Fact, Facts, missing
from stockade.audit.facts.host import Host
from stockade.audit.facts.parse import line, number, parsed

GROUND: Final = {
    "ground.proc": "/proc",
    "ground.sys": "/sys",
    "ground.selinuxfs": "/sys/fs/selinux",
    "ground.securityfs": "/sys/kernel/security",
}


def collect(host: Host, asked: Iterable[str], *, walk: bool = True, ptrace: bool = False, now: int = 0) -> Facts:
    """All facts of a host. `asked` are the names that rules use (`sysctl:...`, `file:...`); `walk` looks at every file,
    `ptrace` asks for the seccomp filters of containers, for which their processes stop for a moment.

    The ground comes first: what lies over a file of the kernel's is found before any file is believed.
    """
    names = set(asked)
    found = {name: host.ground(place) for name, place in GROUND.items()}
    found["mounts"] = parsed(host.read("/proc/1/mountinfo", 8 << 20), mounts.mountinfo)
    if found["mounts"].known:
        over = mounts.foreign(found["mounts"].value)
        host.cover(over)
        found["ground.foreign"] = Fact.of(over, "/proc/1/mountinfo")
    else:
        found["ground.foreign"] = found["mounts"]
    found |= _ourselves(host)
    options = {name.partition(":")[2] for name in names if name.startswith("option:")}
    settings = sorted(name.partition(":")[2] for name in names if name.startswith("sysctl:"))
    found |= kernel.collect(host, options | set(kernel.OPTIONS), settings)
    found |= firewall.collect(host)
    found |= selinux.collect(host)
    found |= _root(host, found["mounts"])
    found |= _processes(host, ptrace, found["mounts"])
    found |= image.collect(host)
    found |= image.modes(host, sorted(name.partition(":")[2] for name in names if name.startswith("file:")))
    found |= configuration.collect(host)
    found["image.files"] = (
        image.walk(host) if walk else Fact.unreadable("/", "the walk over all files was not asked for")
    )
    return Facts(host.kind, found, now)


def _ourselves(host: Host) -> dict[str, Fact]:
    """Who reads: our capabilities, and whether our namespaces are the host's."""
    said = parsed(host.read("/proc/self/status"), _auditor)
    if host.kind != "live":
        return {"ground.auditor": said, "ground.namespaces": said, "ground.root": said}
    held = parsed(host.read(f"/proc/self/fdinfo/{host.root}"), _mount)
    inodes: dict[str, str | bool] = {}
    for kind in ("mnt", "net", "pid", "user", "cgroup"):
        own, first = host.link(f"/proc/self/ns/{kind}"), host.link(f"/proc/1/ns/{kind}")
        for one in (own, first):
            if not one.known and one.outcome != "absent":
                return {"ground.auditor": said, "ground.namespaces": one, "ground.root": held}
        inodes[kind] = str(first.value or "").partition("[")[2][:-1]
        if kind == "net":
            inodes["net_own"] = str(own.value or "").partition("[")[2][:-1]
    return {"ground.auditor": said, "ground.namespaces": Fact.of(inodes, "/proc/1/ns"), "ground.root": held}


def _mount(content: bytes) -> int:
    """The id of the mount that a descriptor is of, from its fdinfo."""
    lines = dict(one.partition(":")[::2] for one in content.decode("ascii").splitlines())
    if not lines.get("mnt_id", "").strip().isdigit():
        raise ValueError("a descriptor without the id of its mount")
    return int(lines["mnt_id"])


def _auditor(content: bytes) -> dict[str, int]:
    lines = dict(one.partition(":\t")[::2] for one in content.decode("utf-8", "replace").splitlines())
    if "Uid" not in lines or "CapEff" not in lines:
        raise ValueError("the status of a process without Uid or CapEff")
    return {"uid": int(lines["Uid"].split()[1]), "capabilities": int(lines["CapEff"], 16)}


def _root(host: Host, mounted: Fact) -> dict[str, Fact]:
    """The device below / and its live table, from the mount that PID 1 has its root in."""
    top = mounts.Tree(mounted.value).root if mounted.known else None
    if top is None:
        fact = mounted if not mounted.known else Fact.malformed(mounted.path, "no mount at /")
        return {"root.device": fact, "root.table": fact}
    major, _, minor = top["device"].partition(":")
    if not (major.isdigit() and minor.isdigit()):
        fact = Fact.malformed(mounted.path, f"the device of / is {top['device']!r}")
        return {"root.device": fact, "root.table": fact}
    seen = host.status("/")
    if seen.known and host.kind == "live" and seen.value.st_dev != os.makedev(int(major), int(minor)):
        # Stacked file systems give files a number of their own; the mount is then no plain device anyhow.
        fact = Fact.malformed("/", f"files of / are on another device than its mount, {top['device']}")
        return {"root.device": fact, "root.table": fact}
    folder = f"/sys/dev/block/{top['device']}"
    sectors, readonly = parsed(host.read(f"{folder}/size"), number), parsed(host.read(f"{folder}/ro"), number)
    name = parsed(host.read(f"{folder}/dm/name"), line)
    if not name.known and name.outcome != "absent":
        device = name
    elif sectors.known and readonly.known:
        device = Fact.of(
            {
                "major": int(major),
                "minor": int(minor),
                "sectors": sectors.value,
                "readonly": readonly.value == 1,
                "mapped": name.known,
            },
            folder,
        )
    else:
        device = readonly if sectors.known else sectors
    return {"root.device": device, "root.table": verity.table(host, int(major), int(minor))}


def _processes(host: Host, ptrace: bool, mounted: Fact) -> dict[str, Fact]:
    stated = containers.tasks(host)
    known = {one["group"]: one["id"] for one in stated.value if one["group"]} if stated.known else {}
    said, members = processes.collect(host, known)
    if not said.known:
        names = ("processes", "containers", "containers.host", "containers.filters", "containers.devices")
        return {**dict.fromkeys(names, said), "containerd.tasks": stated}
    programs = filters.collect(members, host.threads) if ptrace else Fact.absent("", "was not asked for (--filters)")
    found = containers.collect(host, members, stated)
    alive = found["containers"]
    if alive.known and mounted.known:
        groups = {one["id"]: (one["group"], one["device_group"]) for one in alive.value if not missing(one)}
        found["containers.devices"] = devices.collect(host, groups, mounted.value)
    else:
        found["containers.devices"] = mounted if alive.known else alive
    return {"processes": said, "containers.filters": programs, **found}
