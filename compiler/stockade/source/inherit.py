"""Inheritance between container types, and the domains that follow from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stockade.model.container import ContainerType
from stockade.source.diagnostics import Diagnostics
from stockade.source.domains import Domain
from stockade.source.yaml import Map, Seq

_NEEDED: dict[str, Any] = {
    "why": "",
    "selinux": {},
    "capabilities": (),
    "syscalls": {},
    "sockets": {"families": (), "why": ""},
    "namespaces": {},
    "root": "read-only",
    "no-new-privileges": True,
}
MERGED = ("selinux", "syscalls", "namespaces", "cgroup", "rlimits", "sysctls")


def inherit(documents: Mapping[str, Map], report: Diagnostics) -> dict[str, Map]:
    """Every type's document with what it takes from the types it extends; the keys of maps are taken one by one."""
    done: dict[str, Map] = {}
    open_names: list[str] = []

    def resolve(name: str) -> Map:
        if name in done:
            return done[name]
        document = documents[name]
        parent = document.get("extends")
        if parent is None:
            done[name] = document
        elif parent not in documents:
            report.unknown(document.values_at["extends"], "container type", parent, documents)
            done[name] = document
            document.partial = True
        elif parent in (name, *open_names):
            loop = [*open_names, name]
            loop = loop[loop.index(parent) :]
            first = loop.index(min(loop))
            way = [*loop[first:], *loop[: first + 1]]
            at = documents[way[0]].values_at["extends"]
            report.error(at, f"`{way[0]}` extends itself, by way of {' -> '.join(way)}")
            done[name] = document
            document.partial = True
        else:
            open_names.append(name)
            done[name] = _over(resolve(parent), document)
            open_names.pop()
        return done[name]

    for name in sorted(documents):
        resolve(name)
    for document in done.values():
        _complete(document, report)
        if document.partial:
            report.incomplete.add("containers")
    return done


def _complete(document: Map, report: Diagnostics) -> None:
    """Every type says everything that has no safe default; what was left out for a fault is filled, to go on."""
    was_partial = document.partial
    for key, value in _NEEDED.items():
        if key in document:
            continue
        if not (was_partial or "extends" in document):
            report.error(document.at, f"missing key `{key}`", "a type that extends no other says it all")
        document.partial = True
        if isinstance(value, dict):
            filled = Map(document.at)
            filled.update(value)
            value = filled
        document[key], document.keys_at[key], document.values_at[key] = value, document.at, document.at


def _over(parent: Map, child: Map) -> Map:
    merged = Map(child.at)
    merged.partial = parent.partial or child.partial
    for key in {**parent, **child}:
        source = child if key in child else parent
        if key in ("widens", "extends", "why", "mode") and key not in child:
            continue
        value = source[key]
        if key in MERGED and key in child and key in parent:
            value = _over_map(parent[key], child[key], key)
        elif key == "selinux" and key not in child:
            value = _without_domain(value)
        merged[key], merged.keys_at[key], merged.values_at[key] = value, source.keys_at[key], source.values_at[key]
    return merged


def _over_map(parent: Map, child: Map, section: str) -> Map:
    if section == "selinux":
        parent = _without_domain(parent, keep_process="domain" not in child)
    merged = Map(child.at)
    for key in {**parent, **child}:
        source = child if key in child else parent
        value = source[key]
        if section == "syscalls" and key == "deny" and key in parent and key in child:
            value = Seq(child[key].at)
            value.extend([*parent[key], *child[key]])
            value.items_at.extend([*parent[key].items_at, *child[key].items_at])
        merged[key], merged.keys_at[key], merged.values_at[key] = value, source.keys_at[key], source.values_at[key]
    return merged


def _without_domain(selinux: Map, keep_process: bool = True) -> Map:
    """A parent's `selinux` as a child takes it: running in the parent's domain, which it does not declare again."""
    taken = Map(selinux.at)
    for key in selinux:
        name = "process" if key == "domain" else key
        if key == "may-not" or (name == "process" and not keep_process):
            continue
        taken[name], taken.keys_at[name] = selinux[key], selinux.keys_at[key]
        taken.values_at[name] = selinux.values_at[key]
    return taken


def domains(types: Iterable[ContainerType], documents: Mapping[str, Map], report: Diagnostics) -> dict[str, Domain]:
    """The domains of all container types by label, parents before those that narrow them."""
    by_name = {t.name: t for t in types}
    owners: dict[str, str] = {}
    found: dict[str, Domain] = {}
    for container in sorted(by_name.values(), key=lambda t: t.at):
        selinux: Map = documents[container.name]["selinux"]
        if "domain" in selinux:
            if "process" in selinux:
                message = "`domain` declares a label, `process` uses one; give one of them"
                report.error(selinux.keys_at["process"], message)
            if container.domain in owners:
                message = f"`{container.domain}` is also declared by `{owners[container.domain]}`"
                report.error(selinux.values_at["domain"], message)
            owners.setdefault(container.domain, container.name)
        elif "process" not in selinux and not documents[container.name].partial:
            report.incomplete.add("containers")
            if "extends" not in documents[container.name]:
                report.error(selinux.at, "missing key `process` (an existing label) or `domain` (one of its own)")
        elif "may-not" in selinux:
            report.error(selinux.keys_at["may-not"], "`may-not` needs a `domain` of the type's own to take away from")
        if "files" not in selinux and not (documents[container.name].partial or container.extends):
            report.error(selinux.at, "missing key `files`: the label of the container's files")
    for container in sorted(by_name.values(), key=lambda t: (_depth(t, by_name), t.name)):
        own = owners.get(container.domain)
        domain = found.setdefault(
            container.domain,
            Domain(own or container.domain, container.domain, own or container.domain, container.why, container.at),
        )
        if own == container.name:
            domain.at, domain.why = container.at, container.why
            parent = by_name.get(container.extends or "")
            domain.parent = parent.domain if parent else None
        domain.capabilities |= container.capabilities["bounding"]
        domain.families |= container.sockets.families
    for domain in found.values():
        if way := _narrows_itself(domain, found):
            if not any(found[label].name in documents and documents[found[label].name].partial for label in way):
                report.error(domain.at, f"`{domain.label}` narrows itself, by way of {' -> '.join(way)}")
            domain.parent = None
    return found


def _narrows_itself(domain: Domain, domains: Mapping[str, Domain]) -> list[str]:
    """The labels from a domain through those that it narrows back to it; empty for one that narrows others alone."""
    way, above = [domain.label], domain.parent
    while above is not None and above in domains and above not in way:
        way.append(above)
        above = domains[above].parent
    return [*way, domain.label] if above == domain.label else []


def _depth(container: ContainerType, by_name: Mapping[str, ContainerType]) -> int:
    depth, seen = 0, {container.name}
    while (parent := container.extends or "") in by_name and parent not in seen:
        container = by_name[parent]
        seen.add(container.name)
        depth += 1
    return depth
