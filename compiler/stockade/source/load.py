"""Reads a policy folder: every file, every fault, and the model when there is none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stockade.model.container import ContainerType
from stockade.model.host import Host
from stockade.model.policy import Policy
from stockade.source.container import ContainerBuilder
from stockade.source.diagnostics import Diagnostics
from stockade.source.documents import FOLDERS, by_name, read_all, syscall_groups
from stockade.source.domains import Domain, own_promises
from stockade.source.expectation import expectations
from stockade.source.files import SourceFile, digest, read_files
from stockade.source.host import HostBuilder
from stockade.source.inherit import domains, inherit
from stockade.source.promise import PromiseBuilder
from stockade.source.syscalls import SyscallBuilder
from stockade.source.yaml import Map

__all__ = ["FOLDERS", "SourceFile", "build", "digest", "load", "read_files"]


def load(folder: Path) -> Policy:
    """The policy in a folder. Raises `PolicyError` with every fault found; OSError when it cannot be read at all."""
    return build(read_files(folder))


def build(files: list[SourceFile]) -> Policy:
    """The policy that these files are, in whatever order they come. Raises `PolicyError` with every fault found."""
    report = Diagnostics()
    by_kind = read_all(files, report)
    syscalls = SyscallBuilder(syscall_groups(by_kind["groups"], report), report)
    documents = inherit(by_name(by_kind["container"], report), report)
    builder = ContainerBuilder(syscalls, report)
    types = {name: builder.build(body) for name, body in documents.items()}
    found = domains(types.values(), documents, report)
    _complain_alone(types, documents, report)
    host = HostBuilder(by_kind["host"], report)
    _join(host, found, documents, report)
    resolved = host.build(found)
    promises = PromiseBuilder(host.scope, host.vocabulary, syscalls, types, report)
    actions = promises.actions(by_kind["action"], _mount_points(resolved))
    promised = promises.promises(by_kind["promise"], actions)
    everything = host.scope.universe("everything")
    for domain in found.values():
        for promise in own_promises(domain, found, everything):
            if promise.name in promised:
                again = promised[promise.name]
                report.error(again.at, f"promise `{promise.name}` has the name of what `{domain.name}` says of itself")
            promised[promise.name] = promise
    waivers = promises.waivers(by_kind["waiver"])
    expected = expectations(by_kind["expectation"], {*types, *host.scope.subjects}, report)
    default = host.header["default-container"]
    if default not in types and "default-container" in host.header.values_at:
        report.unknown(host.header.values_at["default-container"], "container type", default, types)
    report.raise_if_any()
    return Policy(
        resolved,
        dict(sorted(types.items())),
        actions,
        dict(sorted(promised.items())),
        default,
        waivers,
        complete=host.header.get("guards") == "derived",
        header=host.header.at,
        expectations=expected,
    )


def _complain_alone(types: Mapping[str, ContainerType], documents: Mapping[str, Map], report: Diagnostics) -> None:
    """A type that complains has its domain for itself, so that no other stops being confined with it."""
    for container in types.values():
        if not container.complains:
            continue
        at, body = container.place("mode"), documents[container.name]
        if "domain" not in body["selinux"]:
            hint = "give it a `domain` of its own under `selinux`"
            report.error(at, f"`{container.name}` cannot complain: its label `{container.domain}` is not its own", hint)
        for other in types.values():
            if other.domain == container.domain and other.name != container.name:
                message = f"`{container.name}` cannot complain: `{other.name}` has the label `{other.domain}` too"
                report.error(at, message, f"give `{other.name}` a `domain` of its own, or take it out")


def _mount_points(host: Host) -> set[str]:
    """Where the host has file systems of their own, as far as its labels say."""
    return {path for thing in host.objects.values() for path in (*thing.mount_points, *thing.context_mounts)}


def _join(host: HostBuilder, found: dict[str, Domain], documents: dict[str, Map], report: Diagnostics) -> None:
    """Tie the domains of container types to the host's names: declare new ones, find the others, resolve drops."""
    objects = set(host.scope.objects.values())
    own = {name: body["selinux"]["domain"] for name, body in documents.items() if "domain" in body["selinux"]}
    for domain in found.values():
        if domain.name in own:
            host.declare_domain(domain)
    subjects = {label: name for name, label in host.scope.subjects.items()}
    for domain in found.values():
        domain.subject = subjects.get(domain.label, domain.subject)
    for body in documents.values():
        selinux: Map = body["selinux"]
        if "process" in selinux and selinux["process"] not in subjects and "subjects" not in report.incomplete:
            report.unknown(selinux.values_at["process"], "label of a subject", selinux["process"], subjects)
            report.incomplete.add("containers")
        if "files" in selinux and selinux["files"] not in objects and "objects" not in report.incomplete:
            report.unknown(selinux.values_at["files"], "label of an object", selinux["files"], objects)
    for name, label in sorted(own.items()):
        selinux = documents[name]["selinux"]
        drops = selinux.get("may-not", ())
        if drops and "extends" not in documents[name]:
            report.error(selinux.keys_at["may-not"], "`may-not` needs a type to narrow: `extends`")
            continue
        for body, at in zip(drops, drops.items_at, strict=True) if drops else ():
            before = host.scope.unresolved + host.vocabulary.unresolved
            access, _ = host.vocabulary.access(body)
            what = host.scope.labels(body["what"], body.values_at["what"], "objects")
            if before == host.scope.unresolved + host.vocabulary.unresolved:
                found[label].drops.append((access, what, at, body["why"]))
