"""Reads a policy folder: every file, every fault, and the model when there is none."""

from __future__ import annotations

import re
from pathlib import Path

from stockade.model.container import ContainerType
from stockade.model.policy import Policy
from stockade.model.position import Position
from stockade.source.container import ContainerBuilder, domains, inherit
from stockade.source.diagnostics import Diagnostics, nearest
from stockade.source.domains import Domain
from stockade.source.files import SourceFile, digest, read_files
from stockade.source.host import HOST_KEYS, HostBuilder
from stockade.source.promise import PromiseBuilder
from stockade.source.shape import check_shape
from stockade.source.syscalls import SyscallBuilder
from stockade.source.yaml import Map, read_documents

__all__ = ["FOLDERS", "SourceFile", "build", "digest", "load", "read_files"]

FOLDERS = ("host", "containers", "actions", "promises")


def load(folder: Path) -> Policy:
    """The policy in a folder. Raises `PolicyError` with every fault found; OSError when it cannot be read at all."""
    return build(read_files(folder))


def build(files: list[SourceFile]) -> Policy:
    """The policy that these files are."""
    report = Diagnostics()
    by_kind = _documents(files, report)
    syscalls = SyscallBuilder(_groups(by_kind["groups"], report), report)
    documents = inherit(_by_name(by_kind["container"], report), report)
    builder = ContainerBuilder(syscalls, report)
    types: dict[str, ContainerType] = {}
    for name, body in documents.items():
        container = builder.build(body)
        if container is None:
            report.doubtful |= _words(body)
        else:
            types[name] = container
    found = domains(types.values(), documents, report)
    host = HostBuilder(by_kind["host"], report)
    _join(host, found, types, documents, report)
    resolved = host.build(found)
    promises = PromiseBuilder(host.scope, host.vocabulary, syscalls, types, report)
    actions = promises.actions(by_kind["action"])
    promised = promises.promises(by_kind["promise"], actions)
    default = host.header["default-container"] if host.header else ""
    if host.header and default not in types:
        report.unknown(host.header.values_at["default-container"], "container type", default, types)
    report.raise_if_any()
    return Policy(resolved, dict(sorted(types.items())), actions, promised, default)


def _documents(files: list[SourceFile], report: Diagnostics) -> dict[str, list[Map]]:
    found: dict[str, list[Map]] = {kind: [] for kind in ("host", "container", "groups", "promise", "action")}
    for file in files:
        place = Position(file.name, 1, 1)
        top = file.name.split("/")[0]
        if "/" not in file.name or top not in FOLDERS:
            report.error(place, "a policy file lives in one of " + ", ".join(FOLDERS), nearest(top, FOLDERS))
            continue
        if not file.name.endswith(".yaml"):
            report.error(place, "a policy file ends in .yaml")
            continue
        before = len(report.found)
        documents = read_documents(file.name, file.data, report)
        if len(report.found) > before:
            report.doubtful |= set(re.findall(r"[A-Za-z0-9_-]+", report.texts.get(file.name, "-")))
        for document in documents:
            kind = {"host": "host", "containers": "container", "actions": "action", "promises": "promise"}[top]
            if kind == "container" and "groups" in document and "container" not in document:
                kind = "groups"
            faults = check_shape(kind, document, report)
            if not faults:
                found[kind].append(document)
            elif kind == "host":
                found[kind].append(_without(document, faults, report))
            else:
                report.doubtful |= _words(document)
    if not any(found.values()) and not report.found:
        report.error(Position(".", 1, 1), "no policy here: no .yaml file in any of " + ", ".join(FOLDERS))
    return found


def _without(document: Map, faults: list[tuple[str | int, ...]], report: Diagnostics) -> Map:
    """A document of the host without its faulty entries: one rule, one subject, or a whole section."""
    for path in sorted({fault[:2] for fault in faults}, key=str, reverse=True):
        if not path:
            for key in [key for key in document if key not in HOST_KEYS]:
                report.doubtful |= _words(document.pop(key))
        elif str(path[0]) in document:
            section = document[str(path[0])]
            if len(path) == 1 or not isinstance(section, Map):
                report.doubtful |= _words(document.pop(str(path[0])))
            elif path[1] in section:
                report.doubtful |= {str(path[1])} | _words(section.pop(str(path[1])))
    return document


def _words(value: object) -> set[str]:
    """Every key and text in a value."""
    if isinstance(value, dict):
        return {str(key) for key in value}.union(*(_words(v) for v in value.values()))
    if isinstance(value, list):
        return set().union(*(_words(v) for v in value))
    return {str(value)}


def _by_name(documents: list[Map], report: Diagnostics) -> dict[str, Map]:
    found: dict[str, Map] = {}
    for body in documents:
        name, at = body["container"], body.values_at["container"]
        if name in found:
            first = found[name].values_at["container"]
            report.error(at, f"container type `{name}` is declared twice", f"the first is at {first}")
        else:
            found[name] = body
    return found


def _groups(documents: list[Map], report: Diagnostics) -> dict[str, tuple[str, ...]]:
    from stockade.model.syscalls import NAMES

    found: dict[str, tuple[str, ...]] = {}
    for document in documents:
        groups: Map = document["groups"]
        for name, body in groups.items():
            if name in found:
                report.error(groups.keys_at[name], f"the group `{name}` is declared twice")
            calls = body["syscalls"]
            for call, at in zip(calls, calls.items_at, strict=True):
                if call not in NAMES:
                    report.unknown(at, "system call", call, NAMES)
            found[name] = tuple(sorted(calls))
    return found


def _join(
    host: HostBuilder,
    found: dict[str, Domain],
    types: dict[str, ContainerType],
    documents: dict[str, Map],
    report: Diagnostics,
) -> None:
    """Tie the domains of container types to the host's names: declare new ones, find the others, resolve drops."""
    subjects = {label: name for name, label in host.scope.subjects.items()}
    objects = set(host.scope.objects.values())
    own = {name for name, body in documents.items() if "domain" in body["selinux"]}
    for domain in found.values():
        if domain.name in own:
            host.declare_domain(domain)
        elif domain.label in subjects:
            domain.subject = subjects[domain.label]
    for name, container in types.items():
        selinux: Map = documents[name]["selinux"]
        if name not in own and container.domain not in subjects and "process" in selinux:
            report.unknown(selinux.values_at["process"], "label of a subject", container.domain, subjects)
        if "files" in selinux and container.files not in objects:
            report.unknown(selinux.values_at["files"], "label of an object", container.files, objects)
    for name in sorted(own & types.keys()):
        drops = documents[name]["selinux"].get("may-not", ())
        if drops and found[types[name].domain].parent is None:
            report.error(documents[name]["selinux"].keys_at["may-not"], "`may-not` needs a type to narrow: `extends`")
            continue
        for body, at in zip(drops, drops.items_at, strict=True) if drops else ():
            access, _ = host.vocabulary.access(body)
            what = host.scope.labels(body["what"], body.values_at["what"], "objects")
            found[types[name].domain].drops.append((access, what, at))
