"""`lab build`: the guest host's root image, labelled, sealed by dm-verity, and the same for the same inputs."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import elf, tools
from ..image import build_root
from ..tree import Tree
from . import cache, contract, verity
from .packages import Package, PackageError, packages, unpack
from .programs import programs

FORMAT = 1
_KEPT = 12
PROGRAMS = (
    "usr/bin/containerd",
    "usr/bin/containerd-shim-runc-v2",
    "usr/bin/ctr",
    "usr/bin/crun",
    "usr/sbin/runc",
)
LOADER = "usr/lib64/ld-linux-x86-64.so.2"
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
# The names of our one program; by the policy's file contexts each enters another domain.
OWN = {"init": "usr/lib/systemd/systemd", "system": "usr/libexec/stockade-lab", "runtime": "usr/bin/containerd-lab"}
MODULES = ("dm-verity", "erofs", "overlay", "loop", "veth")
CONTRACT = "usr/share/stockade"


@dataclass(frozen=True, slots=True)
class Extra:
    """A tree that is added to the root. `label`: an SELinux context for every node of it, by its top-level paths."""

    tree: Tree
    label: str = ""

    def digest(self) -> str:
        """SHA-256 of all that it holds, in hexadecimal."""
        return hashlib.sha256(self.tree.archive() + self.label.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Image:
    """A built image: `folder` holds root.img, initramfs.cpio and image.json; `seal` what the kernel checks it by."""

    folder: Path
    seal: verity.Verity
    policy_bytes: int

    @property
    def root(self) -> Path:
        """The erofs image with its hash tree behind it."""
        return self.folder / "root.img"

    @property
    def initramfs(self) -> Path:
        """The first program and the kernel modules."""
        return self.folder / "initramfs.cpio"

    def inventory(self) -> dict[str, object]:
        """What it was made from and what came out: packages with versions and digests, root hash."""
        read: dict[str, object] = json.loads((self.folder / "image.json").read_text(encoding="utf-8"))
        return read


def build(
    bundle: Path,
    *,
    extras: Sequence[Extra] = (),
    mirror: str | None = None,
    refresh: bool = False,
    progress: Callable[[str], None] = lambda step: None,
) -> Image:
    """The guest host under `bundle`'s policy, from the cache when nothing that goes into it has changed.

    Needs no root. LabMissing, PackageError, CompileError, ContractError, ElfError or ImageError (of `lab.image`) when
    it cannot be made. `progress` is told each step in a few words.
    """
    found = tools.find()
    progress("packages")
    chosen = packages(mirror=mirror, refresh=refresh)
    own = programs()
    host = {path.name: path.read_bytes() for path in sorted((bundle / "host").iterdir())}
    inputs: dict[str, object] = {
        "format": FORMAT,
        "suite": "Debian 13, amd64",
        "packages": [{"name": p.name, "version": p.version, "sha256": p.sha256} for p in chosen],
        "programs": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(own.items())},
        "policy": {name: hashlib.sha256(data).hexdigest() for name, data in host.items()},
        "bundle": hashlib.sha256(_archive(_bundle_tree(bundle))).hexdigest(),
        "furniture": hashlib.sha256(contract.furniture(bundle / "host")).hexdigest(),
        "kernel": found.release,
        "mkfs": _version(found.mkfs),
        "extras": [extra.digest() for extra in extras],
    }
    spelled = json.dumps(inputs, sort_keys=True).encode()
    name = hashlib.sha256(spelled).hexdigest()[:32]
    folder = cache.once(
        cache.folder("images") / name,
        lambda work: _make(work, bundle, extras, chosen, own, found, inputs, progress),
    )
    cache.keep_newest(folder.parent, _KEPT)
    told = json.loads((folder / "image.json").read_text(encoding="utf-8"))
    policies = [data for name, data in host.items() if re.fullmatch(r"policy\.\d+", name)]
    if len(policies) != 1:
        raise contract.ContractError(f"{bundle}: {len(policies)} kernel policies (policy.VERSION), and it takes one")
    return Image(folder, verity.Verity(told["blocks"], told["rootHash"]), len(policies[0]))


def _make(
    work: Path,
    bundle: Path,
    extras: Sequence[Extra],
    chosen: Sequence[Package],
    own: dict[str, bytes],
    found: tools.Tools,
    inputs: dict[str, object],
    progress: Callable[[str], None],
) -> None:
    progress("root")
    tree = root_tree(bundle, chosen, own)
    contexts = (bundle / "host/file_contexts").read_text(encoding="utf-8")
    for extra in extras:
        tree.nodes.update(extra.tree.nodes)
        contexts += _extra_contexts(extra)
    progress("erofs")
    drop = tools.drop()
    root = work / "root.img"
    build_root(tree, contexts, root, found, drop)
    progress("verity")
    with root.open("r+b") as file:
        sealed = verity.seal(file)
    initramfs = Tree()
    initramfs.file("init", own["stage1"], 0o755)
    for number, module in enumerate(tools.module_files(found, *MODULES)):
        initramfs.file(f"modules/{number:02}-{module.name}", module.read_bytes())
    for place in ("proc", "sys", "sysroot"):
        initramfs.folder(place)
    initramfs.character("dev/console", 5, 1)
    (work / "initramfs.cpio").write_bytes(initramfs.archive())
    told = {**inputs, "blocks": sealed.blocks, "rootHash": sealed.root_hash}
    (work / "image.json").write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    for path in work.iterdir():
        path.chmod(0o644)


def root_tree(bundle: Path, chosen: Sequence[Package], own: dict[str, bytes]) -> Tree:
    """The standard root: runtimes, the libraries they name, our own program, the bundle. No shell, nothing setuid."""
    everything = Tree()
    for package in chosen:
        # Of nodes that two packages have in common only folders matter, and those are alike.
        everything.nodes.update(unpack(package).nodes)
    tree = Tree()
    for alias in ("bin", "lib", "lib64", "sbin"):
        tree.folder(f"usr/{alias}")
        tree.link(alias, f"usr/{alias}")
    waiting = [*PROGRAMS, LOADER]
    while waiting:
        path = waiting.pop()
        if path in tree.nodes:
            continue
        entry = everything.nodes.get(path)
        if entry is None:
            raise PackageError(f"no package of the guest has {path}")
        if entry.mode & 0o170000 == 0o120000:
            tree.link(path, entry.data.decode())
            target = Path("/", path).parent / entry.data.decode()
            waiting.append(_resolved(target))
        else:
            tree.file(path, entry.data, entry.mode & 0o755)
            waiting += (f"{_LIBRARIES}/{name}" for name in elf.needed(entry.data) if not name.startswith("ld-linux"))
    for place in OWN.values():
        tree.file(place, own["init"], 0o755)
    tree.nodes.update(_bundle_tree(bundle).nodes)
    tree.file(f"{CONTRACT}/lab/furnish", contract.furniture(bundle / "host"))
    contract.places(bundle / "host", tree)
    return tree


def _resolved(path: Path) -> str:
    parts: list[str] = []
    for part in path.parts[1:]:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def _bundle_tree(bundle: Path) -> Tree:
    tree = Tree()
    for path in sorted(bundle.rglob("*")):
        if path.is_file():
            tree.file(f"{CONTRACT}/{path.relative_to(bundle)}", path.read_bytes())
    return tree


def _archive(tree: Tree) -> bytes:
    return tree.archive()


def _extra_contexts(extra: Extra) -> str:
    if not extra.label:
        return ""
    tops = {path for path, entry in extra.tree.nodes.items() if entry.mode & 0o170000 != 0o040000}
    return "".join(f"/{re.escape(path)}\t{extra.label}\n" for path in sorted(tops | set(extra.tree.nodes)))


@functools.cache
def _version(program: Path) -> str:
    ran = subprocess.run([str(program), "-V"], capture_output=True, text=True, timeout=20, check=False)
    return (ran.stdout or ran.stderr).splitlines()[0].strip()
