"""Lies beside the driver in the guest: programs and containers that a sabotage starts, and when they are there."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

RUN = Path("/run/sabotage")
SLEEP = ["/usr/bin/containerd-lab", "sleep", "60"]


def asleep(process: Path) -> bool:
    """Has a process become the program that sleeps?"""
    try:
        return f"\0{SLEEP[1]}\0" in (process / "cmdline").read_text()
    except OSError:
        return False


def until(holds: Callable[[], bool]) -> None:
    limit = time.monotonic() + 10
    while not holds():
        if time.monotonic() > limit:
            raise OSError("what was started does not run")
        time.sleep(0.02)


@contextlib.contextmanager
def container(name: str, ready: Callable[[Path], bool], known: bool = True) -> Iterator[None]:
    """A container that runc starts, with the specification kept where containerd keeps it, if it is to be known."""
    state = Path(f"/run/containerd/io.containerd.runtime.v2.task/k8s.io/{name}")
    folder = Path(f"/var/lib/lab/{name}")
    number = RUN / f"{name}.pid"
    number.parent.mkdir(parents=True, exist_ok=True)
    if known:
        state.mkdir(parents=True)
        (state / "config.json").write_bytes((folder / "config.json").read_bytes())
    run = ["/usr/sbin/runc", "run", "--detach", "--pid-file", str(number), "--bundle", str(folder), name]
    # The container keeps what runc was given to write to, so that a pipe would never end.
    said = RUN / f"{name}.said"
    with said.open("wb") as file:
        ran = subprocess.run(run, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False, timeout=20)
    try:
        if ran.returncode:
            raise OSError(f"runc: {said.read_text()}")
        process = Path(f"/proc/{number.read_text()}")
        until(lambda: (process / "comm").read_text() == "hold\n" and ready(process))
        yield
    finally:
        subprocess.run(["/usr/sbin/runc", "delete", "--force", name], capture_output=True, check=False, timeout=20)
        if known:
            (state / "config.json").unlink()
            state.rmdir()


def labels(process: Path) -> set[str]:
    return {(task / "attr/current").read_text() for task in (process / "task").iterdir()}
