"""The guest's own programs, compiled by this machine's C compiler: static, without time or path in them."""

from __future__ import annotations

import functools
import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from ..tools import LabMissing
from . import cache

_FLAGS = ("-std=gnu11", "-O2", "-static", "-s", "-Wl,--build-id=none", "-Wall", "-Wextra", "-Werror")
_HEADERS = ("channel.h", "common.h", "plan.h", "tasks.h", "tools.h", "verity.h")


class CompileError(Exception):
    """The compiler refused; the text is its own."""


def programs() -> dict[str, bytes]:
    """`stage1` (the initramfs's first program) and `init` (PID 1, runner, tools)."""
    return {name: compiled(f"{name}.c", headers=_HEADERS) for name in ("stage1", "init")}


def compiled(*sources: str, headers: Sequence[str]) -> bytes:
    """One program of `sources`, paths below `lab/guest`; compiled once for each compiler and kept in the cache."""
    folder = resources.files("stockade.lab").joinpath("guest")
    texts = {name: folder.joinpath(*name.split("/")).read_bytes() for name in (*sources, *headers)}
    parts = [_compiler(), *(part for name, text in texts.items() for part in (name.encode(), text))]
    key = hashlib.sha256(b"".join(b"%d:%b" % (len(part), part) for part in parts)).hexdigest()[:32]
    made = cache.once(cache.folder("programs") / key, lambda work: _compile(work, texts))
    return (made / "program").read_bytes()


@functools.cache
def _compiler() -> bytes:
    """What the compiler says of itself, with the flags."""
    if shutil.which("cc") is None:
        raise LabMissing("a C compiler", "apt-get install gcc libc6-dev linux-libc-dev")
    ran = subprocess.run(["cc", "--version"], capture_output=True, timeout=20, check=False)
    return ran.stdout + " ".join(_FLAGS).encode()


def _compile(folder: Path, texts: dict[str, bytes]) -> None:
    source = folder / "source"
    source.mkdir()
    for name, text in texts.items():
        (source / Path(name).name).write_bytes(text)
    names = [Path(name).name for name in texts if name.endswith(".c")]
    # In the folder and by bare names, so that no path gets into the program.
    command = ["cc", *_FLAGS, "-o", "../program", *names]
    ran = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=120, check=False)
    if ran.returncode:
        hint = "; apt-get install libc6-dev linux-libc-dev" if "cannot find -lc" in ran.stderr else ""
        raise CompileError(f"cc {' '.join(names)}: {ran.stderr.strip()}{hint}")
    shutil.rmtree(source)
