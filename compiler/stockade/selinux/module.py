"""Builds policy modules by SELinux's own tools: a .te and a .fc text to a .pp package, and a .pp package to CIL."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import Final

HLL_PP: Final = Path("/usr/libexec/selinux/hll/pp")
PACKAGES: Final = {"checkmodule": "checkpolicy", "semodule_package": "semodule-utils", str(HLL_PP): "policycoreutils"}
"""Debian's package for each tool."""

_TIMEOUT_S: Final = 120
_HEADER: Final = re.compile(rb"^\s*module\s+([A-Za-z][\w.-]*)\s", re.MULTILINE)
_PACKAGE_MAGIC: Final = b"\x8f\xff\x7c\xf9"
_PACKAGE_HEAD: Final = struct.Struct("<5I")  # magic, version, two sections and where they begin
_PACKAGE_NUMBER: Final = int.from_bytes(_PACKAGE_MAGIC, "little")
_CONTEXTS_MARK: Final = b"\x90\xff\x7c\xf9"
_MODULE_FORMAT: Final = b"SE Linux Module"
_MODULE_NUMBERS: Final = 20  # kind, version, options, two counts
_LENGTH: Final = struct.Struct("<I")


class ModuleError(Exception):
    """A tool is missing or refused the module: `tool` names it, `line` is the line of the .te text if it said one."""

    def __init__(self, message: str, tool: str, line: int | None = None) -> None:
        super().__init__(message)
        self.tool = tool
        self.line = line


def missing() -> tuple[str, ...]:
    """What cannot be run here, each with the package that has it."""
    return tuple(f"{tool} (Debian: {package})" for tool, package in PACKAGES.items() if which(tool) is None)


def build_pp(te: bytes, fc: bytes = b"", *, mls: bool = True) -> bytes:
    """The module package of a .te text and a .fc text, as `semodule -i` takes it. Raises ModuleError.

    `mls` must say what the policy of the target does: a module of one kind does not load into the other.
    """
    header = _HEADER.search(te)
    # checkmodule insists that the output be named after the module; the name goes into no other place.
    name = header[1].decode() if header else "module"
    with _scratch() as path:
        folder = Path(path)
        (folder / "module.te").write_bytes(te)
        (folder / "module.fc").write_bytes(fc)
        _run(["checkmodule", *(["-M"] if mls else []), "-m", "-o", f"{name}.mod", "module.te"], folder)
        if fc.strip():
            return _package((folder / f"{name}.mod").read_bytes(), fc)
        _run(["semodule_package", "-o", f"{name}.pp", "-m", f"{name}.mod"], folder)
        package = (folder / f"{name}.pp").read_bytes()
    if not package.startswith(_PACKAGE_MAGIC):
        raise ModuleError("semodule_package did not write a module package", "semodule_package")
    return package


def _package(module: bytes, fc: bytes) -> bytes:
    """What `semodule_package -m MODULE -f FC` gives: a head, the module, and the file contexts after their mark."""
    if module[8 : 8 + len(_MODULE_FORMAT)] != _MODULE_FORMAT:
        raise ModuleError("checkmodule did not write a module", "checkmodule")
    head = _PACKAGE_HEAD.pack(_PACKAGE_NUMBER, 1, 2, _PACKAGE_HEAD.size, _PACKAGE_HEAD.size + len(module))
    return head + module + _CONTEXTS_MARK + fc


def body(te: bytes) -> bytes:
    """A .te text without comments and without its name: what decides all but the name in the package."""
    lines = (line for line in te.split(b"\n") if line and not line.startswith(b"#"))
    return _HEADER.sub(b"module module ", b"\n".join(lines), count=1)


def renamed(package: bytes, te: bytes, fc: bytes) -> bytes:
    """The package that `build_pp(te, fc)` gives, made from that of a module with the same `body`. ModuleError.

    A package is a head that says where its sections begin, then the module, then the file contexts. The module has its
    own name once, in its head: after a length that precedes the name of the format, and nine numbers.
    """
    header = _HEADER.search(te)
    if header is None or not fc.strip():
        raise ModuleError("only a named module with file contexts can be renamed", "semodule_package")
    start, end = 20, _PACKAGE_HEAD.size + 8 + len(_MODULE_FORMAT) + _MODULE_NUMBERS
    if len(package) < end + 4:
        raise ModuleError("a package of an unknown form", "semodule_package")
    magic, version, count, first, second = _PACKAGE_HEAD.unpack_from(package)
    if package[:4] != _PACKAGE_MAGIC or count != 2 or first != start or package[28 : 28 + 15] != _MODULE_FORMAT:
        raise ModuleError("a package of an unknown form", "semodule_package")
    (length,) = _LENGTH.unpack_from(package, end)
    name = header[1]
    module = package[start:end] + _LENGTH.pack(len(name)) + name + package[end + 4 + length : second]
    return (
        _PACKAGE_HEAD.pack(magic, version, count, first, start + len(module))
        + module
        + package[second : second + 4]
        + fc
    )


def module_to_cil(pp: bytes) -> str:
    """The CIL that SELinux's own converter makes of a module package, as `semodule -i` would."""
    with _scratch() as name:
        folder = Path(name)
        (folder / "module.pp").write_bytes(pp)
        _run([str(HLL_PP), "module.pp", "module.cil"], folder)
        return (folder / "module.cil").read_text(encoding="utf-8")


def _scratch() -> TemporaryDirectory[str]:
    """A folder of our own, in memory where there is such a place.

    Thousands of files that live for milliseconds make a disk's file system slow at creating the files that stay.
    """
    memory = "/dev/shm" if "TMPDIR" not in os.environ and os.access("/dev/shm", os.W_OK | os.X_OK) else None
    return TemporaryDirectory(prefix="stockade-", dir=memory)


def _run(command: list[str], folder: Path) -> None:
    tool = command[0]
    path = which(tool)
    if path is None:
        raise ModuleError(f"{tool} is missing; on Debian: apt-get install {PACKAGES[tool]}", tool)
    try:
        # Fixed names in a folder of our own and a fixed locale: the same input gives the same bytes and the same words.
        done = subprocess.run(
            [path, *command[1:]],
            cwd=folder,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ModuleError(f"{tool}: {error}", tool) from None
    if done.returncode != 0:
        said = (done.stderr + done.stdout).decode("utf-8", "backslashreplace").strip()
        line = re.search(r"module\.te:(\d+):", said) or re.search(r"\bat token .* on line (\d+)", said)
        name = Path(tool).name
        raise ModuleError(f"{name}: {said or f'exit code {done.returncode}'}", tool, int(line[1]) if line else None)
