"""Reading a bundle back: nothing is handed out before its digest has been compared with the manifest's.

Imported when a container starts; see `manifest` about imports.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat

from stockade.bundle.manifest import NAME, BundleError, Entry, Manifest, folders_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANIFEST_LIMIT = 16 << 20
"""A manifest beyond this many bytes is not one of ours."""


class Bundle:
    """A bundle on disk whose manifest has been read.

    `manifest` is the Manifest, `digest` the SHA-256 of the manifest file and so of everything in the bundle, `types`
    the names of the container types, sorted.
    """

    def __init__(self, directory: str, manifest: Manifest, digest: str) -> None:
        self.directory = directory
        self.manifest = manifest
        self.digest = digest
        self._entries = {entry.path: entry for entry in manifest.entries}
        parts = [entry.path.split("/") for entry in manifest.entries]
        self.types = tuple(sorted({part[1] for part in parts if part[0] == "containers" and len(part) > 2}))

    def bytes(self, path: str) -> bytes:
        """A file's content; raises BundleError where the manifest does not list it, or it is not what was listed."""
        entry = self._entries.get(path)
        if entry is None:
            raise BundleError(path, "not in the manifest")
        content = _content(self.directory, path, entry.size)
        if fault := _fault(entry, content):
            raise BundleError(path, fault)
        return content


def read(directory: Path | str) -> Bundle:
    """Reads and checks the manifest of a bundle; raises BundleError saying why it cannot be trusted."""
    root = os.fspath(directory)
    content = _content(root, NAME, MANIFEST_LIMIT)
    if len(content) > MANIFEST_LIMIT:
        raise BundleError(NAME, f"more than {MANIFEST_LIMIT} bytes")
    return Bundle(root, Manifest.from_json(content), hashlib.sha256(content).hexdigest())


def verify(directory: Path | str) -> list[str]:
    """Every way in which a folder differs from its manifest: missing, changed and extra files; empty where none."""
    try:
        bundle = read(directory)
    except BundleError as error:
        return [str(error)]
    findings = []
    for entry in bundle.manifest.entries:
        try:
            bundle.bytes(entry.path)
        except BundleError as error:
            findings.append(str(error))
    try:
        findings += [f"{path}: not in the manifest" for path in extras(bundle.directory, bundle.manifest)]
    except OSError as error:
        findings.append(f"{error.filename}: {error.strerror}")
    return findings


def extras(directory: str, manifest: Manifest) -> Iterator[str]:
    """Paths of a folder that the manifest accounts for neither as a file nor as the folder of one. Raises OSError."""
    listed = {entry.path for entry in manifest.entries} | {NAME}
    folders = folders_of(listed)

    def walk(folder: str, prefix: str) -> Iterator[str]:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = prefix + entry.name
                if entry.is_dir(follow_symlinks=False) and path in folders:
                    yield from walk(entry.path, f"{path}/")
                elif path not in listed and path not in folders:
                    yield path

    return walk(directory, "")


def _fault(entry: Entry, content: bytes) -> str | None:
    if len(content) != entry.size:
        longer = "more than " if len(content) > entry.size else ""
        return f"changed: {longer}{min(len(content), entry.size)} bytes, the manifest says {entry.size}"
    if (digest := hashlib.sha256(content).hexdigest()) != entry.sha256:
        return f"changed: SHA-256 is {digest}, the manifest says {entry.sha256}"
    return None


def _content(root: str, path: str, limit: int) -> bytes:
    """Up to `limit` + 1 bytes of a regular file, reached without following a symbolic link below `root`."""
    *folders, name = path.split("/")
    opened: list[int] = []
    try:
        opened.append(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        for folder in folders:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            opened.append(os.open(folder, flags, dir_fd=opened[-1]))
        # Without O_NONBLOCK a named pipe in the place of a file would hold us for ever.
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=opened[-1])
        opened.append(file)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise BundleError(path, "not a regular file")
        parts, left = [], limit + 1
        while left > 0 and (part := os.read(file, min(left, 1 << 20))):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)
    except OSError as error:
        raise BundleError(path if opened else root, _reason(error, root, path, opened)) from error
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _reason(error: OSError, root: str, path: str, opened: list[int]) -> str:
    if not opened:
        return f"cannot be opened as a folder: {error.strerror}"
    parts = path.split("/")
    part = "/".join(parts[: len(opened)])
    if isinstance(error, FileNotFoundError):
        return "missing"
    # The kernel says ELOOP of a link to a file, but ENOTDIR of a link to a folder.
    if error.errno in (errno.ELOOP, errno.ENOTDIR) and stat.S_ISLNK(os.lstat(f"{root}/{part}").st_mode):
        return f"{part} is a symbolic link"
    return error.strerror or str(error)
