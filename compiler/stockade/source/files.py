"""The files of a policy folder, and the digest by which two policies are known to be the same source."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a policy; `name` is relative to the policy folder, with forward slashes."""

    name: str
    data: bytes


def read_files(folder: Path) -> list[SourceFile]:
    """Every policy file below a folder, sorted by name. OSError when the folder or a file cannot be read."""
    found = []
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if any(part.startswith(".") for part in name.split("/")) or path.is_dir() or name.endswith(".md"):
            continue
        found.append(SourceFile(name, path.read_bytes()))
    return sorted(found, key=lambda f: f.name)


def digest(files: list[SourceFile], *parts: str) -> str:
    """The sha256 of all names and contents: two policies with one digest are the same source.

    `parts` are the parts of it that are meant, where not all of it is.
    """
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.name}\0{len(file.data)}\0".encode())
        total.update(file.data)
    for part in parts:
        total.update(f"only {part}\0".encode())
    return total.hexdigest()
