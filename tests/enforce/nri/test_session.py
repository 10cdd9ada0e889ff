"""The plugin's side of a connection, against a runtime that drops plugins by every rule that real ones have."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from stockade.enforce.nri import connect, messages, session
from stockade.enforce.nri.connect import ConnectError
from stockade.enforce.nri.mux import FRAME
from stockade.enforce.nri.session import STOPPED, Refused, Session
from stockade.enforce.nri.wire import Fields

from .fake import Failed, Runtime

CREATE, VALIDATE = messages.CREATE_CONTAINER, messages.VALIDATE_CONTAINER_ADJUSTMENT
POD: Fields = {"id": "p", "name": "pod", "namespace": "default"}
CONTAINER: Fields = {"id": "c", "name": "web"}


class Stub:
    """A plugin that answers as it is told, and remembers what it was asked."""

    def __init__(self, events: int = CREATE | VALIDATE, **answers: Callable[[Fields], Mapping[str, Any]]) -> None:
        self.events = events
        self.answers = answers
        self.asked: list[tuple[str, Fields]] = []

    def answer(self, method: str, request: Fields) -> Mapping[str, Any]:
        self.asked.append((method, request))
        if method in self.answers:
            return self.answers[method](request)
        return {"Configure": {"events": self.events}, "Synchronize": {"more": request.get("more", False)}}.get(
            method, {}
        )


class Serving:
    """A plugin served in a thread."""

    def __init__(self, plugin: Stub, path: Path, patience: float = 5, name: str = "stockade") -> None:
        self.events: list[tuple[str, dict[str, object]]] = []
        self.wake, self._write = os.pipe()
        self.result: object = None

        def run() -> None:
            try:
                self.result = connect.serve(lambda: str(path), plugin, self.log, name, "90", self.wake, patience)
            except Exception as error:
                self.result = error

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def log(self, event: str, **said: object) -> None:
        self.events.append((event, said))

    def stop(self) -> object:
        os.write(self._write, b"x")
        self.thread.join(10)
        assert not self.thread.is_alive()
        os.close(self.wake)
        os.close(self._write)
        return self.result


Node = Callable[..., tuple[Runtime, Serving]]


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """Starts a runtime and a plugin, and waits until they know each other."""
    monkeypatch.setattr(connect, "FIRST", 0.02)
    started: list[tuple[Runtime, Serving]] = []

    def start(
        plugin: Stub, *, pods: Sequence[Fields] = (), containers: Sequence[Fields] = (), **how: Any
    ) -> tuple[Runtime, Serving]:
        runtime = Runtime(tmp_path / "nri.sock", **how)
        runtime.pods, runtime.containers = list(pods), list(containers)
        serving = Serving(plugin, tmp_path / "nri.sock")
        started.append((runtime, serving))
        runtime.wait(lambda: bool(runtime.live() or runtime.log))
        return runtime, serving

    yield start
    for runtime, serving in started:
        runtime.close()
        serving.stop()


def test_registration_configuration_synchronization_events(node: Node) -> None:
    plugin = Stub(CreateContainer=lambda _: {"adjust": {"annotations": {"seen": "yes"}}})
    pods = [{"id": f"p{number}"} for number in range(7)]
    containers = [{"id": f"c{number}"} for number in range(5)]
    runtime, serving = node(plugin, pods=pods, containers=containers)
    (remote,) = runtime.live()
    assert (remote.name, remote.index, remote.events) == ("stockade", "90", CREATE | VALIDATE)
    made, _ = runtime.create(POD, CONTAINER)
    assert made["annotations"] == {"seen": "yes"}
    methods = [method for method, _ in plugin.asked]
    assert methods == ["Configure", *["Synchronize"] * 3, "CreateContainer", "ValidateContainerAdjustment"]
    seen = [
        item["id"] for method, request in plugin.asked if method == "Synchronize" for item in request.get("pods", [])
    ]
    assert seen == [pod["id"] for pod in pods]
    assert plugin.asked[4][1] == {"pod": POD, "container": CONTAINER}
    assert plugin.asked[5][1]["plugins"] == [{"name": "stockade", "index": "90"}]
    assert serving.events == [("connected", {"socket": str(serving.events[0][1]["socket"])})]


def test_long_answers_arrive_in_frames_that_the_runtime_can_read(node: Node) -> None:
    env = [f"VARIABLE_{number}={'x' * 300}" for number in range(400)]
    plugin = Stub(CreateContainer=lambda _: {"adjust": {"annotations": {"a": "y" * 100_000}}})
    runtime, _ = node(plugin)
    made, _ = runtime.create(POD, {**CONTAINER, "env": env})
    assert len(made["annotations"]["a"]) == 100_000
    assert max(length for _, length in runtime.live()[0].frames) <= FRAME
    # The environment is most of the request, and nobody asks for it.
    assert plugin.asked[-2][1]["container"] == {"id": "c", "name": "web"}


def refuse(_: Fields) -> Fields:
    raise Refused("host network: promise own-network")


def crash(_: Fields) -> Fields:
    raise KeyError("surprise")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (refuse, "stockade: host network: promise own-network"),
        (crash, "stockade: CreateContainer could not be decided: 'surprise'"),
        (lambda _: {"adjust": {"nothing": 1}}, "cannot be read"),
        (lambda _: {"adjust": {"annotations": {"a": "y" * (2 << 20)}}}, "can be sent"),
    ],
)
def test_whatever_goes_wrong_fails_the_container_and_keeps_the_plugin(
    node: Node, answer: Callable[[Fields], Fields], reason: str
) -> None:
    runtime, _ = node(Stub(CreateContainer=answer))
    for _ in range(2):
        with pytest.raises(Failed, match=reason):
            runtime.create(POD, CONTAINER)
    assert runtime.containers == [] and len(runtime.live()) == 1


@pytest.mark.parametrize(
    ("events", "required", "during", "later"),
    [
        (CREATE, (), None, None),
        (CREATE, ("stockade",), None, "required plugin"),
        (CREATE | VALIDATE, (), "validator plugin stockade failed", None),
        (CREATE | VALIDATE, ("stockade",), "validator plugin stockade failed", "required plugin"),
    ],
)
def test_only_both_halves_of_the_recipe_fail_closed(
    node: Node, events: int, required: tuple[str, ...], during: str | None, later: str | None
) -> None:
    """A plugin that answers too late: whether containers are created without it, then and afterwards."""

    def slow(_: Fields) -> Fields:
        # It does not come back: what happens while the plugin is away is what is asked.
        os.write(serving._write, b"x")
        time.sleep(0.4)
        return {}

    runtime, serving = node(Stub(events, CreateContainer=slow), required=required, timeout=0.2)
    for expected in (during, later):
        if expected is None:
            assert runtime.create(POD, CONTAINER)[0]["id"] == "c"
        else:
            with pytest.raises(Failed, match=expected):
                runtime.create(POD, CONTAINER)


def test_it_comes_back_after_having_been_dropped(node: Node) -> None:
    once = iter([0.4])
    plugin = Stub(CreateContainer=lambda _: time.sleep(next(once, 0)) or {"adjust": {"annotations": {"n": "1"}}})
    runtime, serving = node(plugin, required=("stockade",), timeout=0.2)
    with pytest.raises(Failed, match="validator plugin stockade failed"):
        runtime.create(POD, CONTAINER)
    runtime.wait(lambda: bool(runtime.live()))
    assert runtime.create(POD, CONTAINER)[0]["annotations"] == {"n": "1"}
    names = [name for name, _ in serving.events]
    assert names[:1] == ["connected"] and "disconnected" in names and names[-1] == "connected"
    late = dict(serving.events)["late"]
    assert late["method"] == "CreateContainer" and int(str(late["milliseconds"])) >= 200 == late["limit"]


def test_shutdown_is_answered_and_waited_out(node: Node) -> None:
    runtime, serving = node(Stub())
    assert runtime.live()[0].call("Shutdown", {}, 2) == {}
    runtime.wait(lambda: len(runtime.plugins) == 2)
    assert ("disconnected", {"reason": "the runtime shuts down"}) in serving.events


@pytest.mark.parametrize("method", ["RunPodSandbox", "NoSuchMethod"])
def test_what_is_not_served_is_said_to_be_so(node: Node, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime, _ = node(Stub())
    monkeypatch.setitem(messages.METHODS, "Unserved", (messages.EMPTY, messages.EMPTY))
    asked = {"service": "nri.pkg.api.v1alpha1.Plugin", "method": method}
    remote = runtime.live()[0]
    remote.stream += 2
    remote.send(1, remote.stream, 1, messages.REQUEST.encode(asked))
    runtime.wait(lambda: remote.stream in remote.answers)
    assert remote.answers[remote.stream][0] == 12
    assert runtime.live() == [remote]


def test_requests_that_cannot_be_read_fail_closed(node: Node) -> None:
    runtime, serving = node(Stub())
    remote = runtime.live()[0]
    remote.stream += 2
    asked = {"service": "nri.pkg.api.v1alpha1.Plugin", "method": "CreateContainer", "payload": b"\x0a\x7f"}
    remote.send(1, remote.stream, 1, messages.REQUEST.encode(asked))
    runtime.wait(lambda: remote.stream in remote.answers)
    code, message, payload = remote.answers[remote.stream]
    assert code == 3 and "cut off" in message and payload == b""
    assert serving.events[-1][0] == "malformed"


def test_a_runtime_that_never_answers_the_registration_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "REGISTRATION", 0.1)
    ours, theirs = socket.socketpair()
    wake, _ = os.pipe()
    with theirs:
        reason = Session(ours, Stub(), lambda *_, **__: None).serve("stockade", "90", wake)
    assert reason == "the runtime has not taken the registration within 0.1 s"
    os.close(wake), os.close(_)


def test_a_runtime_that_refuses_the_name_is_left(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    wake, write = os.pipe()
    status = messages.RESPONSE.encode({"status": {"code": 3, "message": "name taken"}})
    with theirs:
        data = len(status).to_bytes(4, "big") + b"\0\0\0\1\2\0" + status
        theirs.sendall(b"\0\0\0\2" + len(data).to_bytes(4, "big") + data)
        reason = Session(ours, Stub(), lambda *_, **__: None).serve("stockade", "90", wake)
    assert reason == "the runtime refuses the registration: name taken (status 3)"
    os.close(wake), os.close(write)


def test_an_answer_to_what_was_not_asked_ends_the_connection(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    wake, write = os.pipe()
    with theirs:
        answer = b"\0\0\0\0" + b"\0\0\0\1\2\0"
        theirs.sendall((b"\0\0\0\2" + len(answer).to_bytes(4, "big") + answer) * 2)
        theirs.shutdown(socket.SHUT_WR)
        reason = Session(ours, Stub(), lambda *_, **__: None).serve("stockade", "90", wake)
    assert reason == "an answer on stream 1, where nothing was asked"
    os.close(wake), os.close(write)


def test_it_ends_when_told_and_when_there_is_no_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "FIRST", 0.01)
    serving = Serving(Stub(), tmp_path / "absent.sock", patience=60)
    assert serving.stop() == STOPPED
    serving = Serving(Stub(), tmp_path / "absent.sock", patience=0.05)
    serving.thread.join(5)
    assert isinstance(serving.result, ConnectError) and "absent.sock" in str(serving.result)
    serving.stop()


def test_a_launched_plugin_takes_the_connection_it_is_given(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    given = {"NRI_PLUGIN_SOCKET": str(ours.fileno()), "NRI_PLUGIN_NAME": "fence", "NRI_PLUGIN_IDX": "07"}
    found = connect.launched(given)
    assert found == connect.Launched(ours.fileno(), "fence", "07")
    assert connect.launched({}) is None
    runtime = Runtime(tmp_path / "unused.sock")
    wake, write = os.pipe()
    plugin = Stub()
    serving = threading.Thread(
        target=lambda: Session(ours, plugin, lambda *_, **__: None).serve(found.name, found.index, wake)
    )
    serving.start()
    remote = runtime.adopt(theirs)
    assert (remote.name, remote.index) == ("fence", "07")
    runtime.create(POD, CONTAINER)
    runtime.close()
    serving.join(5)
    assert not serving.is_alive()
    os.close(wake), os.close(write)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"NRI_PLUGIN_SOCKET": "x"}, "is no number"),
        ({"NRI_PLUGIN_SOCKET": "-1"}, "is no number"),
        ({"NRI_PLUGIN_SOCKET": "987654321"}, "Bad file descriptor"),
        ({"NRI_PLUGIN_SOCKET": "0"}, "is no socket"),
        ({"NRI_PLUGIN_SOCKET": "0", "NRI_PLUGIN_IDX": "7"}, "no index"),
        ({"NRI_PLUGIN_SOCKET": "0", "NRI_PLUGIN_NAME": "a b"}, "no name"),
    ],
)
def test_a_launch_that_makes_no_sense_is_refused(
    given: dict[str, str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path(os.devnull).open() as null:
        if given["NRI_PLUGIN_SOCKET"] == "0":
            given = {**given, "NRI_PLUGIN_SOCKET": str(null.fileno())}
        with pytest.raises(ConnectError, match=reason):
            connect.launched(given)
