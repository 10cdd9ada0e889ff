"""Reads from a bundle all that its page shows, and from its source the names, reasons and lines behind that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stockade.bundle.manifest import BundleError
from stockade.bundle.read import Bundle, verify
from stockade.model.host import Object, Subject
from stockade.model.policy import Policy
from stockade.model.syscalls import NATIVE
from stockade.prove.bundled import kernel_policy
from stockade.prove.matrix import Matrix, bundle_matrix
from stockade.seccomp.judge import FilterJudge
from stockade.seccomp.outline import Section, outline
from stockade.selinux import policydb
from stockade.selinux.decide import Table
from stockade.selinux.libsepol import Decisions


@dataclass(frozen=True, slots=True)
class Source:
    """What the bundle was compiled from; `groups` are the named groups of system calls."""

    policy: Policy
    groups: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Review:
    """A bundle as its artefacts say, by container type: runtime-spec parts, and filters by architecture, outlined.

    `domains` are the labels of the types' processes; `kernel_policy` is the path of what `table` was read from.
    """

    bundle: Bundle
    kernel_policy: str
    policy: policydb.Policydb
    table: Table
    matrix: Matrix
    specs: Mapping[str, Mapping[str, Any]]
    filters: Mapping[str, Mapping[str, Section]]
    domains: Mapping[str, str]
    source: Source | None

    @property
    def things(self) -> tuple[Subject | Object, ...]:
        """The subjects and objects of the source."""
        if self.source is None:
            return ()
        host = self.source.policy.host
        return (*host.subjects.values(), *host.objects.values())

    def name(self, label: str) -> str:
        """What the source calls the subject or object of a label; the label itself where there is no source."""
        return next((thing.name for thing in self.things if thing.label == label), label)

    def why(self, label: str) -> tuple[str, str]:
        """(reason, place) of a subject or object; empty where there is no source."""
        found = (thing for thing in self.things if thing.label == label)
        return next(((thing.why, f"{thing.at.file}:{thing.at.line}") for thing in found), ("", ""))


def gather(bundle: Bundle, source: Source | None) -> Review:
    """What the page of a bundle shows. BundleError where a file is not what the manifest lists, or cannot be read."""
    if findings := verify(bundle.directory):
        raise BundleError(bundle.directory, "; ".join(findings))
    path, compiled = kernel_policy(bundle)
    try:
        policy = policydb.read(compiled)
    except policydb.PolicydbError as error:
        raise BundleError(path, str(error)) from error
    with Decisions(compiled) as oracle:
        matrix = bundle_matrix(bundle, oracle)
    specs = {name: json.loads(bundle.bytes(f"containers/{name}/oci.json")) for name in bundle.types}
    domains = {name: spec["process"]["selinuxLabel"].split(":")[2] for name, spec in specs.items()}
    outlined: dict[bytes, dict[str, Section]] = {}
    filters = {name: _filters(bundle, name, outlined) for name in bundle.types}
    return Review(bundle, path, policy, Table(policy), matrix, specs, filters, domains, source)


def _filters(bundle: Bundle, name: str, outlined: dict[bytes, dict[str, Section]]) -> dict[str, Section]:
    listed = {entry.path for entry in bundle.manifest.entries}
    found: dict[str, Section] = {}
    for arch in NATIVE:
        path = f"containers/{name}/seccomp.{arch}.bpf"
        if path in listed:
            program = bundle.bytes(path)
            if program not in outlined:  # many types share a filter, and each takes a while to follow
                outlined[program] = {section.arch: section for section in outline(FilterJudge(program))[0]}
            found[arch] = outlined[program][arch]
    return found
