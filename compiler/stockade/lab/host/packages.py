"""Debian packages for the guest: exact .deb files from the machine's own mirror, verified by apt, kept by content."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..tools import LabMissing
from ..tree import Tree
from . import cache

SUITE = "trixie"
WANTED = ("containerd", "crun", "runc")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_SOURCES = Path("/etc/apt")


class PackageError(Exception):
    """apt or dpkg-deb refused, or a file is not what was recorded; the text is theirs."""


@dataclass(frozen=True, slots=True)
class Package:
    """One binary package: its name, Debian version, and its file's SHA-256 in hexadecimal."""

    name: str
    version: str
    sha256: str


def packages(
    wanted: Sequence[str] = WANTED, *, suite: str = SUITE, mirror: str | None = None, refresh: bool = False
) -> tuple[Package, ...]:
    """The `wanted` packages of a Debian `suite` with all they depend on, sorted by name, their files in the cache.

    What was once chosen stays chosen, so that images stay the same and no network is needed; `refresh` asks the mirror
    again. LabMissing without apt, keyring or mirror; PackageError when apt fails.
    """
    lock = cache.folder("packages") / f"{suite}-{'-'.join(sorted(wanted))}.json"
    if not refresh and (chosen := _chosen(lock)):
        return chosen
    with cache.alone(lock):
        if not refresh and (chosen := _chosen(lock)):  # another has fetched them meanwhile
            return chosen
        chosen = _fetch(mirror or machine_mirror(), suite, wanted)
        cache.publish(lock, json.dumps([asdict(package) for package in chosen], indent=1).encode() + b"\n")
    return chosen


def _chosen(lock: Path) -> tuple[Package, ...]:
    """The packages that were chosen before; none where that cannot be read, or a file of theirs is gone."""
    try:
        chosen = tuple(Package(**row) for row in json.loads(lock.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return ()
    return chosen if all(stored(package).is_file() for package in chosen) else ()


def stored(package: Package) -> Path:
    """Where the cache keeps a package's file."""
    return cache.folder("packages") / f"{package.sha256}.deb"


def unpack(package: Package) -> Tree:
    """A package's files and links as a tree with `usr` merged; PackageError unless its bytes are the ones recorded."""
    path = stored(package)
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != package.sha256:
        path.unlink(missing_ok=True)
        raise PackageError(f"{path} was not the package {package.name} {package.version}; it is removed, build again")
    ran = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(path)], capture_output=True, timeout=120, check=False)
    if ran.returncode:
        raise PackageError(f"dpkg-deb {package.name}: {ran.stderr.decode(errors='replace').strip()}")
    tree = Tree()
    with tarfile.open(fileobj=io.BytesIO(ran.stdout)) as archive:
        for member in archive:
            name = re.sub(r"^(bin|sbin|lib|lib64)/", r"usr/\1/", member.name.removeprefix("./").strip("/"))
            if member.isfile():
                file = archive.extractfile(member)
                assert file is not None
                tree.file(name, file.read(), member.mode & 0o755)
            elif member.issym():
                tree.link(name, member.linkname)
    return tree


def machine_mirror() -> str:
    """The Debian mirror that this machine's own apt uses; LabMissing when it names none."""
    for uri in _uris(_SOURCES):
        if re.fullmatch(r"(https?|file|mirror\+\S+):\S*/debian", uri.rstrip("/")):
            return uri.rstrip("/")
    raise LabMissing("a Debian mirror", f"none is named under {_SOURCES}; give one with --mirror")


def _uris(folder: Path) -> Iterator[str]:
    parts = sorted(folder.glob("sources.list.d/*"))
    for path in [folder / "sources.list", *parts]:
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            if path.suffix == ".list" and (match := re.match(r"deb\s+(?:\[[^]]*\]\s+)?(\S+)", line)):
                yield match[1]
            elif path.suffix == ".sources" and (match := re.match(r"URIs:\s*(.+)", line, re.IGNORECASE)):
                yield from match[1].split()


def _fetch(mirror: str, suite: str, wanted: Sequence[str]) -> tuple[Package, ...]:
    """Fetch from `mirror`; apt verifies the suite's index by Debian's keys, and each file by the index."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise LabMissing(tool, "the guest's packages come by Debian's own tools (packages apt and dpkg)")
    if not KEYRING.is_file():
        raise LabMissing(str(KEYRING), "apt-get install debian-archive-keyring")
    with tempfile.TemporaryDirectory(prefix="stockade-apt-") as name:
        work = Path(name)
        for place in ("state/lists/partial", "cache/archives/partial", "etc/preferences.d", "etc/sources.list.d"):
            (work / place).mkdir(parents=True)
        (work / "state/status").touch()
        (work / "etc/sources.list").write_text(f"deb [arch=amd64 signed-by={KEYRING}] {mirror} {suite} main\n")
        settings = {
            "Dir::State": work / "state",
            "Dir::State::status": work / "state/status",
            "Dir::Cache": work / "cache",
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            "Dir::Etc::sourcelist": work / "etc/sources.list",
            "Dir::Etc::sourceparts": work / "etc/sources.list.d",
            "Dir::Etc::preferences": work / "etc/preferences",
            "Dir::Etc::preferencesparts": work / "etc/preferences.d",
            "Acquire::Languages": "none",
            "APT::Architecture": "amd64",
            "APT::Architectures": "amd64",
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root",
            "APT::Update::Error-Mode": "any",
            "DPkg::Post-Invoke": "",
            "APT::Update::Post-Invoke": "",
        }
        options = [f"-o{key}={value}" for key, value in settings.items()]
        _apt([*options, "-q=2", "update"])
        _apt([*options, "-q=2", "--yes", "--download-only", "install", *wanted])
        return tuple(sorted((_keep(deb) for deb in (work / "cache/archives").glob("*.deb")), key=lambda p: p.name))


def _apt(arguments: list[str]) -> None:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        ran = subprocess.run(
            ["apt-get", *arguments], capture_output=True, text=True, timeout=600, check=False, env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise PackageError(f"apt-get did not end in {error.timeout:g} s") from error
    if ran.returncode:
        said = [line for line in (ran.stdout + ran.stderr).splitlines() if line.startswith("E:")]
        raise PackageError("apt-get: " + (" | ".join(said[:3]) or f"it ended with {ran.returncode}"))


def _keep(deb: Path) -> Package:
    ran = subprocess.run(
        ["dpkg-deb", "--showformat=${Package} ${Version}", "--show", str(deb)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if ran.returncode:
        raise PackageError(f"dpkg-deb {deb.name}: {ran.stderr.strip()}")
    name, version = ran.stdout.split()
    data = deb.read_bytes()
    package = Package(name, version, hashlib.sha256(data).hexdigest())
    cache.publish(stored(package), data)
    return package
