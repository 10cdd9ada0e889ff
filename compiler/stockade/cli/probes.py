"""Asks this machine about one requirement at a time, by files and library calls, without running other programs."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Finding:
    """`found`: version, path or both, or empty; `problem`: empty when usable; `remedy`: instead of the usual one."""

    found: str = ""
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Machine:
    """The machine as seen from the folder `root`; `path` lists the folders of programs, colon-separated."""

    root: Path = Path("/")
    path: str = ""

    @property
    def python(self) -> str:
        """The interpreter that runs this."""
        return sys.executable

    @property
    def root_prefix(self) -> str:
        """What goes before a command that only root may run."""
        return "" if os.geteuid() == 0 else "sudo "

    @cached_property
    def debian(self) -> bool:
        """Whether dpkg keeps this machine's packages."""
        return (self.root / "var/lib/dpkg/status").is_file()

    def which(self, name: str) -> Path | None:
        """The program of that name; the sbin folders count, though a user's PATH may lack them."""
        folders = self.path or f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
        found = shutil.which(name, path=folders)
        return Path(found) if found else None

    @cached_property
    def _versions(self) -> dict[str, str]:
        """Debian's version of every installed package, by dpkg's own record."""
        versions: dict[str, str] = {}
        try:
            record = (self.root / "var/lib/dpkg/status").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return versions
        for stanza in record.split("\n\n"):
            fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] != " ")
            if fields.get("Status", "").endswith(" installed") and "Package" in fields:
                versions[fields["Package"]] = fields.get("Version", "")
        return versions

    def version_of(self, package: str, path: Path) -> str:
        """The version of `package` if dpkg says that it brought `path`, else empty: it may be a vendor's build."""
        if package not in self._versions:
            return ""
        names = {str(path), str(path.resolve())}
        names |= {name.removeprefix("/usr") for name in names}
        info = self.root / "var/lib/dpkg/info"
        for listing in (info / f"{package}.list", *info.glob(f"{package}:*.list")):
            if listing.is_file() and names.intersection(listing.read_text(encoding="utf-8").splitlines()):
                return self._versions[package]
        return ""


Probe = Callable[[Machine, str], Finding]
"""Asks the machine; the second argument is the Debian package that would bring it, empty when none does."""


def interpreter(machine: Machine, package: str) -> Finding:
    """Python 3.11 or newer."""
    found = f"{platform.python_version()} ({machine.python})"
    return Finding(found, "" if sys.version_info >= (3, 11) else "older than 3.11")


def architecture(wanted: str) -> Probe:
    """The CPU's architecture, by the kernel's name."""

    def probe(machine: Machine, package: str) -> Finding:
        have = f"{platform.system()} {platform.machine()}"
        return Finding(have, "" if have == f"Linux {wanted}" else f"this is no Linux on {wanted}")

    return probe


def program(name: str) -> Probe:
    """A program on PATH or in an sbin folder, with Debian's version where Debian brought it."""

    def probe(machine: Machine, package: str) -> Finding:
        path = machine.which(name)
        if path is None:
            return Finding(problem="missing")
        return Finding(_with_version(machine, path, package))

    return probe


def file(place: str) -> Probe:
    """A file at a fixed place, given relative to the root folder."""

    def probe(machine: Machine, package: str) -> Finding:
        path = machine.root / place
        if not path.is_file():
            return Finding(problem="missing")
        return Finding(_with_version(machine, path, package))

    return probe


def library(soname: str) -> Probe:
    """A shared library that the dynamic linker opens; its release as the library, or else dpkg, states it."""

    def probe(machine: Machine, package: str) -> Finding:
        import ctypes

        try:
            handle = ctypes.CDLL(soname)
        except OSError:
            return Finding(problem="missing")
        path = _loaded_from(soname)
        if soname.startswith("libseccomp."):
            handle.seccomp_version.restype = ctypes.POINTER(ctypes.c_uint * 3)
            return Finding(f"{'.'.join(map(str, handle.seccomp_version().contents))} ({path})")
        return Finding(_with_version(machine, path, package))

    return probe


def wheel(distribution: str, least: str) -> Probe:
    """A Python package of at least that version, by its installed metadata."""

    def probe(machine: Machine, package: str) -> Finding:
        from importlib import metadata

        try:
            version = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            return Finding(problem="missing")
        return Finding(version, "" if _numbers(version) >= _numbers(least) else f"older than {least}")

    return probe


def pyyaml(machine: Machine, package: str) -> Finding:
    """PyYAML, with the C parser of libyaml: the Python one takes about ten times as long."""
    found = wheel("PyYAML", "6.0")(machine, package)
    if found.problem:
        return found
    import yaml

    if not yaml.__with_libyaml__:
        return Finding(f"{found.found}, without libyaml", "built without libyaml")
    from yaml._yaml import get_version_string

    return Finding(f"{found.found} (libyaml {get_version_string()})")


def setools(machine: Machine, package: str) -> Finding:
    """SELinux's setools, as an interpreter loads it; the Python index's package of that name is a different project."""
    import importlib.util

    spec = importlib.util.find_spec("setools")
    if spec is None:
        return _unseen(machine)
    place = Path(spec.origin or "").parent
    if not (place / "policyrep.pyi").is_file() and not any(place.glob("policyrep*")):
        return Finding(
            str(place),
            "another project of the same name, not SELinux's setools",
            f"{machine.python} -m pip uninstall setools",
        )
    try:
        import setools
    except ImportError as error:
        return Finding(str(place), f"does not load in {machine.python}: {error}")
    return Finding(f"{getattr(setools, '__version__', 'unknown release')} ({place})")


def _unseen(machine: Machine) -> Finding:
    if not (machine.root / "usr/lib/python3/dist-packages/setools").is_dir():
        return Finding(problem="missing")
    return Finding(
        problem=f"installed for the system's Python, out of sight of {machine.python}",
        remedy="use a virtual environment made by: /usr/bin/python3 -m venv --system-site-packages",
    )


def user_mode_linux(machine: Machine, package: str) -> Finding:
    """The user-mode kernel and at least one folder of its modules."""
    path = machine.which("linux.uml")
    if path is None:
        return Finding(problem="missing")
    found = _with_version(machine, path, package)
    modules = sorted((machine.root / "usr/lib/uml/modules").glob("*/modules.dep"))
    if not modules:
        return Finding(found, "its kernel modules are missing")
    return Finding(f"{found}, modules {', '.join(one.parent.name for one in modules)}")


def static_busybox(machine: Machine, package: str) -> Finding:
    """A busybox without a dynamic loader, for the guest holds no libraries."""
    path = machine.which("busybox")
    if path is None:
        return Finding(problem="missing")
    found = _with_version(machine, path, package)
    return Finding(found, "linked dynamically" if _has_loader(path) else "")


def _has_loader(program_path: Path) -> bool:
    """Whether a 64-bit little-endian ELF program names a loader (PT_INTERP, type 3); anything else counts as if."""
    data = program_path.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        return True
    table, size, count = (
        int.from_bytes(data[at : at + length], "little") for at, length in ((32, 8), (54, 2), (56, 2))
    )
    return any(data[at : at + 4] == b"\x03\0\0\0" for at in range(table, table + size * count, size))


def _loaded_from(soname: str) -> Path:
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        place = line.partition("/")[2]
        if place.rpartition("/")[2].startswith(soname):
            return Path("/" + place)
    return Path(soname)


def _with_version(machine: Machine, path: Path, package: str) -> str:
    version = machine.version_of(package, path)
    return f"{version} ({path})" if version else str(path)


def _numbers(version: str) -> tuple[int, ...]:
    """The leading release numbers of a version, to compare: `4.26.0rc1` gives (4, 26, 0)."""
    numbers = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)
