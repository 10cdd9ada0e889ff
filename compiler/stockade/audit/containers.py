"""Containers live against compiled: each place where the kernel has given one more, or other, than its type fixes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from stockade.audit.container_devices import device_findings
from stockade.audit.container_filters import filter_findings
from stockade.audit.container_mounts import mount_findings
from stockade.audit.container_parts import (
    capability_findings,
    label_findings,
    limit_findings,
    namespace_findings,
    seccomp_findings,
)
from stockade.audit.facts.fact import Fact, missing

Found = tuple[str, str, str, Any]
"""kind, what, the compiled value, the live one (or what says why that is not known, see `Fact.member`)."""
Json = Mapping[str, Any]


def findings(
    need: Callable[[str], Any], types: Mapping[str, Json], filters: Mapping[str, Any] | None = None
) -> list[dict[str, str]]:
    """container, type, kind, what, compiled and live of each finding, in the order of the containers.

    Where something could not be read, `outcome` and `why` stand for the last three, and for `kind` too where nothing of
    the process or container is known: no rule can then hold of it.

    `need` gives a fact's value; `types` are the bundle's container types: label, level, spec, filters (hex by
    architecture). `filters` has the programs of each container's processes, where they were asked for.
    """
    containers, tasks, host = need("containers"), need("containerd.tasks"), need("containers.host")
    mounts = need("mounts")
    by_id: dict[str, Json] = {}
    for task in tasks:
        by_id.setdefault(task["id"], task)
    found: list[dict[str, Any]] = []
    pairs: dict[str, dict[str, str]] = {}

    def add(name: str, kind_of: str, several: Iterable[Found]) -> None:
        found.extend(_finding(name, kind_of, one) for one in several)

    def lost(name: str, kind_of: str, member: Json) -> None:
        found.append({"container": name, "type": kind_of, "outcome": member["outcome"], "why": member["why"]})

    for one in containers:
        name, task = one["id"], by_id.get(one["id"])
        if task is None:
            group = one.get("group", "?")
            add(name, "?", [("unknown", f"control group {group}", "a task of containerd", "processes alone")])
        if missing(one):
            lost(name, (task or {}).get("type") or "?", one)
            continue
        untold = [process for process in one["processes"] if missing(process)]
        one = {**one, "processes": [process for process in one["processes"] if not missing(process)]}
        untold += [mounts for mounts in one["mounts"].values() if missing(mounts)]
        kind, why = type_of(one, task, types)
        for member in untold:
            lost(name, kind or "?", member)
        if not one["processes"]:
            continue
        if kind is None:
            add(name, "?", [("type", "container type", "one of the bundle's", why)])
            continue
        compiled = types[kind]
        add(name, kind, label_findings(one, task, compiled))
        for process in one["processes"]:
            who = _who(process)
            add(name, kind, seccomp_findings(who, process))
            add(name, kind, capability_findings(who, process, compiled))
            add(name, kind, namespace_findings(who, process, compiled, host["namespaces"]))
            if process["program"].startswith("/memfd:") or process["program"].endswith(" (deleted)"):
                add(name, kind, [("program", f"{who} runs", "a program of its image", process["program"])])
        add(name, kind, mount_findings(one, compiled, mounts, host.get("exists")))
        add(name, kind, limit_findings(one, compiled))
        if filters is not None:
            asked = filters.get(name) or [Fact.absent("", "its filters were not read").member()]
            add(name, kind, [("filter", "", "", process) for process in asked if missing(process)])
            add(name, kind, filter_findings([process for process in asked if not missing(process)], compiled))
        if compiled["level"] == "pair":
            level = one["processes"][0]["label"].split(":", 3)[-1]
            pod = (task or {}).get("pod") or name
            pairs.setdefault(level, {}).setdefault(pod, f"{name}|{kind}")
    for level, pods in sorted(pairs.items()):
        if len(pods) > 1:
            for both in pods.values():
                name, _, kind = both.partition("|")
                others = ", ".join(sorted(pod[:12] for pod in pods))
                add(name, kind, [("categories", "categories", "of one pod alone", f"{level} of {others}")])
    for process in need("processes"):
        if kind := _outside(process, types):
            add(f"process {process['pid']}", kind, [("unknown", "label", "in a container alone", process["label"])])
    alive = {one["id"] for one in containers} | set(host["ended"])
    for task in tasks:
        if task["id"] not in alive:
            add(task["id"], task["type"] or "?", [("state", "processes", "a task of containerd", "none in its group")])
    return found


def device_rules(
    containers: Sequence[Json], tasks: Sequence[Json], types: Mapping[str, Json], rules: Mapping[str, Json]
) -> list[dict[str, str]]:
    """The same of the devices that a container's control group lets it use; `rules` has them by container."""
    by_id = {task["id"]: task for task in reversed(tasks)}
    found = []
    for one in containers:
        name, task = one["id"], by_id.get(one["id"])
        if missing(one):
            found.append({**one, "container": name, "type": "?"})
            continue
        kind, _ = type_of({**one, "processes": [each for each in one["processes"] if not missing(each)]}, task, types)
        if kind is None:
            continue
        live = rules.get(name) or Fact.absent("", "its device rules were not read").member()
        several = [("devices", "", "", live)] if missing(live) else device_findings(live, types[kind])
        found += [_finding(name, kind, said) for said in several]
    return found


def _finding(name: str, kind_of: str, said: Found) -> dict[str, Any]:
    kind, what, compiled, live = said
    if missing(live):
        return {"container": name, "type": kind_of, "kind": kind, "outcome": live["outcome"], "why": live["why"]}
    return {"container": name, "type": kind_of, "kind": kind, "what": what, "compiled": compiled, "live": live}


def type_of(one: Json, task: Json | None, types: Mapping[str, Json]) -> tuple[str | None, str]:
    """The type of a container, or why it has none: by the runtime's specification, else by its label alone."""
    stated = (task or {}).get("type", "")
    if stated:
        return (stated, "") if stated in types else (None, f"`{stated}`, which the bundle does not have")
    if not one["processes"]:
        return None, "none stated, and none of its processes could be read"
    domain = one["processes"][0]["label"].split(":")[2]
    by_label = sorted(name for name, said in types.items() if said["label"].split(":")[2] == domain)
    if len(by_label) == 1:
        return by_label[0], ""
    return None, f"none stated, and {len(by_label) or 'none'} of the types {'have' if by_label else 'has'} {domain}"


def _outside(process: Json, types: Mapping[str, Json]) -> str:
    """The type whose label a process of the host has that is in no container, where only containers have that label."""
    if missing(process) or process["kernel"] or process["container"]:
        return ""
    domain = process["label"].split(":")[2:3]
    return next(
        (n for n, said in types.items() if said["level"] == "pair" and said["label"].split(":")[2:3] == domain), ""
    )


def _who(process: Json) -> str:
    thread = f"thread {process['pid']} of process {process['thread_of']}" if "thread_of" in process else ""
    return thread or f"process {process['pid']} ({process['name']})"


def expected_types(files: Callable[[str], bytes], names: Sequence[str], architectures: Sequence[str]) -> dict[str, Any]:
    """The fact `compiled.types` from a bundle's files."""
    import json

    found: dict[str, Any] = {}
    for name in names:
        spec = json.loads(files(f"containers/{name}/oci.json"))
        filters = {}
        for arch in architectures:
            try:
                filters[arch] = files(f"containers/{name}/seccomp.{arch}.bpf").hex()
            except LookupError:
                continue
        found[name] = {
            "label": spec["process"]["selinuxLabel"],
            "level": spec["annotations"]["io.stockade.level"],
            "spec": spec,
            "filters": filters,
        }
    return found
