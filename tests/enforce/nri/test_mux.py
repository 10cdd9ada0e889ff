"""Frames and messages over a real socket pair: cut anywhere, never too long, and what breaks the rules is not taken."""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stockade.enforce.nri import messages
from stockade.enforce.nri.mux import FRAME, PLUGIN, QUEUE, RUNTIME, Closed, Mux, ProtocolError
from stockade.enforce.nri.ttrpc import INTERNAL, LONGEST, Call, Peer, Reply
from stockade.enforce.nri.wire import LIMIT


class Ends:
    """A peer, and the raw socket at its other end."""

    def __init__(self) -> None:
        self.raw, ours = socket.socketpair()
        self.raw.settimeout(5)
        ours.settimeout(5)
        self.mux = Mux(ours)
        self.peer = Peer(self.mux)

    def frames(self) -> list[tuple[int, bytes]]:
        """What the peer has sent, frame by frame."""
        self.raw.setblocking(False)
        data = b""
        while True:
            try:
                data += self.raw.recv(1 << 20)
            except BlockingIOError:
                break
        found = []
        while data:
            number, length = struct.unpack_from(">II", data)
            found.append((number, data[8 : 8 + length]))
            data = data[8 + length :]
        return found


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.raw.close()
    made.mux.close()


def frame(number: int, data: bytes) -> bytes:
    return struct.pack(">II", number, len(data)) + data


def message(stream: int, kind: int, data: bytes, flags: int = 0) -> bytes:
    return struct.pack(">IIBB", len(data), stream, kind, flags) + data


def request(stream: int, method: str = "CreateContainer", payload: bytes = b"") -> bytes:
    asked = {"service": "nri.pkg.api.v1alpha1.Plugin", "method": method, "payload": payload, "timeout_nano": 7}
    return message(stream, 1, messages.REQUEST.encode(asked))


def collect(peer: Peer, count: int) -> list[Call | Reply]:
    found: list[Call | Reply] = []
    while len(found) < count:
        found += peer.receive()
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.data())
def test_messages_are_whole_however_they_are_cut(data: st.DataObject) -> None:
    ends = Ends()
    payloads = data.draw(st.lists(st.binary(max_size=9000), min_size=1, max_size=4))
    stream = b"".join(request(2 * number + 1, "m", payload) for number, payload in enumerate(payloads))
    cuts = sorted({0, len(stream), *data.draw(st.lists(st.integers(0, len(stream)), max_size=5))})
    framed = b"".join(frame(PLUGIN, stream[one:two]) for one, two in itertools.pairwise(cuts))
    pieces = sorted({0, len(framed), *data.draw(st.lists(st.integers(0, len(framed)), max_size=5))})
    found: list[Call | Reply] = []
    for one, two in itertools.pairwise(pieces):
        ends.raw.sendall(framed[one:two])
        found += ends.peer.receive()
    assert [item.payload for item in found] == payloads
    assert [item.stream for item in found] == [2 * number + 1 for number in range(len(payloads))]
    ends.raw.close()
    ends.mux.close()


def test_the_two_directions_do_not_mix(ends: Ends) -> None:
    asked = ends.peer.request("nri.pkg.api.v1alpha1.Runtime", "RegisterPlugin", b"hello", 5)
    assert ends.frames() == [
        (
            RUNTIME,
            message(
                1,
                1,
                messages.REQUEST.encode(
                    {
                        "service": "nri.pkg.api.v1alpha1.Runtime",
                        "method": "RegisterPlugin",
                        "payload": b"hello",
                        "timeout_nano": 5,
                    }
                ),
            ),
        )
    ]
    failed = messages.RESPONSE.encode({"status": {"code": 3, "message": "no"}})
    ends.raw.sendall(frame(PLUGIN, request(1)) + frame(RUNTIME, message(asked, 2, failed)))
    call, reply = collect(ends.peer, 2)
    assert isinstance(call, Call) and (call.method, call.timeout) == ("CreateContainer", 7)
    assert isinstance(reply, Reply) and reply.stream == asked == 1
    assert reply.error is not None and reply.error.code == 3
    assert ends.peer.request("s", "m", b"") == 3


@pytest.mark.parametrize("size", [0, 1, FRAME - 30, FRAME, 3 * FRAME + 1, 600_000])
def test_no_frame_is_longer_than_the_other_side_can_read(ends: Ends, size: int) -> None:
    ends.raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    ends.mux._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    value = {"adjust": {"annotations": {"a": "x" * size}}}
    ends.peer.respond(5, messages.METHODS["CreateContainer"][1], value)
    frames = ends.frames()
    assert {number for number, _ in frames} == {PLUGIN}
    assert max(len(data) for _, data in frames) <= FRAME
    assert len(frames) <= QUEUE
    whole = b"".join(data for _, data in frames)
    length, stream, kind, flags = struct.unpack_from(">IIBB", whole)
    assert (length, stream, kind, flags) == (len(whole) - 10, 5, 2, 0)
    payload = messages.RESPONSE.decode(whole[10:])["payload"]
    assert messages.METHODS["CreateContainer"][1].decode(payload) == value


def test_an_answer_that_cannot_be_sent_is_an_error_and_no_empty_answer(ends: Ends) -> None:
    ends.peer.respond(5, messages.ADJUSTMENT, {"annotations": {"a": "x" * LONGEST}})
    ((_, data),) = ends.frames()
    response = messages.RESPONSE.decode(data[10:])
    assert response["status"]["code"] == 8 and "payload" not in response
    with pytest.raises(ValueError, match="frames"):
        ends.mux.send(PLUGIN, bytes(FRAME * QUEUE + 1))


def test_an_error_is_never_sent_as_success(ends: Ends) -> None:
    ends.peer.refuse(1, INTERNAL, "x" * 10_000)
    ((_, data),) = ends.frames()
    status = messages.RESPONSE.decode(data[10:])["status"]
    assert status["code"] == INTERNAL and len(status["message"]) == 4000
    with pytest.raises(ValueError, match="no code of an error"):
        ends.peer.refuse(1, 0, "fine")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (frame(3, b"x"), "stream 3, which nobody opened"),
        (frame(0, b"x"), "stream 0, which nobody opened"),
        (struct.pack(">II", 1, (4 << 20) + 11), "the limit is"),
        (frame(PLUGIN, struct.pack(">IIBB", LIMIT + 1, 1, 1, 0)), "the limit is"),
        (frame(PLUGIN, request(2)), "a request on stream 2 after -1"),
        (frame(PLUGIN, request(3) + request(1)), "a request on stream 1 after 3"),
        (frame(PLUGIN, request(1) + request(1)), "a request on stream 1 after 1"),
        (frame(PLUGIN, message(1, 2, b"")), "type 2"),
        (frame(PLUGIN, message(1, 3, b"")), "type 3"),
        (frame(PLUGIN, message(1, 1, b"", flags=2)), "flags 0x2"),
        (frame(RUNTIME, request(1)), "type 1"),
        (frame(PLUGIN, message(1, 1, b"\x0a")), "cannot be read"),
        (frame(RUNTIME, message(1, 2, b"\x0a\x05")), "cannot be read"),
    ],
)
def test_what_breaks_the_protocol_ends_the_connection(ends: Ends, data: bytes, reason: str) -> None:
    ends.raw.sendall(data)
    with pytest.raises(ProtocolError, match=reason):
        collect(ends.peer, 9)


def test_the_end_is_noticed(ends: Ends) -> None:
    ends.raw.sendall(frame(PLUGIN, request(1))[:-1])
    assert ends.peer.receive() == []
    ends.raw.close()
    with pytest.raises(Closed, match="within a frame"):
        ends.peer.receive()
    with pytest.raises(Closed, match="failed"):
        for _ in range(3):
            ends.peer.refuse(1, INTERNAL, "gone")


def test_a_runtime_that_does_not_read_is_given_up(ends: Ends) -> None:
    ends.mux._socket.settimeout(0.05)
    with pytest.raises(Closed, match="does not read"):
        for stream in range(1, 99, 2):
            ends.peer.respond(stream, messages.ADJUSTMENT, {"annotations": {"a": "x" * 900_000}})
