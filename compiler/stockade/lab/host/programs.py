"""The guest's own programs, compiled by this machine's C compiler: static, without time or path in them."""

from __future__ import annotations

import functools
import hashlib
import shutil
import subprocess
from importlib import resources
from pathlib import Path

from ..tools import LabMissing
from . import cache

_FLAGS = ("-std=gnu11", "-O2", "-static", "-s", "-Wl,--build-id=none", "-Wall", "-Wextra", "-Werror")
_PROGRAMS = ("stage1", "init")
_HEADERS = ("channel", "common", "plan", "tasks", "tools", "verity")


class CompileError(Exception):
    """The compiler refused; the text is its own."""


def programs() -> dict[str, bytes]:
    """`stage1` (the initramfs's first program) and `init` (PID 1, runner, tools), compiled once for each compiler."""
    key = hashlib.sha256(b"\0".join([_compiler(), *(text for _, text in _sources())])).hexdigest()[:32]
    made = cache.once(cache.folder("programs") / key, _compile)
    return {name: (made / name).read_bytes() for name in _PROGRAMS}


def _sources() -> list[tuple[str, bytes]]:
    folder = resources.files("stockade.lab").joinpath("guest")
    names = sorted([*(f"{name}.c" for name in _PROGRAMS), *(f"{name}.h" for name in _HEADERS)])
    return [(name, folder.joinpath(name).read_bytes()) for name in names]


@functools.cache
def _compiler() -> bytes:
    """What the compiler says of itself, with the flags."""
    if shutil.which("cc") is None:
        raise LabMissing("a C compiler", "apt-get install gcc libc6-dev linux-libc-dev")
    ran = subprocess.run(["cc", "--version"], capture_output=True, timeout=20, check=False)
    return ran.stdout + " ".join(_FLAGS).encode()


def _compile(folder: Path) -> None:
    source = folder / "source"
    source.mkdir()
    for name, text in _sources():
        (source / name).write_bytes(text)
    for name in _PROGRAMS:
        # In the folder and by bare names, so that no path gets into the program.
        command = ["cc", *_FLAGS, "-o", f"../{name}", f"{name}.c"]
        ran = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=120, check=False)
        if ran.returncode:
            hint = "; apt-get install libc6-dev linux-libc-dev" if "cannot find -lc" in ran.stderr else ""
            raise CompileError(f"cc {name}.c: {ran.stderr.strip()}{hint}")
    shutil.rmtree(source)
