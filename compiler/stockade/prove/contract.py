"""The label contract held: every path has one mechanism, and what each mechanism reads gives the source's label."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from stockade.bundle.compile import Compiled
from stockade.model.finding import Finding
from stockade.model.host import OBJECT_ROLE, USER, Host
from stockade.model.policy import Policy
from stockade.selinux.contract import Claim, Kind, Mechanism, claims, within

_SAMPLE = "some.name"
_META = re.compile(r"[.^$?*+|\[\](){}]")
_ENDINGS = {"file": "--", "dir": "-d", "": ""}


def contract_findings(host: Host) -> Iterator[Finding]:
    """Paths that nothing labels, or that two statements label."""
    listed = claims(host)
    for claim in listed:
        if claim.mechanism is Mechanism.NONE:
            yield Finding(
                claim.object.at,
                f"`{claim.path}` is on a file system that is made anew at every boot, and nothing labels it there",
                "name a transition that creates it, or give the path to `context-mounts`",
            )
    for number, claim in enumerate(listed):
        for other in listed[number + 1 :]:
            if message := _conflict(claim, other) or _conflict(other, claim):
                yield Finding(other.object.at, message, f"the other is at {claim.object.at}")


def _conflict(inner: Claim, outer: Claim) -> str:
    """Why two claims cannot both hold, the first being inside the second; empty when they can."""
    if outer.kind is Kind.CONTEXT_MOUNT and within(inner.path, outer.path):
        whole = f"what is mounted at `{outer.path}` has the label {outer.label} as a whole"
        return f"`{inner.path}` cannot be {inner.label}: {whole}"
    if inner.kind is Kind.CONTEXT_MOUNT and outer.kind is Kind.TREE and within(inner.path, outer.path):
        return f"`{inner.path}` is labelled twice: {inner.label} by its mount, {outer.label} by `{outer.path}`"
    both = "*" in inner.path and "*" in outer.path and inner.label != outer.label and inner.kind is outer.kind
    if both and within(inner.path, outer.path) and within(outer.path, inner.path):
        return f"`{inner.path}` ({inner.label}) and `{outer.path}` ({outer.label}) have paths in common"
    return ""


def contract_faults(policy: Policy, compiled: Compiled) -> Iterator[str]:
    """Every way in which the files of the contract differ from the source or from each other; empty when in none."""
    files = {artefact.path: artefact.content.decode() for artefact in compiled.artefacts if artefact.path in _READ}
    for name in sorted(_READ - files.keys()):
        yield f"{name} is missing"
    if files.keys() == _READ:
        yield from _paths(policy.host, files["host/file_contexts"])
        yield from _tables(policy.host, files["host/mount_contexts"], files["host/tmpfiles.conf"])
        yield from _containers(policy, compiled.specs, files["host/container_labels.json"], files["host/lxc_contexts"])


_READ = frozenset(
    f"host/{name}"
    for name in ("file_contexts", "mount_contexts", "tmpfiles.conf", "container_labels.json", "lxc_contexts")
)


class FileContexts:
    """A file_contexts text, looked up as libselinux does: the last line that is all of the path, plain paths last."""

    def __init__(self, text: str) -> None:
        lines = []
        for line in text.splitlines():
            if line.strip():
                pattern, *kind, label = line.split()
                lines.append((re.compile(pattern), kind[0] if kind else "", label))
        lines.sort(key=lambda found: _META.search(re.sub(r"\\.", "", found[0].pattern)) is None)
        self._lines = lines[::-1]

    def lookup(self, path: str, kind: str) -> str | None:
        """The context of a `file`, a `dir` or anything else (empty); None where nothing or `<<none>>` is said."""
        for pattern, of, found in self._lines:
            if of in ("", _ENDINGS[kind]) and pattern.fullmatch(path):
                return None if found == "<<none>>" else found
        return None


def _paths(host: Host, text: str) -> Iterator[str]:
    """What file_contexts says of every claimed path, and of one below it, is the claim's label."""
    contexts = FileContexts(text)
    default = next(thing.label for thing in host.objects.values() if thing.default)
    listed = claims(host)
    for claim in listed:
        for sample in sorted({claim.path.replace("*", name) for name in ("", _SAMPLE)}):
            own = f"{USER}:{OBJECT_ROLE}:{claim.label}:s0"
            wanted: list[tuple[str, str, set[str | None]]] = []
            if claim.kind is Kind.TREE:
                below = f"{sample}/{_SAMPLE}"
                wanted = [(sample, "dir", {own}), (below, "file", {own}), (below, "", {own})]
            elif claim.kind is Kind.PROGRAM:
                wanted = [(sample, "file", {own})]
            elif claim.kind is Kind.MOUNT_POINT:
                wanted = [(sample, "dir", {own}), (f"{sample}/{_SAMPLE}", "file", {None})]
            else:
                # The folder beneath the mount, which nobody sees once it is mounted.
                wanted = [(sample, "dir", {None, own, f"{USER}:{OBJECT_ROLE}:{default}:s0"})]
            for path, kind, labels in wanted:
                if (found := contexts.lookup(path, kind)) not in labels and not _narrower(listed, claim, path):
                    said = f"`{claim.object.name}` ({claim.kind}) says {claim.label}"
                    yield f"file_contexts gives {path} {found}, and {said}"


def _narrower(listed: tuple[Claim, ...], claim: Claim, path: str) -> bool:
    """Whether a sample of a pattern is a path that another claim names outright."""
    return "*" in claim.path and any(other.path == path and other is not claim for other in listed)


_MOUNT = re.compile(r'(/\S*)\t(context|rootcontext)="([a-z0-9_]+):([a-z0-9_]+):([a-z0-9_]+):s0"')
_TMPFILE = re.compile(r"t (/\S*) - - - - security\.selinux=([a-z0-9_]+):([a-z0-9_]+):([a-z0-9_]+):s0")


def _tables(host: Host, mounts: str, boot: str) -> Iterator[str]:
    """The tables of mounts and of boot have exactly the paths that no other mechanism labels, with their labels."""
    wanted, found = {}, {}
    for claim in claims(host):
        if claim.mechanism in (Mechanism.CONTEXT, Mechanism.ROOT, Mechanism.TMPFILES):
            wanted[claim.path] = f"{claim.mechanism} {USER} {OBJECT_ROLE} {claim.label}"
    for name, text, pattern in (("mount_contexts", mounts, _MOUNT), ("tmpfiles.conf", boot, _TMPFILE)):
        for line in text.splitlines():
            match = pattern.fullmatch(line)
            if match is None:
                yield f"{name} has a line that it should not have: {line}"
                continue
            path, *words = match.groups()
            path = path.replace("%%", "%") if pattern is _TMPFILE else path
            if path in found:
                yield f"{name} labels {path}, which is labelled before"
            found[path] = " ".join([Mechanism.TMPFILES, *words] if pattern is _TMPFILE else words)
    for path in sorted(wanted.keys() | found.keys()):
        if wanted.get(path) != found.get(path):
            yield f"{path}: the source says {wanted.get(path)}, the host's files {found.get(path)}"


def _containers(policy: Policy, specs: Mapping[str, Any], table: str, default: str) -> Iterator[str]:
    """What a runtime is told in three places is one thing: the table, the specifications, and the defaults."""
    document = json.loads(table)
    types = document["types"]
    if types.keys() != policy.containers.keys() or document["default"] != policy.default:
        yield "container_labels.json has other types than the source"
        return
    for name, container in policy.containers.items():
        given, spec = types[name], specs[name]
        want = {
            "process": spec["process"]["selinuxLabel"],
            "file": spec["linux"]["mountLabel"],
            "mount": spec["linux"]["mountLabel"],
            "categories": spec["annotations"]["io.stockade.level"],
        }
        for key in sorted(want.keys() | given.keys()):
            if given.get(key) != want.get(key):
                yield f"container_labels.json says {given.get(key)} ({key}) of `{name}`, and oci.json {want.get(key)}"
        domain, files = given["process"].split(":")[2], given["file"].split(":")[2]
        if (domain, files) != (container.domain, container.files):
            yield f"container_labels.json labels `{name}` {domain} and {files}"
    first = types[policy.default]
    if default != f'process = "{first["process"]}"\nfile = "{first["file"]}"\n':
        yield "lxc_contexts differs from the labels of the default type"
