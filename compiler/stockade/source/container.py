"""Builds container types from their documents, layer by layer, once inheritance is done."""

from __future__ import annotations

from typing import Any

from stockade.model.container import (
    CgroupValue,
    ContainerType,
    Device,
    Level,
    Mount,
    Namespaces,
    Rlimit,
    Sockets,
    Tmpfs,
    UserNamespace,
)
from stockade.model.names import (
    CAPABILITIES,
    CAPABILITY_SETS,
    FAMILIES,
    KERNEL_INTERFACES,
    KERNEL_SETTINGS,
    NAMESPACES,
    SYSCTL_PREFIXES,
)
from stockade.model.position import Position
from stockade.model.syscalls import NATIVE
from stockade.source import units
from stockade.source.diagnostics import Diagnostics
from stockade.source.syscalls import SyscallBuilder
from stockade.source.yaml import Map, Seq

_KINDS = tuple(kind for kind in NAMESPACES if kind not in ("user", "time"))


class ContainerBuilder:
    """Builds one type after another, from documents that inheritance has completed."""

    def __init__(self, syscalls: SyscallBuilder, report: Diagnostics) -> None:
        self.syscalls = syscalls
        self.report = report

    def build(self, body: Map) -> ContainerType:
        """One container type."""
        sockets = body["sockets"]
        families = frozenset(FAMILIES if sockets["families"] == "all" else sockets["families"])
        socket_rule = Sockets(families, sockets["why"], body.keys_at["sockets"])
        selinux: Map = body["selinux"]
        widens = body.get("widens", Map(body.at))
        for key in widens:
            if "extends" not in body:
                self.report.error(widens.keys_at[key], "`widens` needs a type to be wider than: there is no `extends`")
        devices, all_devices = self._devices(body)
        calls = self.syscalls.build(body["syscalls"], socket_rule, body["why"], body.keys_at["syscalls"])
        return ContainerType(
            name=body["container"],
            extends=body.get("extends"),
            widens=dict(widens),
            domain=selinux.get("domain", selinux.get("process", "")),
            files=selinux.get("files", ""),
            level=Level(selinux.get("level", Level.PAIR)),
            capabilities=self._capabilities(body["capabilities"]),
            syscalls=calls,
            complains=body.get("mode") in ("complain", "record"),
            records=body.get("mode") == "record",
            listener=self.syscalls.listener(body["syscalls"], calls),
            architectures=tuple(sorted(body.get("architectures", NATIVE))),
            sockets=socket_rule,
            namespaces=self._namespaces(body["namespaces"], body.partial),
            cgroup=self._cgroup(body),
            read_only_root=body["root"] == "read-only",
            tmpfs=self._tmpfs(body),
            mounts=self._mounts(body),
            masked=self._paths(body, "mask", "@kernel-interfaces", KERNEL_INTERFACES),
            read_only=self._paths(body, "read-only", "@kernel-settings", KERNEL_SETTINGS),
            no_new_privileges=body["no-new-privileges"],
            rlimits=self._rlimits(body),
            devices=devices,
            all_devices=all_devices,
            sysctls=self._sysctls(body),
            places=dict(body.keys_at),
            why=body["why"],
            at=body.values_at["container"],
        )

    def _capabilities(self, value: Any) -> dict[str, frozenset[str]]:
        def listed(names: Any) -> frozenset[str]:
            return frozenset(CAPABILITIES if names == "all" else names)

        if not isinstance(value, Map):
            held = listed(value)
            return {name: held if name in CAPABILITY_SETS[:3] else frozenset() for name in CAPABILITY_SETS}
        sets = {name: listed(value[name]) for name in CAPABILITY_SETS}
        for inner, outer in (("effective", "permitted"), ("permitted", "bounding"), ("ambient", "permitted")):
            if extra := sets[inner] - sets[outer]:
                message = f"`{inner}` has {_some(extra)}, which `{outer}` has not"
                self.report.error(value.keys_at[inner], message)
        if extra := sets["ambient"] - sets["inheritable"]:
            self.report.error(value.keys_at["ambient"], f"`ambient` has {_some(extra)}, which `inheritable` has not")
        return sets

    def _namespaces(self, body: Map, partial: bool) -> Namespaces:
        new, host = frozenset(body.get("new", ())), frozenset(body.get("host", ()))
        for kind in sorted(new & host):
            self.report.error(body.keys_at["host"], f"namespace `{kind}` is both new and the host's")
        for kind in _KINDS:
            if kind not in new | host and not partial:
                hint = "a namespace left out would be the host's; list it under `new` or `host`"
                self.report.error(body.at, f"namespace `{kind}` is neither new nor the host's", hint)
        return Namespaces(new, host, UserNamespace(body.get("user", UserNamespace.FORBIDDEN)))

    def _cgroup(self, body: Map) -> dict[str, CgroupValue]:
        found: dict[str, CgroupValue] = {}
        section: Map = body.get("cgroup", Map(body.at))
        for file, value in sorted(section.items()):
            try:
                found[file] = units.cgroup(file, value)
            except ValueError as error:
                self.report.error(section.values_at[file], f"`{file}`: {error}")
        swap, limit = found.get("memory.swap.max"), found.get("memory.max")
        lost = body.partial or ("memory.max" in section and "memory.max" not in found)
        if swap is not None and limit is None and not lost:
            self.report.error(section.keys_at["memory.swap.max"], "a limit on swap needs `memory.max` beside it")
        return found

    def _tmpfs(self, body: Map) -> tuple[Tmpfs, ...]:
        found: list[Tmpfs] = []
        section = body.get("tmpfs", ())
        for entry, at in _items(section):
            path, limit = (entry["path"], self._size(entry, "size")) if isinstance(entry, Map) else (entry, None)
            self._normal(path, at)
            if path == "/":
                self.report.error(at, "the root is no tmpfs", "`root` says whether it is writable")
            if any(path == other.path for other in found):
                self.report.error(at, f"`{path}` is mounted twice")
            found.append(Tmpfs(path, limit))
        return tuple(sorted(found, key=lambda t: t.path))

    def _size(self, body: Map, key: str) -> int | None:
        try:
            return units.size(body[key])
        except ValueError as error:
            self.report.error(body.values_at[key], str(error))
            return None

    def _mounts(self, body: Map) -> tuple[Mount, ...]:
        found: list[Mount] = []
        taken = {entry["path"] if isinstance(entry, Map) else entry for entry in body.get("tmpfs", ())}
        for entry, at in _items(body.get("mounts", ())):
            for key in ("source", "to"):
                self._normal(entry[key], entry.values_at[key])
            if any(entry["to"] == other.destination for other in found) or entry["to"] in taken:
                self.report.error(entry.values_at["to"], f"`{entry['to']}` is mounted twice")
            options = tuple(sorted(entry.get("options", ("ro",))))
            options_at = entry.values_at.get("options", at)
            found.append(Mount(entry["source"], entry["to"], options, entry["why"], at, options_at))
        return tuple(sorted(found, key=lambda m: m.destination))

    def _normal(self, path: str, at: Position) -> None:
        if any(part in (".", "..") for part in path.split("/")):
            self.report.error(at, f"`{path}` must not contain `.` or `..`")

    def _paths(self, body: Map, key: str, group: str, members: tuple[str, ...]) -> tuple[str, ...]:
        value = body.get(key, group)
        if value == "none":
            return ()
        found: set[str] = set()
        at = body.values_at.get(key, body.at)
        for entry, place in _items(value) if isinstance(value, Seq) else [(value, at)]:
            if entry == group:
                found.update(members)
            else:
                self._normal(entry, place)
                found.add(entry)
        return tuple(sorted(found))

    def _rlimits(self, body: Map) -> dict[str, Rlimit]:
        found = {}
        section: Map = body.get("rlimits", Map(body.at))
        for name, value in sorted(section.items()):
            try:
                if isinstance(value, Map):
                    limit = Rlimit(_limit(value["soft"]), _limit(value["hard"]))
                else:
                    limit = Rlimit(_limit(value), _limit(value))
            except ValueError as error:
                self.report.error(section.values_at[name], str(error))
                continue
            if limit.hard is not None and (limit.soft is None or limit.soft > limit.hard):
                self.report.error(section.values_at[name], "the soft limit is above the hard limit")
            found[name] = limit
        return found

    def _devices(self, body: Map) -> tuple[tuple[Device, ...], bool]:
        value = body.get("devices", "@standard")
        if isinstance(value, str):
            return (), value == "all"
        found: list[Device] = []
        for entry, _ in _items(value):
            if entry == "@standard":
                continue
            self._normal(entry["path"], entry.values_at["path"])
            if any(entry["path"] == other.path for other in found):
                self.report.error(entry.values_at["path"], f"`{entry['path']}` is listed twice")
            if not entry["path"].startswith("/dev/"):
                self.report.error(entry.values_at["path"], "a device lives below /dev")
            found.append(Device(entry["path"], entry["type"], entry.get("major"), entry.get("minor"), entry["access"]))
        return tuple(sorted(found, key=lambda d: d.path)), False

    def _sysctls(self, body: Map) -> dict[str, str]:
        section: Map = body.get("sysctls", Map(body.at))
        namespaces = body["namespaces"].get("new", ())
        for name in section:
            at = section.keys_at[name]
            if not name.startswith(SYSCTL_PREFIXES):
                self.report.error(at, f"`{name}` belongs to no namespace: it would change the host")
            elif ("network" if name.startswith("net.") else "ipc") not in namespaces and not body.partial:
                self.report.error(at, f"`{name}` would change the host: its namespace is not the container's own")
        return {name: str(value) for name, value in sorted(section.items())}


def _items(value: Any) -> list[tuple[Any, Position]]:
    return list(zip(value, value.items_at, strict=True)) if isinstance(value, Seq) else []


def _limit(value: int | str) -> int | None:
    return None if value == "unlimited" else units.size(value)


def _some(names: frozenset[str]) -> str:
    shown = ", ".join(sorted(names)[:4])
    return f"{shown} and {len(names) - 4} more" if len(names) > 4 else shown
