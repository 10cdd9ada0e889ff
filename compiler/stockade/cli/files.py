"""The files that a command line names: read up to a limit, with a reason where they cannot be; written whole or not."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from stockade.cli.output import Stop

MIB = 1 << 20


def read(path: Path, limit: int) -> bytes:
    """What is in a file, or on standard input for `-`: `limit` bytes at most, for a device may have no end.

    Stop says in one line why it cannot be read: it is missing, a folder, a link that leads back to itself, too large.
    """
    with _opened(path) as stream:
        found = stream.read(limit + 1)
    if len(found) > limit:
        raise Stop(f"{named(path)}: larger than {size(limit)}")
    return found


def read_text(path: Path, limit: int) -> str:
    """The same of a file that is text."""
    try:
        return read(path, limit).decode()
    except UnicodeDecodeError:
        raise Stop(f"{named(path)}: not UTF-8") from None


def lines(path: Path, limit: int) -> Iterator[str]:
    """The lines of a file, or of standard input for `-`, one by one however many there are, with their ends.

    Bytes that are not UTF-8 are spelled as escapes. Stop as in `read`, and where a line has more than `limit` bytes.
    """
    with _opened(path) as stream:
        number = 1
        while line := stream.readline(limit + 1):
            if len(line) > limit:
                raise Stop(f"{named(path)}:{number}: a line larger than {size(limit)}")
            yield line.decode("utf-8", "backslashreplace")
            number += 1


def named(path: Path) -> str:
    """What a file is called in a message."""
    return "standard input" if str(path) == "-" else str(path)


def size(count: int) -> str:
    """A number of bytes as it is said: in MiB where it is a whole number of them."""
    return f"{count} bytes" if count % MIB else f"{count // MIB} MiB"


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        if str(path) != "-":
            with path.open("rb") as file:
                yield file
        elif sys.stdin is None:  # started with `<&-`
            raise Stop(f"{named(path)}: it is closed")
        else:
            yield sys.stdin.buffer
    except OSError as error:
        raise Stop(f"{named(path)}: {error.strerror or error}") from None


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; one that is there keeps its mode."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise
