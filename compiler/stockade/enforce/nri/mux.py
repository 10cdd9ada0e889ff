"""NRI's lower framing: several byte streams over one Unix socket, each frame `u32 stream, u32 length, payload`.

Frames and messages do not align: a message is cut into frames anywhere, so each stream is collected until the message
within it is whole.
"""

from __future__ import annotations

import socket
import struct

PLUGIN, RUNTIME = 1, 2
"""The streams: requests to the plugin, and requests of the plugin."""

FRAME = 4096
"""The longest payload to send. The other side reads into a buffer of this size, and gives the plugin up when a frame
does not fit, while it goes on creating containers without it."""

QUEUE = 256
"""How many frames the other side holds unread before it gives the plugin up."""

RECEIVED = (4 << 20) + 10
"""The longest payload to accept: the longest message with its header."""

_HEADER = struct.Struct(">II")


class Closed(Exception):
    """The connection is no more; the text says why."""


class ProtocolError(Closed):
    """The other side does not keep to the protocol."""


class Mux:
    """A connected socket, and what has been read of each stream and not yet taken."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._raw = bytearray()
        self.streams: dict[int, bytearray] = {PLUGIN: bytearray(), RUNTIME: bytearray()}

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def receive(self) -> None:
        """Wait for bytes and sort them into `streams`; raises Closed at the end and after the socket's timeout."""
        try:
            data = self._socket.recv(1 << 18)
        except TimeoutError:
            raise
        except OSError as error:
            raise Closed(f"the connection failed: {error.strerror}") from error
        if not data:
            raise Closed("the runtime closed the connection" + (" within a frame" if self._raw else ""))
        raw = self._raw
        raw += data
        at, end = 0, len(raw)
        while end - at >= 8:
            number, length = _HEADER.unpack_from(raw, at)
            if length > RECEIVED:
                raise ProtocolError(f"a frame of {length} bytes, and the limit is {RECEIVED}")
            if end - at - 8 < length:
                break
            stream = self.streams.get(number)
            if stream is None:
                raise ProtocolError(f"a frame for stream {number}, which nobody opened")
            stream += memoryview(raw)[at + 8 : at + 8 + length]
            at += 8 + length
        if at:
            # A view on the buffer, still alive, would keep it from shrinking: the one above died with its statement.
            del raw[:at]

    def send(self, number: int, data: bytes) -> None:
        """Send bytes on a stream, in frames that the other side can take; raises Closed when they cannot be sent."""
        count = -(-len(data) // FRAME)
        if count > QUEUE:
            raise ValueError(f"{len(data)} bytes are {count} frames, and the other side holds {QUEUE}")
        frames = bytearray()
        for start in range(0, len(data), FRAME):
            part = data[start : start + FRAME]
            frames += _HEADER.pack(number, len(part))
            frames += part
        try:
            self._socket.sendall(frames)
        except TimeoutError as error:
            raise Closed("the runtime does not read") from error
        except OSError as error:
            raise Closed(f"the connection failed: {error.strerror}") from error

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
