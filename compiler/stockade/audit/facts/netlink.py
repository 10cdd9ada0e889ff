"""Questions to the kernel by netlink, and the attributes of its answers."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import Final

_HEAD: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_ERROR, _DONE, _OVERRUN = 2, 3, 4
_REQUEST_DUMP: Final = 0x301
_INTERRUPTED: Final = 0x10
_TYPE: Final = 0x3FFF
SECONDS: Final = 5.0
"""How long an answer may take."""


class Interrupted(Exception):
    """What was asked for changed while it was told."""


def dump(protocol: int, kind: int, payload: bytes) -> list[tuple[int, bytes]]:
    """All that the kernel tells on one question: (type, content after the header). OSError, or Interrupted."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as one:
        one.settimeout(SECONDS)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        one.bind((0, 0))
        one.sendto(_HEAD.pack(_HEAD.size + len(payload), kind, _REQUEST_DUMP, 1, 0) + payload, (0, 0))
        found: list[tuple[int, bytes]] = []
        while True:
            try:
                content, (sender, _) = one.recvfrom(1 << 18)
            except TimeoutError:
                raise OSError(errno.ETIMEDOUT, "the kernel does not answer") from None
            if sender:
                continue  # another process may send to us; only the kernel is number 0
            for what, flags, said in messages(content):
                if flags & _INTERRUPTED:
                    raise Interrupted
                if what in (_ERROR, _DONE):
                    code = -struct.unpack_from("=i", said)[0] if len(said) >= 4 else 0
                    if code:
                        raise OSError(code, os.strerror(code))
                    return found
                if what == _OVERRUN:
                    raise Interrupted
                found.append((what, said))


def messages(content: bytes) -> Iterator[tuple[int, int, bytes]]:
    """type, flags and content of each message; ValueError where one is cut off."""
    at = 0
    while at < len(content):
        if at + _HEAD.size > len(content):
            raise ValueError("a message of netlink that is cut off")
        length, kind, flags, _, _ = _HEAD.unpack_from(content, at)
        if length < _HEAD.size or at + length > len(content):
            raise ValueError("a message of netlink of a wrong length")
        yield kind, flags, content[at + _HEAD.size : at + length]
        at += (length + 3) & ~3


def attributes(content: bytes) -> Iterator[tuple[int, bytes]]:
    """type (without its flags) and content of each attribute; ValueError where one is cut off."""
    at = 0
    while at < len(content):
        if at + _ATTRIBUTE.size > len(content):
            raise ValueError("an attribute that is cut off")
        length, kind = _ATTRIBUTE.unpack_from(content, at)
        if length < _ATTRIBUTE.size or at + length > len(content):
            raise ValueError("an attribute of a wrong length")
        yield kind & _TYPE, content[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
