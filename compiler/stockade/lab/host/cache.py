"""The lab's cache: files and folders that are made beside their place and appear whole, under XDG_CACHE_HOME."""

from __future__ import annotations

import fcntl
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stockade.cache import cache_folder


def folder(name: str) -> Path:
    """The cache's folder of that name; it exists afterwards."""
    path = cache_folder("lab") / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def publish(path: Path, data: bytes) -> None:
    """Write a file whole: beside its place, made durable, then renamed."""
    handle, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def once(path: Path, make: Callable[[Path], None]) -> Path:
    """The folder `path`: as it stands, or filled by `make` beside its place and then renamed.

    Who asks while another makes it waits for that one.
    """
    if not path.is_dir():
        with alone(path):
            if not path.is_dir():
                _fill(path, make)
    os.utime(path)
    return path


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until nobody else makes `path`, which ends with whoever does, and keep others waiting meanwhile."""
    place = path.with_name(f".lock-{path.name}")
    while True:
        handle = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            break
        os.close(handle)  # another had it, and has removed it
    try:
        yield
    finally:
        place.unlink(missing_ok=True)
        os.close(handle)


def _fill(path: Path, make: Callable[[Path], None]) -> None:
    _sweep(path.parent)
    work = Path(tempfile.mkdtemp(prefix=".new-", dir=path.parent))
    try:
        work.chmod(0o755)
        make(work)
        work.rename(path)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def keep_newest(parent: Path, count: int) -> None:
    """Remove all but the `count` folders of `parent` that were last asked for. Guests that run have theirs open."""
    entries = [path for path in parent.iterdir() if not path.name.startswith(".")]
    for path in sorted(entries, key=_age)[:-count]:
        shutil.rmtree(path, ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Remove what a builder that was killed left behind: unfinished, and not touched for an hour."""
    for path in parent.glob(".new-*"):
        if time.time() - _age(path) > 3600:
            shutil.rmtree(path, ignore_errors=True)


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another has removed it meanwhile
        return math.inf
