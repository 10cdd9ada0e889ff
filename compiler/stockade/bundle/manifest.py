"""The manifest of a bundle: what every file is, and its one canonical spelling as JSON.

Imported when a container starts, so plain classes and few imports: `dataclasses` alone would double that time.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

SCHEMA = "stockade-bundle/1"
"""Format and version of the manifest."""

NAME = "manifest.json"
HEXADECIMAL = "0123456789abcdef"
MAX_SIZE = 1 << 40


class BundleError(Exception):
    """Something is wrong with a bundle: `path` is the file or folder, `reason` says what."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class _Value:
    """A value without identity: equal when its members are, and read-only."""

    __slots__: tuple[str, ...] = ()

    def _members(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._members() == other._members()

    def __hash__(self) -> int:
        return hash(self._members())

    def __repr__(self) -> str:
        members = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({members})"

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is read-only")


class Entry(_Value):
    """A file of the bundle: `path` relative to it, SHA-256 in hexadecimal, `size` in bytes, media type."""

    __slots__ = ("media_type", "path", "sha256", "size")
    media_type: str
    path: str
    sha256: str
    size: int

    def __init__(self, *, path: str, sha256: str, size: int, media_type: str) -> None:
        for name, value in (("path", path), ("sha256", sha256), ("size", size), ("media_type", media_type)):
            object.__setattr__(self, name, value)


class Manifest(_Value):
    """What a bundle was compiled from, and its files sorted by path.

    `source` and `compiler` are the SHA-256 of the policy and of the compiler, in hexadecimal, `complaining` the
    container types that SELinux and seccomp do not hold, sorted; the file speaks of them only where there are any.
    Raises BundleError where a member has the wrong shape, where a path could leave the bundle, or where two paths
    cannot both be files.
    """

    __slots__ = ("compiler", "complaining", "entries", "policy_name", "policy_version", "source")
    compiler: str
    complaining: tuple[str, ...]
    entries: tuple[Entry, ...]
    policy_name: str
    policy_version: str
    source: str

    def __init__(
        self,
        *,
        policy_name: str,
        policy_version: str,
        source: str,
        compiler: str,
        entries: Iterable[Entry],
        complaining: Iterable[str] = (),
    ) -> None:
        for name, value in (("policy name", policy_name), ("policy version", policy_version)):
            if not isinstance(value, str) or not value.strip() or not value.isprintable():
                raise BundleError(NAME, f"{name} {value!r} is not a printable text")
        for name, value in (("source", source), ("compiler", compiler)):
            if not _is_digest(value):
                raise BundleError(NAME, f"{name}: {value!r} is not a SHA-256 in lower-case hexadecimal")
        ordered = tuple(sorted(entries, key=lambda entry: entry.path))
        _check_entries(ordered)
        for name, member in (
            ("policy_name", policy_name),
            ("policy_version", policy_version),
            ("source", source),
            ("compiler", compiler),
            ("entries", ordered),
            ("complaining", tuple(sorted(complaining))),
        ):
            object.__setattr__(self, name, member)

    def to_json(self) -> bytes:
        """The canonical spelling: keys sorted, two spaces, ASCII, one newline at the end."""
        # Written out by hand, which is what `json.dumps(document, indent=2, sort_keys=True)` gives: a bundle may have
        # ten thousand files, and json indents slowly.
        quoted = json.encoder.encode_basestring_ascii
        files = ",".join(
            f'\n    {{\n      "mediaType": {quoted(entry.media_type)},\n      "path": {quoted(entry.path)},\n'
            f'      "sha256": "{entry.sha256}",\n      "size": {entry.size}\n    }}'
            for entry in self.entries
        )
        name, version = json.dumps(self.policy_name), json.dumps(self.policy_version)
        complaining = ",".join(f"\n    {json.dumps(one)}" for one in self.complaining)
        said = f'  "complaining": [{complaining}\n  ],\n' if complaining else ""
        text = (
            f'{{\n  "compiler": "{self.compiler}",\n{said}  "files": [{files}{chr(10) + "  " if files else ""}],\n'
            f'  "policy": {{\n    "name": {name},\n    "version": {version}\n  }},\n'
            f'  "schema": "{SCHEMA}",\n  "source": "{self.source}"\n}}\n'
        )
        return text.encode("ascii")

    @classmethod
    def from_json(cls, content: bytes) -> Manifest:
        """Reads the canonical spelling and no other; raises BundleError saying what is wrong."""
        try:
            document = json.loads(content.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise BundleError(NAME, f"not JSON: {error}") from error
        spoken = isinstance(document, dict) and "complaining" in document
        names = ("schema", "policy", "source", "compiler", "files", *(("complaining",) if spoken else ()))
        top = _keys(document, "", names)
        if top["schema"] != SCHEMA:
            raise BundleError(NAME, f"schema is {top['schema']!r}, this program reads {SCHEMA!r}")
        policy = _keys(top["policy"], "policy", ("name", "version"))
        if not isinstance(top["files"], list):
            raise BundleError(NAME, "files is not an array")
        complaining = top["complaining"] if spoken else []
        if not isinstance(complaining, list) or not all(isinstance(name, str) for name in complaining):
            raise BundleError(NAME, "complaining is not an array of names")
        entries = []
        for index, item in enumerate(top["files"]):
            file = _keys(item, f"files[{index}]", ("path", "sha256", "size", "mediaType"))
            if not isinstance(file["path"], str):
                raise BundleError(NAME, f"files[{index}].path is not a string")
            entries.append(
                Entry(path=file["path"], sha256=file["sha256"], size=file["size"], media_type=file["mediaType"])
            )
        manifest = cls(
            policy_name=policy["name"],
            policy_version=policy["version"],
            source=top["source"],
            compiler=top["compiler"],
            entries=entries,
            complaining=complaining,
        )
        # This also refuses a key that is there twice.
        if manifest.to_json() != content:
            raise BundleError(NAME, "not in the canonical spelling (order, indentation, encoding or repeated keys)")
        return manifest


def path_fault(path: str) -> str | None:
    """Why a path cannot name a file of a bundle, or None where it can."""
    if not path.isascii() or not path.isprintable() or "\\" in path:
        return "the path has a character other than printable ASCII without backslash"
    if path.startswith("/"):
        return "the path is absolute"
    parts = path.split("/")
    if ".." in parts:
        return "the path has '..'"
    if "." in parts or "" in parts:
        return "the path has an empty part or '.'"
    return "the path is the manifest's own" if path == NAME else None


def _check_entries(entries: tuple[Entry, ...]) -> None:
    files: set[str] = set()
    for entry in entries:
        if fault := path_fault(entry.path):
            raise BundleError(entry.path, fault)
        if entry.path in files:
            raise BundleError(entry.path, "listed twice")
        files.add(entry.path)
        if not _is_digest(entry.sha256):
            raise BundleError(entry.path, f"sha256 {entry.sha256!r} is not 64 lower-case hexadecimal digits")
        if type(entry.size) is not int or not 0 <= entry.size <= MAX_SIZE:
            raise BundleError(entry.path, f"size {entry.size!r} is not a number of bytes")
        media = entry.media_type
        if not isinstance(media, str) or not media.isascii() or not media.isprintable() or media.count("/") != 1:
            raise BundleError(entry.path, f"media type {media!r} is not of the form type/subtype")
    wrong = folders_of(files) & (files | {NAME})
    for entry in entries if wrong else ():
        for folder in sorted(folders_of([entry.path]) & wrong, reverse=True):
            raise BundleError(entry.path, f"lies beneath the {'manifest' if folder == NAME else f'file {folder}'}")


def folders_of(paths: Iterable[str]) -> set[str]:
    """The folders that these files lie in, at every depth."""
    folders: set[str] = set()
    for path in paths:
        end = path.rfind("/")
        while end > 0 and (folder := path[:end]) not in folders:  # what is above a known folder is known too
            folders.add(folder)
            end = path.rfind("/", 0, end)
    return folders


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and not value.strip(HEXADECIMAL)


def _keys(value: object, where: str, names: tuple[str, ...]) -> Mapping[str, Any]:
    """The members of an object that has exactly `names`."""
    place = where or "the manifest"
    if not isinstance(value, dict):
        raise BundleError(NAME, f"{place} is not an object")
    for name in names:
        if name not in value:
            raise BundleError(NAME, f"{place} lacks {name}")
    for name in value:
        if name not in names:
            raise BundleError(NAME, f"{place} has the unknown key {name!r}")
    return value
