"""NRI's upper framing, ttrpc: requests and responses in both directions, one call each (no streaming).

A message is `u32 length, u32 stream, u8 type, u8 flags, data`. Requests of the runtime arrive on one stream of the
mux, the plugin's own leave on the other, each answered where it was asked.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .messages import REQUEST, RESPONSE
from .mux import FRAME, PLUGIN, QUEUE, RUNTIME, Closed, Mux, ProtocolError
from .wire import LIMIT, Message, WireError

_HEADER = struct.Struct(">IIBB")
_REQUEST, _RESPONSE = 1, 2
_REMOTE_CLOSED = 1
"""The flag that says no more data follows, which is so for every single call."""

LONGEST = FRAME * QUEUE - _HEADER.size
"""The longest response, in bytes: the other side holds no more in its queue, whatever ttrpc itself allows."""

UNKNOWN, INVALID_ARGUMENT, PERMISSION_DENIED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL = 2, 3, 7, 8, 12, 13
"""Status codes, as gRPC numbers them."""


class CallFailed(Exception):
    """The other side answered a request with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message} (status {code})")
        self.code = code


@dataclass(frozen=True, slots=True)
class Call:
    """A request of the runtime: its stream, what it calls, with what, and how long it waits (ns; 0: not said)."""

    stream: int
    service: str
    method: str
    payload: bytes
    timeout: int


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request of ours: its stream, and the payload or why there is none."""

    stream: int
    payload: bytes
    error: CallFailed | None


class Peer:
    """Both ends of ttrpc over one mux."""

    def __init__(self, mux: Mux) -> None:
        self._mux = mux
        self._last_sent = -1
        self._last_received = -1

    def receive(self) -> list[Call | Reply]:
        """Wait for bytes; what they complete, in the order of arrival on each stream. Raises Closed."""
        self._mux.receive()
        found: list[Call | Reply] = []
        for number, buffer in self._mux.streams.items():
            at = 0
            while len(buffer) - at >= _HEADER.size:
                length, stream, kind, flags = _HEADER.unpack_from(buffer, at)
                if length > LIMIT:
                    raise ProtocolError(f"a message of {length} bytes, and the limit is {LIMIT}")
                if len(buffer) - at - _HEADER.size < length:
                    break
                start = at + _HEADER.size
                data = bytes(memoryview(buffer)[start : start + length])
                at = start + length
                found.append(self._message(number, stream, kind, flags, data))
            if at:
                del buffer[:at]
        return found

    def _message(self, number: int, stream: int, kind: int, flags: int, data: bytes) -> Call | Reply:
        try:
            if number == PLUGIN and kind == _REQUEST and not flags & ~_REMOTE_CLOSED:
                if stream % 2 == 0 or stream <= self._last_received:
                    raise ProtocolError(f"a request on stream {stream} after {self._last_received}")
                self._last_received = stream
                request = REQUEST.decode(data)
                return Call(
                    stream,
                    request.get("service", ""),
                    request.get("method", ""),
                    request.get("payload", b""),
                    request.get("timeout_nano", 0),
                )
            if number == RUNTIME and kind == _RESPONSE and not flags & ~_REMOTE_CLOSED:
                response = RESPONSE.decode(data)
                status = response.get("status", {})
                code = status.get("code", 0)
                failed = CallFailed(code, status.get("message", "no reason given")) if code else None
                return Reply(stream, response.get("payload", b""), failed)
        except WireError as error:
            raise ProtocolError(f"a message that cannot be read: {error}") from error
        raise ProtocolError(f"a message of type {kind} with flags {flags:#x} on stream {number} of the mux")

    def request(self, service: str, method: str, payload: bytes, timeout: int = 0) -> int:
        """Send a request, not waiting for its answer; the stream on which that will come. `timeout` in ns."""
        self._last_sent += 2
        request = {"service": service, "method": method, "payload": payload, "timeout_nano": timeout}
        self._send(RUNTIME, self._last_sent, _REQUEST, REQUEST.encode(request))
        return self._last_sent

    def respond(self, stream: int, message: Message, value: Mapping[str, Any]) -> None:
        """Answer a request of the runtime; what is too long to send becomes an error, so that the call fails closed."""
        data = RESPONSE.encode({"payload": message.encode(value)})
        if len(data) > LONGEST:
            self.refuse(stream, RESOURCE_EXHAUSTED, f"an answer of {len(data)} bytes, and {LONGEST} can be sent")
        else:
            self._send(PLUGIN, stream, _RESPONSE, data)

    def refuse(self, stream: int, code: int, reason: str) -> None:
        """Answer a request of the runtime with an error: what it asked for does not happen."""
        if code <= 0:
            raise ValueError(f"{code} is no code of an error")
        status = {"code": code, "message": reason[:REASON]}
        self._send(PLUGIN, stream, _RESPONSE, RESPONSE.encode({"status": status}))

    def _send(self, number: int, stream: int, kind: int, data: bytes) -> None:
        self._mux.send(number, _HEADER.pack(len(data), stream, kind, 0) + data)


REASON = 4000
"""The longest reason to send, in characters."""

__all__ = ["Call", "CallFailed", "Closed", "Peer", "ProtocolError", "Reply"]
