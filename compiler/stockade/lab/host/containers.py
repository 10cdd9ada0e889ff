"""A container of a bundle's type on the guest host: its OCI bundle as files, and the tasks that start it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stockade.oci.base import all_mounts

from ..tree import Tree
from .plan import File, Task

FOLDER = "/var/lib/lab"


@dataclass(frozen=True, slots=True)
class Container:
    """A container that any of the runtimes can start.

    `spec` is its whole runtime specification and may be changed before `files` are taken; `rootfs` its root, whose
    every file gets `file_label`.
    """

    name: str
    spec: dict[str, Any]
    rootfs: Tree
    file_label: str

    @property
    def folder(self) -> str:
        """Where its OCI bundle lies in the guest."""
        return f"{FOLDER}/{self.name}"

    def files(self) -> list[File]:
        """The OCI bundle, to be laid before the tasks."""
        return [
            File(f"{self.folder}/config.json", json.dumps(self.spec, indent=1).encode()),
            File(f"{self.folder}/rootfs", label=self.file_label, kind="folder", mode=0o755),
            *_laid(self.rootfs, f"{self.folder}/rootfs", self.file_label),
        ]

    def run(self, runtime: str = "/usr/sbin/runc", **more: Any) -> Task:
        """A task that runs it to its end; what it writes is the task's own output."""
        return Task((runtime, "run", "--bundle", self.folder, self.name), name=more.pop("name", self.name), **more)

    def run_by_containerd(self, binary: str = "/usr/sbin/runc", **more: Any) -> Task:
        """The same through containerd and its shim, which call `binary`; the guest runs with `containerd=True`."""
        argv = ("/usr/bin/ctr", "run", "--rm", "--runc-binary", binary, "--config", f"{self.folder}/config.json")
        return Task((*argv, self.name), name=more.pop("name", self.name), **more)


def container(
    bundle: Path, kind: str, argv: Sequence[str], rootfs: Tree, *, name: str = "", categories: str = "c1,c2"
) -> Container:
    """A container of the type `kind`, exactly as `bundle` says; of a level by pair, with these `categories`.

    Its root is at an absolute path, which is what containerd needs; KeyError for a type that the bundle has not.
    """
    folder = bundle / "containers" / kind
    if not folder.is_dir():
        raise KeyError(f"{bundle} has no container type {kind}")
    spec: dict[str, Any] = json.loads((folder / "oci.json").read_text(encoding="utf-8"))
    seccomp = json.loads((folder / "seccomp.json").read_text(encoding="utf-8"))
    name = name or kind
    process, files = (_at(label, spec, categories) for label in _labels(spec))
    spec["ociVersion"] = "1.0.2"
    spec["process"] |= {
        "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "cwd": "/",
        "args": list(argv),
        "env": ["PATH=/bin:/"],
        "selinuxLabel": process,
    }
    spec["root"] = {**spec.get("root", {}), "path": f"{FOLDER}/{name}/rootfs"}
    spec["hostname"] = name
    spec["mounts"] = all_mounts(spec)
    spec["linux"] |= {"seccomp": seccomp, "mountLabel": files, "cgroupsPath": f"/{name}"}
    return Container(name, spec, rootfs, files)


def _labels(spec: Mapping[str, Any]) -> tuple[str, str]:
    return spec["process"]["selinuxLabel"], spec["linux"]["mountLabel"]


def _at(label: str, spec: Mapping[str, Any], categories: str) -> str:
    """A label with the container's categories where its type is kept apart by pairs."""
    return f"{label}:{categories}" if spec["annotations"]["io.stockade.level"] == "pair" else label


def _laid(tree: Tree, at: str, label: str) -> Iterator[File]:
    kinds = {0o040000: "folder", 0o100000: "file", 0o120000: "link"}
    for path, entry in sorted(tree.nodes.items(), key=lambda item: item[0].split("/")):
        yield File(f"{at}/{path}", entry.data, entry.mode & 0o7777, label, kinds[entry.mode & 0o170000])
