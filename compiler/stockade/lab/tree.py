"""A tree of files held in memory, and its two forms: a folder on disk and a `newc` cpio archive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_FILE, _FOLDER, _LINK, _CHARACTER = 0o100000, 0o040000, 0o120000, 0o020000


@dataclass(frozen=True, slots=True)
class Entry:
    """One node: `mode` with its type bits, `data` a file's bytes or a link's target, `device` major and minor."""

    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class Tree:
    """Nodes by path, relative to the root and without a leading slash."""

    nodes: dict[str, Entry] = field(default_factory=dict)

    def file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """A regular file, and the folders above it."""
        self._add(path, Entry(_FILE | mode, data))

    def folder(self, path: str) -> None:
        """A folder of mode 0755, and the folders above it."""
        self._add(path, Entry(_FOLDER | 0o755))

    def link(self, path: str, target: str) -> None:
        """A symbolic link."""
        self._add(path, Entry(_LINK | 0o777, target.encode()))

    def character(self, path: str, major: int, minor: int) -> None:
        """A character device of mode 0600; only an archive can hold one."""
        self._add(path, Entry(_CHARACTER | 0o600, device=(major, minor)))

    def write_to(self, folder: Path) -> None:
        """Create every node below the existing, empty `folder`."""
        for path, entry in self._sorted():
            at = folder / path
            match entry.mode & 0o170000:
                case 0o040000:
                    at.mkdir()
                case 0o120000:
                    at.symlink_to(entry.data.decode())
                    continue
                case 0o100000:
                    at.write_bytes(entry.data)
                case _:
                    raise ValueError(f"{path}: a device cannot be made without root")
            at.chmod(entry.mode & 0o7777)

    def archive(self) -> bytes:
        """The tree as a `newc` cpio archive, owned by root, of time zero."""
        out = bytearray()
        for number, (path, entry) in enumerate([*self._sorted(), ("TRAILER!!!", Entry(0))], start=1):
            name = path.encode() + b"\0"
            fields = (number, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0, *entry.device, len(name), 0)
            out += b"070701" + b"".join(b"%08X" % value for value in fields) + name
            out += bytes(-len(out) % 4) + entry.data
            out += bytes(-len(out) % 4)
        return bytes(out)

    def _add(self, path: str, entry: Entry) -> None:
        if not path or path.startswith("/") or ".." in path.split("/"):
            raise ValueError(f"{path!r}: a path of the tree is relative and stays inside it")
        parent = path.rpartition("/")[0]
        if parent and parent not in self.nodes:
            self.folder(parent)
        if self.nodes.setdefault(path, entry) != entry:
            raise ValueError(f"{path!r}: two different nodes of one name")

    def _sorted(self) -> Iterator[tuple[str, Entry]]:
        return iter(sorted(self.nodes.items(), key=lambda item: item[0].split("/")))
