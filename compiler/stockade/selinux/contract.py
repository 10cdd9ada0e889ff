"""The label contract: which mechanism gives every labelled path its label, and the files that hosts read it from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from stockade.model.container import ContainerType, Level
from stockade.model.host import Creates, Host, LabelFrom, Object
from stockade.model.policy import Policy
from stockade.selinux.text import context

LEVELS: Final = {Level.PAIR: "s0", Level.ALL: "s0-s0:c0.c1023", Level.NONE: "s0"}


class Kind(StrEnum):
    """What a claim is about, by the key of the source that made it."""

    TREE = "at"
    PROGRAM = "programs"
    MOUNT_POINT = "mounts"
    CONTEXT_MOUNT = "context-mounts"


class Mechanism(StrEnum):
    """What puts a label where it is claimed."""

    IMAGE = "file_contexts"  # written into the image, or kept from then on: labels by path
    CONTEXT = "context"  # a mount option: every file of the file system
    ROOT = "rootcontext"  # a mount option: the root of the file system; what is made in it follows
    FILE_SYSTEM = "filesystem"  # the kernel gives it to every file system of that type
    TRANSITION = "transition"  # whoever creates it, by name
    TMPFILES = "tmpfiles"  # set at every boot, on a file system that keeps it
    NONE = "none"  # nothing does: a fault


@dataclass(frozen=True, slots=True)
class Claim:
    """One path of one object, and the mechanism that labels it; `*` in `path` is any run without a slash."""

    path: str
    kind: Kind
    mechanism: Mechanism
    object: Object

    @property
    def label(self) -> str:
        """The label that the path is to have."""
        return self.object.label


def within(path: str, top: str) -> bool:
    """Whether some path that `path` stands for is `top` or lies below it; either may have `*`."""
    inner, outer = path.rstrip("/").split("/"), top.rstrip("/").split("/")
    return len(inner) >= len(outer) and all(_meet(a, b) for a, b in zip(inner, outer, strict=False))


def _meet(one: str, other: str) -> bool:
    """Whether two patterns have a name in common."""
    if not one or not other:
        return not (one + other).strip("*")
    if one[0] == "*":
        return _meet(one[1:], other) or _meet(one, other[1:])
    if other[0] == "*":
        return _meet(other, one)
    return one[0] == other[0] and _meet(one[1:], other[1:])


def claims(host: Host) -> tuple[Claim, ...]:
    """Every path that the source labels, sorted by path and kind."""
    found = []
    for thing in host.objects.values():
        for kind, paths in _paths(thing):
            found += [Claim(path, kind, _mechanism(host, thing, kind, path), thing) for path in paths]
    return tuple(sorted(found, key=lambda claim: (claim.path, claim.kind)))


def _paths(thing: Object) -> Iterator[tuple[Kind, tuple[str, ...]]]:
    yield Kind.TREE, thing.subtrees
    yield Kind.PROGRAM, thing.programs
    yield Kind.MOUNT_POINT, thing.mount_points
    yield Kind.CONTEXT_MOUNT, thing.context_mounts


def _mechanism(host: Host, thing: Object, kind: Kind, path: str) -> Mechanism:
    if kind is Kind.CONTEXT_MOUNT:
        return Mechanism.CONTEXT
    if kind is Kind.MOUNT_POINT:
        given = any(fs.label == thing.label for fs in host.filesystems)
        return Mechanism.FILE_SYSTEM if given else Mechanism.ROOT
    mounted = _mounted(host, path)
    if mounted is None:
        return Mechanism.IMAGE
    if _by_transition(host, thing, path):
        return Mechanism.TRANSITION
    return Mechanism.TMPFILES if mounted.label in persistent(host) else Mechanism.NONE


def persistent(host: Host) -> frozenset[str]:
    """The labels of file systems that keep the label of each file."""
    return frozenset(fs.label for fs in host.filesystems if fs.labels_from is LabelFrom.XATTR)


def _mounted(host: Host, path: str) -> Object | None:
    """The object whose mount point is nearest above a path; None in the image."""
    above = [(len(top), top, o) for o in host.objects.values() for top in o.mount_points if within(path, top)]
    return max(above, key=lambda found: found[:2])[2] if above else None


def _by_transition(host: Host, thing: Object, path: str) -> bool:
    """Whether something that is created by this name in that folder gets the label of `thing`."""
    folder, _, name = path.rpartition("/")
    source = label_of(host, folder or "/")
    return any(
        t.creates is not Creates.PROCESS and (t.filename, t.source, t.target) == (name, source, thing.label)
        for t in host.transitions
    )


def label_of(host: Host, path: str) -> str:
    """The label of a folder, by the nearest claim above it."""
    best, label = -1, next(thing.label for thing in host.objects.values() if thing.default)
    for thing in host.objects.values():
        for kind, paths in _paths(thing):
            for top in paths if kind is not Kind.PROGRAM else ():
                if within(path, top) and len(top) > best:
                    best, label = len(top), thing.label
    return label


def mount_contexts(host: Host) -> bytes:
    """`host/mount_contexts`: a mount point, a tab and the mount option that labels what is mounted there."""
    lines = []
    for claim in claims(host):
        if claim.mechanism in (Mechanism.CONTEXT, Mechanism.ROOT):
            # Quoted, because a level with a comma in it would end the option.
            lines.append(f'{claim.path}\t{claim.mechanism}="{context(claim.label, host.subject_labels)}"')
    return _text(lines)


def tmpfiles(host: Host) -> bytes:
    """`host/tmpfiles.conf`: tmpfiles.d lines for what lies on a file system that keeps labels.

    The folder itself is enough: what is made in it takes its label, which saves a walk through it at every boot.
    """
    labels = host.subject_labels
    return _text(
        f"t {_escaped(claim.path)} - - - - security.selinux={context(claim.label, labels)}"
        for claim in claims(host)
        if claim.mechanism is Mechanism.TMPFILES
    )


def _escaped(path: str) -> str:
    """A path for tmpfiles.d: `*` stays a wildcard, but `%` begins a specifier and other wildcards are none of ours."""
    if any(letter in path for letter in "?[]{}\\\"' \t"):
        raise ValueError(f"`{path}` cannot be written into tmpfiles.d")
    return path.replace("%", "%%")


def lxc_contexts(policy: Policy) -> bytes:
    """`host/lxc_contexts`: labels for a container for which nobody asked for any; a runtime adds the categories."""
    given = labels(policy.containers[policy.default])
    return _text([f'process = "{given["process"]}"', f'file = "{given["file"]}"'])


def container_labels(policy: Policy) -> bytes:
    """`host/container_labels.json`: what a runtime asks for, by container type, and the default type.

    `process` and `mount` are an OCI specification's `selinuxLabel` and `mountLabel`, `file` is for volumes. With
    `categories` `pair` the runtime adds a pair of its own to all three.
    """
    types = {name: labels(container) for name, container in policy.containers.items()}
    document = {"default": policy.default, "types": types}
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()


def labels(container: ContainerType) -> dict[str, str]:
    """The labels of one container type, keyed as in `container_labels`."""
    process = context(container.domain, frozenset([container.domain]), LEVELS[container.level])
    file = context(container.files, frozenset())
    return {"process": process, "file": file, "mount": file, "categories": container.level.value}


def _text(lines: Iterator[str] | list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
