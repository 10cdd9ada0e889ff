"""From what a container was going to be and what it may be, to the adjustment that NRI carries; and back again.

`difference` says which adjustment turns one view into the other, and what no adjustment of this runtime can turn.
`effect` says what a runtime makes of an adjustment, ours or another plugin's, so that the outcome can be judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any

from . import view
from .features import Runtime
from .view import Spec
from .wire import UNKNOWN, Fields

_PROCESS = {"rlimits", "oomScoreAdj"}
_LINUX = {"namespaces", "resources", "sysctl", "seccomp"}
_CPU = ("shares", "quota", "period", "realtimeRuntime", "realtimePeriod", "cpus", "mems")
_CPU_NAMES = {"realtimeRuntime": "realtime_runtime", "realtimePeriod": "realtime_period"}


class Missing(Exception):
    """What NRI, in this version, cannot do to a container; `reasons` has one line for each."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class _Difference:
    """An adjustment as it grows, and what has been found impossible."""

    def __init__(self, runtime: Runtime, cgroup2: bool = False) -> None:
        self.runtime = runtime
        self.cgroup2 = cgroup2
        self.adjustment: Fields = {}
        self.linux: Fields = {}
        self.resources: Fields = {}
        self.missing: list[str] = []

    def can(self, feature: str, what: str) -> bool:
        """Whether the runtime can do that; where not, that is remembered."""
        if self.runtime.can(feature):
            return True
        self.missing.append(f"{what} (not with NRI in {self.runtime.name} {self.runtime.said})")
        return False

    def cannot(self, what: str) -> None:
        self.missing.append(f"{what} (not with NRI)")


def difference(before: Spec, after: Spec, runtime: Runtime, *, cgroup2: bool = False) -> Fields:
    """The ContainerAdjustment that makes `after` of `before`, both views; raises Missing where there is none.

    On a host with `cgroup2` a limit that NRI has no word for can be said by the name of its file.

    Seccomp is left out: what a container has of it cannot be compared, and the type's filter is the same each time.
    """
    made = _Difference(runtime, cgroup2)
    _annotations(made, before, after)
    _mounts(made, before.get("mounts", []), after.get("mounts", []))
    _process(made, before.get("process", {}), after.get("process", {}))
    one, two = before.get("linux", {}), after.get("linux", {})
    _namespaces(made, one.get("namespaces", []), two.get("namespaces", []))
    _sysctl(made, one.get("sysctl", {}), two.get("sysctl", {}))
    resources(made, one.get("resources", {}), two.get("resources", {}))
    for part, parts, known in (("process", (before, after), _PROCESS), ("linux", (before, after), _LINUX)):
        was, now = (spec.get(part, {}) for spec in parts)
        for key in was:
            if key not in known and was[key] != now.get(key):
                made.cannot(f"{part}.{key} would have to change")
    if before.get("hooks", {}) != after.get("hooks", {}):
        made.cannot("hooks would have to change")
    if made.missing:
        raise Missing(made.missing)
    if made.resources:
        made.linux["resources"] = made.resources
    if made.linux:
        made.adjustment["linux"] = made.linux
    return made.adjustment


def _annotations(made: _Difference, before: Spec, after: Spec) -> None:
    one, two = before.get("annotations", {}), after.get("annotations", {})
    changed = {f"-{key}": "" for key in one if key not in two}
    changed |= {key: value for key, value in two.items() if one.get(key) != value}
    if changed and made.can("annotations", "annotations"):
        made.adjustment["annotations"] = changed


def _mounts(made: _Difference, before: list[Spec], after: list[Spec]) -> None:
    if before == after:
        return
    places = [mount.get("destination", "") for mount in before]
    if len(set(places)) < len(places):
        # NRI takes mounts by destination, and one in two would be lost.
        made.cannot("two mounts have one destination")
        return
    old = dict(zip(places, before, strict=True))
    new = {mount.get("destination", ""): mount for mount in after}
    changed = [{"destination": f"-{place}"} for place in old if place not in new]
    for place, mount in new.items():
        if old.get(place) == mount:
            continue
        extra = set(mount) - {"destination", "type", "source", "options"}
        if extra:
            made.cannot(f"mount {place}: {', '.join(sorted(extra))}")
        changed.append(mount)
    if changed and made.can("mounts", "mounts"):
        made.adjustment["mounts"] = changed


def _process(made: _Difference, before: Spec, after: Spec) -> None:
    old = {limit["type"]: limit for limit in before.get("rlimits", [])}
    new = {limit["type"]: limit for limit in after.get("rlimits", [])}
    for name in old.keys() - new.keys():
        made.cannot(f"{name} would have to go")
    changed = [limit for name, limit in new.items() if old.get(name) != limit]
    if changed and made.can("rlimits", "rlimits"):
        # The runtime appends them. Of two for one resource runc applies both in turn, so that the later one holds.
        made.adjustment["rlimits"] = changed
    score = after.get("oomScoreAdj")
    if score != before.get("oomScoreAdj"):
        if score is None:
            made.cannot("oomScoreAdj would have to go")
        elif made.can("oom_score_adj", f"oomScoreAdj {score}"):
            made.linux["oom_score_adj"] = score


def _namespaces(made: _Difference, before: list[Spec], after: list[Spec]) -> None:
    old = {namespace["type"]: namespace for namespace in before}
    new = {namespace["type"]: namespace for namespace in after}
    for name in old.keys() - new.keys():
        made.cannot(f"the {name} namespace would have to go")
    changed = [namespace for name, namespace in new.items() if old.get(name) != namespace]
    names = ", ".join(namespace["type"] for namespace in changed)
    if changed and made.can("namespaces", f"own namespaces: {names}"):
        made.linux["namespaces"] = changed


def _sysctl(made: _Difference, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    changed = {f"-{key}": "" for key in before if key not in after}
    changed |= {key: value for key, value in after.items() if before.get(key) != value}
    if changed and made.can("sysctl", f"sysctl {', '.join(sorted(changed))}"):
        made.linux["sysctl"] = changed


def resources(made: _Difference, before: Spec, after: Spec) -> None:
    """Add to `made` what turns one `linux.resources` into the other."""
    parts: dict[str, Callable[[_Difference, Any, Any], None]] = {
        "memory": _memory,
        "cpu": _cpu,
        "pids": _pids,
        "unified": _unified,
        "hugepageLimits": _hugepages,
    }
    for key in dict.fromkeys((*before, *after)):
        if before.get(key) == after.get(key):
            continue
        if key in parts:
            parts[key](made, before.get(key), after.get(key))
        else:
            made.cannot(f"resources.{key} would have to change")


def _memory(made: _Difference, before: Spec | None, after: Spec | None) -> None:
    old, new = before or {}, after or {}
    limit = new.get("limit")
    for key in dict.fromkeys((*old, *new)):
        if key not in ("limit", "swap") and old.get(key) != new.get(key):
            made.cannot(f"memory.{key} would have to change")
    if limit is None:
        made.cannot("memory limits without memory.limit")
    elif made.can("memory", "memory.limit"):
        # The runtime takes the limit alone, and makes memory and swap together as large: no swap. That is never more
        # than what is asked for, for no valid sum of the two is less than the one.
        made.resources["memory"] = {"limit": limit}


def _cpu(made: _Difference, before: Spec | None, after: Spec | None) -> None:
    old, new = before or {}, after or {}
    changed = {}
    for key in dict.fromkeys((*old, *new)):
        if old.get(key) == new.get(key):
            continue
        if key not in _CPU or new.get(key) is None:
            made.cannot(f"cpu.{key} would have to change")
        else:
            changed[_CPU_NAMES.get(key, key)] = new[key]
    if changed and made.can("cpu", f"cpu {', '.join(sorted(changed))}"):
        made.resources["cpu"] = changed


def _pids(made: _Difference, before: Spec | None, after: Spec | None) -> None:
    if after is None:
        made.cannot("pids.limit would have to go")
    elif made.cgroup2 and not made.runtime.can("pids"):
        limit = after.get("limit", 0)
        made.resources.setdefault("unified", {})["pids.max"] = str(limit) if limit >= 0 else "max"
    elif made.can("pids", f"pids.limit {after.get('limit', 0)}"):
        made.resources["pids"] = {"limit": after.get("limit", 0)}


def _unified(made: _Difference, before: Mapping[str, str] | None, after: Mapping[str, str] | None) -> None:
    old, new = before or {}, after or {}
    for key in old.keys() - new.keys():
        made.cannot(f"{key} would have to go")
    changed = {key: value for key, value in new.items() if old.get(key) != value}
    if changed and made.can("unified", f"unified {', '.join(sorted(changed))}"):
        made.resources.setdefault("unified", {}).update(changed)


def _hugepages(made: _Difference, before: list[Spec] | None, after: list[Spec] | None) -> None:
    old = {item["pageSize"]: item["limit"] for item in before or []}
    new = {item["pageSize"]: item["limit"] for item in after or []}
    for size in old.keys() - new.keys():
        made.cannot(f"the limit on pages of {size} would have to go")
    changed = [{"page_size": size, "limit": limit} for size, limit in new.items() if old.get(size) != limit]
    if changed and made.can("hugepage_limits", "hugepage limits"):
        made.resources["hugepage_limits"] = changed


def update(before: Spec, after: Spec, runtime: Runtime) -> Fields:
    """The LinuxResources that a container is updated with to have `after` in place of `before`; raises Missing."""
    made = _Difference(runtime)
    resources(made, before, after)
    if made.missing:
        raise Missing(made.missing)
    return made.resources


def effect(before: Spec, adjustment: Mapping[str, Any]) -> Spec:
    """What a runtime makes of a view, given a ContainerAdjustment.

    Raises ViewError for an adjustment that carries what this code does not know.
    """
    if strange := view.unknown(adjustment, "adjust"):
        raise view.ViewError(f"another plugin adjusts what is not known here: {', '.join(strange)}")
    after = deepcopy(before)
    linux = adjustment.get("linux", {})
    after["annotations"] = _keyed(after.get("annotations", {}), adjustment.get("annotations", {}))
    after["mounts"] = _listed(after.get("mounts", []), adjustment.get("mounts", []), "destination", dict)
    process, parts = after["process"], after["linux"]
    if adjustment.get("args"):
        process["args"] = adjustment["args"]
    limits = {limit["type"]: limit for limit in process.get("rlimits", [])}
    for limit in adjustment.get("rlimits", []):
        limits[limit.get("type", "")] = {"hard": 0, "soft": 0, **limit}
    process["rlimits"] = list(limits.values())
    process["env"] = _environment(process.get("env", []), adjustment.get("env", []))
    for phase, added in view.hooks(adjustment.get("hooks", {})).items():
        after.setdefault("hooks", {}).setdefault(phase, []).extend(added)
    if adjustment.get("CDI_devices"):
        names = ", ".join(item.get("name", "") for item in adjustment["CDI_devices"])
        raise view.ViewError(f"devices by name cannot be judged: {names}")
    parts["namespaces"] = _listed(parts.get("namespaces", []), linux.get("namespaces", []), "type", _namespace)
    parts["devices"] = _listed(parts.get("devices", []), linux.get("devices", []), "path", view.device)
    parts["sysctl"] = _keyed(parts.get("sysctl", {}), linux.get("sysctl", {}))
    _adjust_resources(parts.setdefault("resources", {}), linux.get("resources", {}))
    for item in linux.get("devices", []):
        if not item.get("path", "").startswith("-"):
            made = view.device(item)
            # A device that is added may be used: the runtime says so to the control group as well.
            rule = {"allow": True, "type": made.get("type", ""), "major": made["major"], "minor": made["minor"]}
            parts["resources"].setdefault("devices", []).append({**rule, "access": "rwm"})
    _adjust_rest(process, parts, linux)
    return after


def _adjust_rest(process: Spec, parts: Spec, linux: Mapping[str, Any]) -> None:
    if "oom_score_adj" in linux:
        process["oomScoreAdj"] = linux["oom_score_adj"]
    if "io_priority" in linux:
        process["ioPriority"] = view.io_priority(linux["io_priority"])
    if "scheduler" in linux:
        process["scheduler"] = view.scheduler(linux["scheduler"])
    if "seccomp_policy" in linux:
        parts["seccomp"] = view.seccomp(linux["seccomp_policy"])
    if linux.get("cgroups_path"):
        parts["cgroupsPath"] = linux["cgroups_path"]
    if linux.get("net_devices"):
        parts["netDevices"] = {**parts.get("netDevices", {}), **linux["net_devices"]}
    if "rdt" in linux:
        parts["intelRdt"] = linux["rdt"]
    if "memory_policy" in linux:
        parts["memoryPolicy"] = linux["memory_policy"]


def _adjust_resources(now: Spec, said: Mapping[str, Any]) -> None:
    change = view.resources(said)
    if "memory" in change:
        memory = now.setdefault("memory", {})
        memory.update(change["memory"])
        if change["memory"].get("limit") and "swap" not in change["memory"]:
            memory["swap"] = change["memory"]["limit"]
    if "cpu" in change:
        now.setdefault("cpu", {}).update({key: value for key, value in change["cpu"].items() if value != ""})
    if "pids" in change:
        now["pids"] = change["pids"]
    if "unified" in change:
        now["unified"] = {**now.get("unified", {}), **change["unified"]}
    if "hugepageLimits" in change:
        sizes = {item["pageSize"]: item for item in (*now.get("hugepageLimits", []), *change["hugepageLimits"])}
        now["hugepageLimits"] = list(sizes.values())
    if "devices" in change:
        now["devices"] = [*now.get("devices", []), *change["devices"]]


def _keyed(now: Mapping[str, str], change: Mapping[str, str]) -> dict[str, str]:
    made = {key: value for key, value in now.items() if f"-{key}" not in change}
    return made | {key: value for key, value in change.items() if not key.startswith("-")}


def _listed(
    now: list[Spec], change: Iterable[Mapping[str, Any]], key: str, make: Callable[[Mapping[str, Any]], Spec]
) -> list[Spec]:
    """Entries by name: those marked with `-` go, others replace or are added."""
    made = list(now)
    for item in change:
        name = item.get(key, "")
        made = [entry for entry in made if entry.get(key) != name.removeprefix("-")]
        if not name.startswith("-"):
            made.append(make(item))
    return made


def _namespace(said: Mapping[str, Any]) -> Spec:
    return {name: value for name, value in said.items() if name != UNKNOWN and value}


def _environment(now: list[str], change: Iterable[Mapping[str, str]]) -> list[str]:
    made = list(now)
    for item in change:
        name = item.get("key", "").removeprefix("-")
        made = [entry for entry in made if entry.partition("=")[0] != name]
        if not item.get("key", "").startswith("-"):
            made.append(f"{name}={item.get('value', '')}")
    return made
