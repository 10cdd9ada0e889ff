"""The guest's mounts and folders with their labels, taken from the bundle's own label contract."""

from __future__ import annotations

import re
from pathlib import Path

from ..tree import Tree

# What PID 1 mounts on a tmpfs whatever the policy says of it, with its options; everything else on the root is sealed.
_VOLATILE = {"/etc": "mode=755", "/run": "mode=755", "/tmp": "mode=1777", "/var": "mode=755,size=75%"}
_PLACES = ("dev", "etc", "local", "media/cdrom", "mnt", "opt", "proc", "root", "run", "srv", "sys", "tmp", "usr", "var")
_KERNEL = (
    ("volume", "/dev/pts", "devpts", "gid=5,mode=620,ptmxmode=666"),
    ("mount", "/dev/shm", "tmpfs", "mode=1777"),
    ("mount", "/dev/mqueue", "mqueue", ""),
    *(
        ("link", f"/dev/{name}", f"/proc/self/fd{part}", "")
        for name, part in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2"))
    ),
    ("link", "/var/run", "/run", ""),
)


class ContractError(Exception):
    """The bundle's label contract lacks something without which no host can be put together."""


def furniture(host: Path) -> bytes:
    """The table by which PID 1 furnishes the guest, from the files of a bundle's `host` folder.

    Lines of KIND, PATH, TYPE, OPTIONS by tabs: `mount` and `volume` (without nosuid and nodev) a file system, `folder`
    with a label in the place of a type, `link` with a target there.
    """
    rows: list[tuple[str, ...]] = []
    folders = folder_labels((host / "file_contexts").read_text(encoding="utf-8"))
    options = _mounts((host / "mount_contexts").read_text(encoding="utf-8"))
    for path, base in _VOLATILE.items():
        if path not in folders and path not in options:
            raise ContractError(f"{host}: no label for {path}")
        label = options.pop(path, None) or f'rootcontext="{folders[path]}"'
        # A file system of the label decides what may be stored on it; on an unlabelled one, that is its root's.
        whole = label.replace("rootcontext=", "fscontext=") + "," if path == "/var" else ""
        rows.append(("volume" if path == "/var" else "mount", path, "tmpfs", f"{base},{whole}{label}"))
    for path, label in sorted(options.items()):
        rows.append(("mount", path, "tmpfs", f"mode=755,{label}"))
    rows += _KERNEL
    folders = _folders((host / "tmpfiles.conf").read_text(encoding="utf-8"))
    rows += (("folder", path, label, "") for path, label in folders.items())
    return "".join("\t".join(row) + "\n" for row in rows).encode()


def places(host: Path, tree: Tree) -> None:
    """Make in `tree` every folder that something is mounted on."""
    for place in _PLACES:
        tree.folder(place)
    for path in _mounts((host / "mount_contexts").read_text(encoding="utf-8")):
        if not path.startswith(("/run/", "/var/", "/etc/", "/tmp/")):
            place = path.removeprefix("/")
            tree.folder(f"usr/{place}" if place.split("/")[0] in ("bin", "lib", "lib64", "sbin") else place)


def folder_labels(file_contexts: str) -> dict[str, str]:
    """The labels that file contexts give single folders, by path."""
    found = {}
    for line in file_contexts.splitlines():
        if match := re.fullmatch(r"(/[\w/.-]*)\t+-d\t+(\S+)", line):
            found[match[1]] = match[2]
    return found


def _mounts(text: str) -> dict[str, str]:
    return dict(line.split("\t", 1) for line in text.splitlines() if line.strip())


def _folders(text: str) -> dict[str, str]:
    """What tmpfiles.d labels, outermost folders only: what lies in one of them is a file that a program makes."""
    found: dict[str, str] = {}
    for line in sorted(text.splitlines()):
        match = re.fullmatch(r"t (/\S+) - - - - security\.selinux=(\S+)", line)
        if match is None:
            raise ContractError(f"tmpfiles.conf: a line of another form: {line}")
        if not any(match[1].startswith(f"{path}/") for path in found):
            found[match[1]] = match[2]
    return found
