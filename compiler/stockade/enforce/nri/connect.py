"""How the plugin comes to a connection: inherited from the containerd that launched it, or made to its socket."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from .recipe import trusted
from .session import STOPPED, Log, Plugin, Session

NAME, INDEX = "stockade", "90"
"""As what the plugin registers: late, so that it sees what other plugins have adjusted."""

FIRST, LONGEST = 0.1, 5.0
"""Seconds until the first attempt to connect again, and at most between two."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_INDEX = re.compile(r"[0-9]{2}")


class ConnectError(Exception):
    """There is no connection to be had; the text says why."""


@dataclass(frozen=True, slots=True)
class Launched:
    """What containerd hands to a plugin that it has launched: a connected socket, and what to register as."""

    descriptor: int
    name: str
    index: str


def launched(environment: Mapping[str, str]) -> Launched | None:
    """The connection that the environment tells of, or None where it tells of none; raises ConnectError."""
    said = environment.get("NRI_PLUGIN_SOCKET")
    if said is None:
        return None
    name, index = environment.get("NRI_PLUGIN_NAME", NAME), environment.get("NRI_PLUGIN_IDX", INDEX)
    check(name, index)
    if not said.isascii() or not said.isdecimal() or len(said) > 9:
        raise ConnectError(f"NRI_PLUGIN_SOCKET={said!r} is no number of a descriptor")
    try:
        mode = os.fstat(int(said)).st_mode
    except OSError as error:
        raise ConnectError(f"NRI_PLUGIN_SOCKET={said}: {error.strerror}") from error
    if not stat.S_ISSOCK(mode):
        raise ConnectError(f"NRI_PLUGIN_SOCKET={said} is no socket")
    return Launched(int(said), name, index)


def check(name: str, index: str) -> None:
    """Raises ConnectError unless a runtime takes that name and index."""
    if not _NAME.fullmatch(name):
        raise ConnectError(f"{name!r} is no name of a plugin: letters, digits, and `.`, `_`, `-`")
    if not _INDEX.fullmatch(index):
        raise ConnectError(f"{index!r} is no index of a plugin: two digits")


def connect(path: str) -> socket.socket:
    """A connection to the socket at `path`; raises ConnectError where there is none."""
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        found.connect(path)
    except OSError as error:
        found.close()
        raise ConnectError(f"{path}: {error.strerror or error}") from error
    return found


def socket_findings(path: str) -> list[str]:
    """Who besides root could connect to the socket or put another in its place: each is as good as root."""
    return trusted(path, "NRI socket")


@contextmanager
def stopping() -> Iterator[int]:
    """A descriptor that becomes readable when the process is told to end; the handlers are put back afterwards."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    told = (signal.SIGTERM, signal.SIGINT)

    def note(number: int, _frame: object) -> None:
        with suppress(BlockingIOError):
            os.write(writing, b"x")

    before = {number: signal.signal(number, note) for number in told}
    try:
        yield reading
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)


def serve(
    ready: Callable[[], str],
    plugin: Plugin,
    log: Log,
    name: str,
    index: str,
    wake: int,
    patience: float,
    after: Callable[[], None] = lambda: None,
) -> str:
    """Connect, serve, and connect again whenever the connection ends, until `wake` is readable; why it ended.

    `ready` is asked before each attempt: it says to which socket, or raises StartRefused. Raises ConnectError when
    there has been no runtime for `patience` seconds.
    """
    pause, since = FIRST, time.monotonic()
    while True:
        try:
            path = ready()
            connection = connect(path)
        except ConnectError as error:
            if time.monotonic() - since > patience:
                raise
            log("waiting", reason=str(error))
        else:
            log("connected", socket=path)
            began = time.monotonic()
            reason = Session(connection, plugin, log, after).serve(name, index, wake)
            log("disconnected", reason=reason)
            if reason == STOPPED:
                return reason
            since = time.monotonic()
            if since - began > LONGEST:
                pause = FIRST
        if select.select([wake], [], [], pause)[0]:
            return STOPPED
        pause = min(pause * 2, LONGEST)
