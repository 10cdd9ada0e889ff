"""Containers live against compiled: each place where the kernel has given one more, or other, than its type fixes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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

Found = tuple[str, str, str, str]
"""kind, what, the compiled value, the live one."""
Json = Mapping[str, Any]
_KEYS = ("container", "type", "kind", "what", "compiled", "live")


def findings(
    need: Callable[[str], Any], types: Mapping[str, Json], filters: Mapping[str, Any] | None = None
) -> list[dict[str, str]]:
    """container, type, kind, what, compiled and live of each finding, in the order of the containers.

    `need` gives a fact's value; `types` are the bundle's container types: label, level, spec, filters (hex by
    architecture). `filters` has the programs of each container's processes, where they were asked for.
    """
    containers, tasks, host = need("containers"), need("containerd.tasks"), need("containers.host")
    mounts = need("mounts")
    by_id: dict[str, Json] = {}
    for task in tasks:
        by_id.setdefault(task["id"], task)
    found: list[dict[str, str]] = []
    pairs: dict[str, dict[str, str]] = {}

    def add(name: str, kind_of: str, several: Iterator[Found] | Sequence[Found]) -> None:
        for kind, what, compiled, live in several:
            found.append(
                {"container": name, "type": kind_of, "kind": kind, "what": what, "compiled": compiled, "live": live}
            )

    for one in containers:
        name, task = one["id"], by_id.get(one["id"])
        if task is None:
            add(name, "?", [("unknown", f"control group {one['group']}", "a task of containerd", "processes alone")])
        kind, why = type_of(one, task, types)
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
            add(name, kind, filter_findings(filters.get(name, ()), compiled))
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
        name = one["id"]
        kind, _ = type_of(one, by_id.get(name), types)
        if kind is not None and name in rules:
            several = device_findings(rules[name], types[kind])
            found += [dict(zip(_KEYS, (name, kind, *said), strict=True)) for said in several]
    return found


def type_of(one: Json, task: Json | None, types: Mapping[str, Json]) -> tuple[str | None, str]:
    """The type of a container, or why it has none: by the runtime's specification, else by its label alone."""
    stated = (task or {}).get("type", "")
    if stated:
        return (stated, "") if stated in types else (None, f"`{stated}`, which the bundle does not have")
    domain = one["processes"][0]["label"].split(":")[2]
    by_label = sorted(name for name, said in types.items() if said["label"].split(":")[2] == domain)
    if len(by_label) == 1:
        return by_label[0], ""
    return None, f"none stated, and {len(by_label) or 'none'} of the types {'have' if by_label else 'has'} {domain}"


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
