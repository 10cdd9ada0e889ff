"""The guest's two programs of a trial, compiled from the sources beside them: the host's part and the probes."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from importlib import resources
from pathlib import Path

from stockade.lab.tools import LabMissing

PROBES = ("control", "devices", "host", "kernel", "main", "mounts", "namespaces", "sockets")
_FLAGS = ("-std=gnu11", "-O1", "-static", "-Wl,--build-id=none", "-s")


def probe() -> bytes:
    """The program with every probe."""
    return _compiled(tuple(f"probes/{name}.c" for name in PROBES), ("probes/probe.h",))


def host() -> bytes:
    """The first program of the guest."""
    return _compiled(("trial.c",), ())


@functools.cache
def _compiled(sources: tuple[str, ...], headers: tuple[str, ...]) -> bytes:
    """A static program, the same bytes wherever it is compiled by the same compiler."""
    compiler = shutil.which("gcc", path=f"{os.environ.get('PATH', os.defpath)}:/usr/bin")
    if compiler is None:
        raise LabMissing("gcc", "apt-get install gcc libc6-dev")
    folder = resources.files("stockade.lab").joinpath("guest")
    with tempfile.TemporaryDirectory(prefix="stockade-programs-") as name:
        work = Path(name)
        for source in (*sources, *headers):
            (work / Path(source).name).write_bytes(folder.joinpath(*source.split("/")).read_bytes())
        names = [Path(source).name for source in sources]
        ran = subprocess.run(
            [compiler, *_FLAGS, "-o", "program", *names],
            cwd=work,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=120,
            check=False,
            env={"LC_ALL": "C", "PATH": os.defpath},
        )
        if ran.returncode:
            raise LabMissing("a C compiler with a static C library (libc6-dev)", ran.stderr.strip()[-300:])
        return (work / "program").read_bytes()
