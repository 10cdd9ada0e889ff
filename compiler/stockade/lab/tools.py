"""What the lab needs from this machine: programs, kernel modules, an unprivileged user; each absence named once."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

MODULES = Path("/usr/lib/uml/modules")
NOBODY = 65534
_REINSTALL = "apt-get install --reinstall user-mode-linux"


class LabMissing(Exception):
    """The lab cannot run here. `what` is absent; `how` is the command, or the plain sentence, that helps."""

    def __init__(self, what: str, how: str) -> None:
        super().__init__(f"the lab needs {what}: {how}")
        self.what = what
        self.how = how


@dataclass(frozen=True, slots=True)
class Tools:
    """Absolute paths; `modules` is the folder of the guest kernel's release, `release` its name."""

    linux: Path
    mkfs: Path
    busybox: Path
    perl: Path
    modules: Path
    release: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Whom the guest and the image builder run as: this user, or `nobody` when this user is root."""

    uid: int | None
    gid: int | None

    def own(self, path: Path) -> None:
        """Give `path` to that user, where that is somebody else."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


def find() -> Tools:
    """Everything the lab needs, or `LabMissing` for the first thing that is absent."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise LabMissing(
            "an x86_64 Linux host",
            f"this one is {platform.machine()} {platform.system()}; user-mode Linux is an x86_64 program",
        )
    linux = _program("linux.uml", "user-mode-linux")
    mkfs = _program("mkfs.erofs", "erofs-utils")
    busybox = _program("busybox", "busybox-static")
    perl = _program("perl", "perl-base")
    if interpreter(busybox) is not None:
        raise LabMissing("a static busybox", f"{busybox} is linked dynamically; apt-get install busybox-static")
    version = _output([str(linux), "--version"]).strip()
    folder = MODULES / version
    if not (folder / "modules.dep").is_file():
        raise LabMissing(f"kernel modules for {version} under {MODULES}", _REINSTALL)
    return Tools(linux, mkfs, busybox, perl, folder, version)


def drop() -> Drop:
    """`nobody` when started as root; no change otherwise, nor where `nobody` is not mapped (a rootless container)."""
    if os.geteuid() != 0 or not _mapped(Path("/proc/self/uid_map")) or not _mapped(Path("/proc/self/gid_map")):
        return Drop(None, None)
    return Drop(NOBODY, NOBODY)


def module_files(tools: Tools, *names: str) -> list[Path]:
    """The files of these kernel modules, dependencies first, each once."""
    needs: dict[str, tuple[str, list[str]]] = {}
    for line in (tools.modules / "modules.dep").read_text(encoding="ascii").splitlines():
        file, _, after = line.partition(":")
        needs[Path(file).stem] = (file, after.split())
    files: dict[str, None] = {}
    for name in names:
        if name not in needs:
            raise LabMissing(f"the kernel module {name} for {tools.release}", _REINSTALL)
        file, dependencies = needs[name]
        files.update(dict.fromkeys([*reversed(dependencies), file]))
    return [tools.modules / file for file in files]


def interpreter(program: Path) -> str | None:
    """The dynamic loader an x86_64 ELF program names, or None when it is static."""
    data = program.read_bytes()
    if data[:5] != b"\x7fELF\x02":
        raise LabMissing(f"{program} as a 64-bit ELF program", "reinstall its package")
    offset = int.from_bytes(data[32:40], "little")
    size, count = (int.from_bytes(data[at : at + 2], "little") for at in (54, 56))
    for start in range(offset, offset + size * count, size):
        if int.from_bytes(data[start : start + 4], "little") == 3:  # PT_INTERP
            at, length = (int.from_bytes(data[start + skip : start + skip + 8], "little") for skip in (8, 32))
            return data[at : at + length].rstrip(b"\0").decode()
    return None


def libraries(program: Path) -> list[str]:
    """The absolute paths of the loader and the shared libraries `program` starts with, as the loader finds them."""
    loader = interpreter(program)
    if loader is None:
        return []
    found = {loader}
    for line in _output([loader, "--list", str(program)]).splitlines():
        name, arrow, rest = line.strip().partition(" => ")
        if arrow:
            path = rest.split(" (")[0]
            if not path.startswith("/"):
                raise LabMissing(f"the library {name} of {program}", "reinstall its package")
            found.add(path)
    return sorted(found)


def _program(name: str, package: str) -> Path:
    path = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin:/usr/bin:/bin")
    if path is None:
        raise LabMissing(name, f"apt-get install {package}")
    return Path(path).absolute()


def _output(command: list[str]) -> str:
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, env={"LC_ALL": "C"})
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabMissing(f"a working {command[0]}", str(error)) from error
    if ran.returncode:
        raise LabMissing(f"a working {command[0]}", f"it ended with {ran.returncode}: {ran.stderr.strip()}")
    return ran.stdout


def _mapped(table: Path) -> bool:
    for line in table.read_text(encoding="ascii").splitlines():
        first, _, count = (int(word) for word in line.split())
        if first <= NOBODY < first + count:
            return True
    return False
