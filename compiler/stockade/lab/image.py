"""The guest's two images: the labelled, read-only erofs root, and the initramfs that carries policy and plan to it."""

from __future__ import annotations

import functools
import os
import re
import subprocess
from importlib import resources
from pathlib import Path

from . import uml
from .tools import Drop, LabMissing, Tools, libraries, module_files
from .tree import Tree

# Fixed, so that the same files and labels give the same image.
_UUID = "7a3c1f52-6d0e-4b8a-9c47-50f1e2d3b4a6"
_PERL = "usr/bin/perl"
# Real hosts keep their init and their runtime here, so the labels of the policy's file contexts apply as they are.
INIT = "usr/lib/systemd/systemd"
RUNTIME = "usr/bin/runc"
PROBE = "usr/lib/lab/probe"


class ImageError(Exception):
    """mkfs.erofs refused; the text is its own."""


def root_tree(tools: Tools) -> Tree:
    """The guest's root: an interpreter, busybox, init, the launcher, the probe, and empty places to mount on."""
    tree = _interpreter(tools)
    tree.file("usr/bin/busybox", _read(tools.busybox), 0o755)
    tree.file(INIT, guest("init.pl"), 0o755)
    tree.file(RUNTIME, guest("launch.pl"), 0o755)
    tree.file(PROBE, guest("probe.pl"), 0o755)
    for place in ("proc", "sys", "dev", "run", "lab"):
        tree.folder(place)
    return tree


def initramfs(tools: Tools, policy: bytes, plan: bytes) -> bytes:
    """The first root: interpreter, first program, kernel modules in the order of insertion, kernel policy, plan."""
    tree = _interpreter(tools)
    tree.file("init", guest("stage1.pl"), 0o755)
    tree.file("policy", policy)
    tree.file("plan", plan)
    for number, module in enumerate(module_files(tools, "erofs")):
        tree.file(f"modules/{number:02}-{module.name}", _read(module))
    for place in ("proc", "sys", "root"):
        tree.folder(place)
    tree.character("dev/console", 5, 1)
    return tree.archive()


def root_relative(file_contexts: str) -> str:
    """The same contexts for a tree that is itself the root.

    A pattern such as `/.*/usr/bin/mount` is written for a tree kept below some prefix; the prefix becomes optional.
    """
    return re.sub(r"^/\.\*/", "(/.*)?/", file_contexts, flags=re.MULTILINE)


def build_root(tree: Tree, file_contexts: str, target: Path, tools: Tools, drop: Drop) -> None:
    """Write `tree`, labelled by `file_contexts`, as an erofs image to `target`; nothing needs root."""
    with uml.work_folder(drop) as work:
        folder = work / "tree"
        folder.mkdir()
        folder.chmod(0o755)
        tree.write_to(folder)
        contexts = work / "file_contexts"
        contexts.write_text(root_relative(file_contexts), encoding="utf-8")
        image = work / "image"
        for path in (folder, contexts):
            drop.own(path)
        options = ["-T0", f"-U{_UUID}", "--all-root", f"--file-contexts={contexts}"]
        try:
            ran = subprocess.run(
                [str(tools.mkfs), *options, str(image), str(folder)],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=120,
                check=False,
                env={"LC_ALL": "C", "PATH": os.defpath},
                user=drop.uid,
                group=drop.gid,
                extra_groups=None if drop.uid is None else [],
            )
        except OSError as error:
            raise LabMissing(f"a working {tools.mkfs}", str(error)) from error
        except subprocess.TimeoutExpired as error:
            raise ImageError(f"mkfs.erofs did not end in {error.timeout:g} s") from error
        if ran.returncode or not image.is_file():
            raise ImageError(f"mkfs.erofs ended with {ran.returncode}: {(ran.stderr or ran.stdout).strip()}")
        target.write_bytes(image.read_bytes())


def guest(name: str) -> bytes:
    """One of the guest's own programs."""
    return resources.files(__package__).joinpath("guest", name).read_bytes()


def _interpreter(tools: Tools) -> Tree:
    tree = Tree()
    for alias in ("bin", "lib", "lib64", "sbin"):
        tree.folder(f"usr/{alias}")
        tree.link(alias, f"usr/{alias}")
    tree.file(_PERL, _read(tools.perl), 0o755)
    for library in _libraries(tools.perl):
        inside = library.removeprefix("/")
        tree.file(inside if inside.startswith("usr/") else f"usr/{inside}", _read(Path(library)), 0o755)
    return tree


@functools.cache
def _libraries(program: Path) -> tuple[str, ...]:
    return tuple(libraries(program))


@functools.cache
def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LabMissing(str(path), error.strerror or "it cannot be read") from error
