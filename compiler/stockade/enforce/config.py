"""A container's `config.json`, read and written so that nobody ever sees half of it."""

from __future__ import annotations

import os
import stat

from stockade.enforce.exact import LIMIT, Malformed, dumps, loads
from stockade.enforce.refusal import CONFINED, WELL_FORMED, refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "config.json"


def read(path: str) -> dict[str, Any]:
    """An object from a file that is reached without a link at its end. Raises Refused."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise refuse(WELL_FORMED, f"{path}: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise refuse(WELL_FORMED, f"{path}: not a regular file")
        return parsed(_all(file), path)
    finally:
        os.close(file)


def parsed(content: bytes, path: str) -> dict[str, Any]:
    """The object that a file's content is. Raises Refused."""
    try:
        value = loads(content)
    except Malformed as error:
        raise refuse(WELL_FORMED, f"{path}: {error}") from None
    if type(value) is not dict:
        raise refuse(WELL_FORMED, f"{path}: no object")
    return value


def _all(file: int) -> bytes:
    parts, left = [], LIMIT + 1
    while left > 0 and (part := os.read(file, min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def input_() -> bytes:
    """All of standard input, up to one byte more than is taken."""
    return _all(0)


def write(folder: str, value: dict[str, Any]) -> None:
    """Put `value` in the place of the folder's `config.json`, with its owner and mode. Raises Refused.

    The new file is beside the old one, and on the disk, before it takes its place; a failure leaves the old one.
    """
    path, beside = f"{folder}/{NAME}", f"{folder}/.{NAME}.{os.getpid()}"
    content = dumps(value)
    try:
        old = os.lstat(path)
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            try:
                left = memoryview(content)
                while left:
                    left = left[os.write(file, left) :]
                os.fchown(file, old.st_uid, old.st_gid)
                os.fchmod(file, stat.S_IMODE(old.st_mode))
                os.fsync(file)
            finally:
                os.close(file)
            os.replace(beside, path)
        except OSError:
            os.unlink(beside)
            raise
    except OSError as error:
        raise refuse(CONFINED, f"{path} cannot be written: {error.strerror}") from None


def handed_over(value: dict[str, Any], above: int) -> str:
    """A path at which the program that this one becomes reads `value`, from memory that nobody can change any more.

    `above` is the first file descriptor that may be used for it. Raises Refused.
    """
    import fcntl

    try:
        file = os.memfd_create("stockade", os.MFD_ALLOW_SEALING)
        left = memoryview(dumps(value))
        while left:
            left = left[os.write(file, left) :]
        fcntl.fcntl(
            file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        )
        # Without close-on-exec: the runtime opens it by its number, and closes it before the container's program runs.
        kept = fcntl.fcntl(file, fcntl.F_DUPFD, above)
    except OSError as error:
        raise refuse(CONFINED, f"what the runtime is to read cannot be handed over: {error.strerror}") from None
    return f"/proc/self/fd/{kept}"
