"""The files of a policy folder, and the digest by which two policies are known to be the same source.

A file that cannot be read, and whatever stands where a file should, is an error and never left out: a policy without
one of its files is another policy. Names that begin with a dot, files whose name ends in `.md`, and the folder `audit`,
which has the rules by which hosts are judged, are no part of it.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

MAX_BYTES = 1 << 20
"""The largest that a file of a policy may be."""
AUDIT = "audit"
"""The folder of a policy that is the audit's and not the compiler's."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a policy; `name` is relative to the policy folder, with forward slashes."""

    name: str
    data: bytes


def read_files(folder: Path) -> list[SourceFile]:
    """Every policy file below a folder, sorted by name.

    OSError when the folder or anything in it cannot be read, is a link that leads out of the folder or to a folder, is
    neither a file nor a folder, is a folder with the name of a policy file, is larger than any policy file may be, or
    has a name that is not UTF-8. Its file name is below the folder as it was given.
    """
    root = folder.resolve(strict=True)
    found = [SourceFile(path.relative_to(folder).as_posix(), _content(path)) for path in _files(folder, folder, root)]
    return sorted(found, key=lambda f: f.name)


def _content(path: Path) -> bytes:
    """What is in a file; one byte beyond the limit is read, by which whoever parses it sees that it is too large."""
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _files(folder: Path, top: Path, root: Path) -> Iterator[Path]:
    """The files below a folder of the policy `top`, which is `root` without links."""
    with os.scandir(folder) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        path = folder / entry.name
        if entry.name.startswith(".") or (folder == top and entry.name == AUDIT):
            continue
        if not entry.name.isprintable():  # what is not UTF-8 is not printable either
            raise OSError(errno.EILSEQ, "not a name that can be printed", str(path).encode("unicode_escape").decode())
        if entry.is_dir():
            if entry.is_symlink():
                raise OSError(errno.ELOOP, "a link to a folder is not followed", str(path))
            if entry.name.endswith(".yaml"):
                raise IsADirectoryError(errno.EISDIR, "a folder with the name of a policy file", str(path))
            yield from _files(path, top, root)
        elif not entry.name.endswith(".md"):
            if entry.is_symlink() and not _target(path).is_relative_to(root):
                raise OSError(errno.EXDEV, "a link that leads out of the policy folder", str(path))
            if not entry.is_file():
                raise OSError(errno.EINVAL, "neither a file nor a folder", str(path))
            yield path


def _target(link: Path) -> Path:
    """Where a link leads. OSError names the link, and not where it would lead."""
    try:
        return link.resolve(strict=True)
    except OSError as error:
        raise OSError(error.errno, f"a link that leads nowhere: {error.strerror}", str(link)) from None


def digests(files: list[SourceFile]) -> dict[str, str]:
    """The sha256 of each file's content, by name."""
    return {file.name: hashlib.sha256(file.data).hexdigest() for file in files}


def digest(files: list[SourceFile] | Mapping[str, str], *parts: str) -> str:
    """The sha256 of all names and contents: two policies with one digest are the same source.

    `files` may be their `digests`. `parts` are the parts of it that are meant, where not all of it is.
    """
    total = hashlib.sha256()
    for name, content in sorted((files if isinstance(files, Mapping) else digests(files)).items()):
        total.update(f"{len(name.encode())} {content}\0{name}".encode())
    for part in parts:
        total.update(f"only {part}\0".encode())
    return total.hexdigest()
