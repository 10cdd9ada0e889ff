"""What the last build of a bundle knew, so that the next one can tell what a change cannot reach.

It is kept in the user's cache, one file for each bundle, named after the digest of its manifest: whoever has another
bundle finds nothing. A file that is damaged, or that somebody else may have written, is as if there were none. Nothing
that is read here is code, and nothing here says that an artefact is right: that is said of bytes, by the manifest.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from stockade.cache import cache_folder

SCHEMA = "stockade-memory/3"
_KEPT = 16
_LIMIT = 64 << 20


@dataclass(frozen=True, slots=True)
class TypeMemory:
    """A container type: the file and the type that it comes from, what SELinux knows of it, and its line in a report.

    `extends` is empty where it extends no other. `declares` says whether `domain` is its own. `labels` is a digest,
    `layers` its capabilities and address families, `promises` how many it makes of its own domain.
    """

    file: str
    extends: str
    domain: str
    declares: bool
    labels: str
    layers: tuple[str, ...]
    promises: int
    line: tuple[str, ...]


_FIELDS = fields(TypeMemory)


@dataclass(frozen=True, slots=True)
class Memory:
    """What a build knew.

    `files` are the digests of the source's files by name. `plain` are those that declare container types and nothing
    else. `named` are the container types that other files speak of. `kinds` has the first of its kind for each domain
    that is like two others or more. `promises` counts them. `settled` is when all files were written: see `write`.
    """

    files: Mapping[str, str]
    plain: frozenset[str]
    named: frozenset[str]
    kinds: Mapping[str, str]
    types: Mapping[str, TypeMemory]
    promises: int
    settled: int


def remember(manifest: str, memory: Memory) -> None:
    """Keep what a build knew of the bundle whose manifest has this digest. Where that fails, nothing is kept."""
    body = {
        "schema": SCHEMA,
        "files": dict(memory.files),
        "plain": sorted(memory.plain),
        "named": sorted(memory.named),
        "kinds": dict(memory.kinds),
        "types": {n: [getattr(known, field.name) for field in _FIELDS] for n, known in memory.types.items()},
        "promises": memory.promises,
        "settled": memory.settled,
    }
    data = json.dumps(body, sort_keys=True).encode()
    with contextlib.suppress(OSError, RuntimeError):
        folder = _folder()
        folder.mkdir(0o700, parents=True, exist_ok=True)
        if not _ours(folder.lstat()):
            return
        place = folder / f"{manifest}.json"
        scratch = folder / f".{manifest}.{os.getpid()}"
        scratch.write_bytes(_seal(manifest, data) + data)
        scratch.rename(place)
        known = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in known[_KEPT:]:
            old.unlink()


def recall(manifest: str) -> Memory | None:
    """What was kept of the bundle whose manifest has this digest; None where nothing is believed."""
    try:
        folder = _folder()
        if not _ours(folder.lstat()):
            return None
        descriptor = os.open(folder / f"{manifest}.json", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            found = os.fstat(descriptor)
            if not (_ours(found) and stat.S_ISREG(found.st_mode)):
                return None
            content = stream.read(_LIMIT)
        seal, data = content[:65], content[65:]
        if seal != _seal(manifest, data):
            return None
        body = json.loads(data)
        if body["schema"] != SCHEMA:
            return None
        return Memory(
            dict(body["files"]),
            frozenset(body["plain"]),
            frozenset(body["named"]),
            dict(body["kinds"]),
            {
                name: TypeMemory(file, extends, domain, declares, labels, tuple(layers), promises, tuple(line))
                for name, (file, extends, domain, declares, labels, layers, promises, line) in body["types"].items()
            },
            body["promises"],
            body["settled"],
        )
    except (OSError, RuntimeError, ValueError, KeyError, TypeError):
        return None


def _seal(manifest: str, data: bytes) -> bytes:
    """A line before the data, by which damage is seen and an entry under another's name."""
    return hashlib.sha256(f"{SCHEMA}\0{manifest}\0".encode() + data).hexdigest().encode() + b"\n"


def _folder() -> Path:
    return cache_folder("builds")


def _ours(found: os.stat_result) -> bool:
    """Whether it belongs to this user, and nobody else may write it."""
    return found.st_uid == os.geteuid() and not found.st_mode & 0o022
