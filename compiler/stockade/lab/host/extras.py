"""Trees that a caller may add to the guest's root: busybox, Debian's Python with this package, any folder."""

from __future__ import annotations

import os
import re
import subprocess
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from .. import tools
from ..tree import Tree
from .image import Extra
from .packages import packages, unpack

_PYTHON = re.compile(r"usr/(bin/python3[\d.]*$|lib/python3|lib/x86_64-linux-gnu/lib[^/]+\.so[^/]*$)")
_SKIP = re.compile(r"/(__pycache__|test|idlelib|ensurepip|pydoc_data|turtledemo)/")


def busybox(at: str = "usr/lib/busybox") -> Extra:
    """busybox with a link for each of its applets in the folder `at`, relative to the root: put it first on PATH."""
    program = tools.find().busybox
    ran = subprocess.run([str(program), "--list"], capture_output=True, text=True, timeout=20, check=True)
    tree = Tree()
    tree.file(f"{at}/busybox", program.read_bytes(), 0o755)
    for name in ran.stdout.split():
        if name != "busybox":
            tree.link(f"{at}/{name}", "busybox")
    return Extra(tree)


def python() -> Extra:
    """Debian 13's `python3` with its standard library, and this `stockade` package where that finds it."""
    tree = Tree()
    for package in packages(("python3",)):
        for path, entry in unpack(package).nodes.items():
            if _PYTHON.match(path) and entry.mode & 0o170000 != 0o040000 and not _SKIP.search(path):
                tree.nodes.setdefault(path, entry)
    for path in list(tree.nodes):
        parent = path.rpartition("/")[0]
        while parent and parent not in tree.nodes:
            tree.folder(parent)
    _package(resources.files("stockade"), "usr/lib/python3/dist-packages/stockade", tree)
    return Extra(tree)


def folder(source: Path, at: str, label: str = "") -> Extra:
    """The files, folders and links below `source`, placed below `at` (relative to the root), owned by root."""
    tree = Tree()
    tree.folder(at)
    for path in sorted(source.rglob("*")):
        inside = f"{at}/{path.relative_to(source)}"
        if path.is_symlink():
            tree.link(inside, os.readlink(path))  # noqa: PTH115
        elif path.is_dir():
            tree.folder(inside)
        elif path.is_file():
            tree.file(inside, path.read_bytes(), path.stat().st_mode & 0o7777)
        else:
            raise ValueError(f"{path}: neither file, folder nor link")
    return Extra(tree, label)


def _package(source: Traversable, at: str, tree: Tree) -> None:
    for entry in sorted(source.iterdir(), key=lambda one: one.name):
        if entry.name == "__pycache__":
            continue
        if entry.is_dir():
            _package(entry, f"{at}/{entry.name}", tree)
        else:
            tree.file(f"{at}/{entry.name}", entry.read_bytes())
