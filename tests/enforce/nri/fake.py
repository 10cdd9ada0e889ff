"""A runtime in the plugin's eyes: NRI as containerd 2.2 speaks it, with every rule by which it drops a plugin.

Written from the observed behaviour of NRI's own library, and sharing no decision with the plugin: frames of more than
4,096 bytes are ENOMEM and end the connection, a request that takes longer than its timeout drops the plugin and goes on
without it, requests are serialised for the whole node, a validator that fails closes, and what is adjusted is applied
as the runtime does it, field by field, with what the version does not know left out in silence.
"""

from __future__ import annotations

import copy
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from stockade.enforce.nri import messages
from stockade.enforce.nri.wire import Fields

READS = 4096
"""What the runtime's reader can take of one frame."""
QUEUED = 256
EVENTS = 14
SERVICE = "nri.pkg.api.v1alpha1."


class Failed(Exception):
    """The container is not created, and why."""


class Dropped(Exception):
    """The plugin has been given up."""


class Timeout(Dropped):
    pass


class Remote:
    """The runtime's end of one plugin."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.name = self.index = ""
        self.events = 0
        self.closed: str | None = None
        self.frames: list[tuple[int, int]] = []
        self.answers: dict[int, tuple[int, str, bytes]] = {}
        self.arrived = threading.Condition()
        self.registered = threading.Event()
        self.stream = -1
        self.writing = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise Dropped("EOF")
            data += part
        return data

    def _read(self) -> None:
        streams = {1: b"", 2: b""}
        try:
            while True:
                number, length = struct.unpack(">II", self._exactly(8))
                data = self._exactly(length)
                self.frames.append((number, length))
                if length > READS:
                    raise Dropped("ENOMEM")
                if number not in streams:
                    continue
                streams[number] += data
                while len(streams[number]) >= 10:
                    size, stream, kind, flags = struct.unpack_from(">IIBB", streams[number])
                    if size > 4 << 20:
                        raise Dropped("message too long")
                    if len(streams[number]) < 10 + size:
                        break
                    body = streams[number][10 : 10 + size]
                    streams[number] = streams[number][10 + size :]
                    if (number, kind, flags) == (1, 2, 0):
                        self._answer(stream, body)
                    elif (number, kind, flags) == (2, 1, 0):
                        self._asked(stream, body)
                    else:
                        raise Dropped(f"type {kind} on {number}")
        except (Dropped, OSError) as error:
            self.close(str(error))

    def _answer(self, stream: int, body: bytes) -> None:
        response = messages.RESPONSE.decode(body)
        status = response.get("status", {})
        with self.arrived:
            self.answers[stream] = (status.get("code", 0), status.get("message", ""), response.get("payload", b""))
            self.arrived.notify_all()

    def _asked(self, stream: int, body: bytes) -> None:
        request = messages.REQUEST.decode(body)
        status: Fields = {}
        if request["service"] == f"{SERVICE}Runtime" and request["method"] == "RegisterPlugin":
            said = messages.REGISTER.decode(request.get("payload", b""))
            self.name, self.index = said.get("plugin_name", ""), said.get("plugin_idx", "")
            self.registered.set()
        else:
            status = {"code": 12, "message": "unimplemented"}
        # The answer to the registration comes after Configure has been asked.
        self.pending = (stream, status)

    def finish_registration(self) -> None:
        stream, status = self.pending
        self.send(2, stream, 2, messages.RESPONSE.encode({"status": status} if status else {}))

    def send(self, number: int, stream: int, kind: int, body: bytes) -> None:
        """As Go's writer does it: the first 4,096 bytes, then all that is left."""
        data = struct.pack(">IIBB", len(body), stream, kind, 0) + body
        framed = b""
        for part in (data[:READS], data[READS:]):
            if part:
                framed += struct.pack(">II", number, len(part)) + part
        with self.writing:
            self.socket.sendall(framed)

    def call(self, method: str, request: Mapping[str, Any], timeout: float) -> Fields:
        """A request to the plugin: its answer, Failed for an error, Dropped when there is none in time."""
        asked, answered = messages.METHODS[method]
        if self.closed is not None:
            raise Dropped(self.closed)
        self.stream += 2
        wrapped = {
            "service": f"{SERVICE}Plugin",
            "method": method,
            "payload": asked.encode(request),
            "timeout_nano": int(timeout * 1e9),
        }
        try:
            self.send(1, self.stream, 1, messages.REQUEST.encode(wrapped))
        except OSError as error:
            raise Dropped(str(error)) from error
        stream, deadline = self.stream, time.monotonic() + timeout
        with self.arrived:
            while stream not in self.answers:
                left = deadline - time.monotonic()
                if self.closed is not None:
                    raise Dropped(self.closed)
                if left <= 0:
                    raise Timeout("deadline exceeded")
                self.arrived.wait(left)
            code, message, payload = self.answers.pop(stream)
        if code:
            raise Failed(message)
        return answered.decode(payload)

    def close(self, reason: str) -> None:
        with self.arrived:
            if self.closed is None:
                self.closed = reason
            self.arrived.notify_all()
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class Runtime:
    """A node: its plugins, its containers, its validator, and one lock around each request."""

    def __init__(
        self,
        path: Path,
        version: str = "v2.2.1",
        *,
        name: str = "containerd",
        required: tuple[str, ...] = (),
        timeout: float = 2.0,
        others: tuple[Callable[[Fields], Fields], ...] = (),
    ) -> None:
        self.version, self.name = version, name
        self.numbers = tuple(int(part) for part in version.removeprefix("v").partition("~")[0].split("."))
        self.required = required
        self.timeout = timeout
        self.others = others
        self.plugins: list[Remote] = []
        self.pods: list[Fields] = []
        self.containers: list[Fields] = []
        self.log: list[str] = []
        self.lock = threading.Lock()
        self.changed = threading.Condition()
        self._server = socket.socket(socket.AF_UNIX)
        path.unlink(missing_ok=True)
        self._server.bind(str(path))
        path.chmod(0o600)
        self._server.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self.adopt, args=(connection,), daemon=True).start()

    def adopt(self, connection: socket.socket) -> Remote:
        """Take a connection's plugin in: registration, Configure, Synchronize."""
        plugin = Remote(connection)
        try:
            if not plugin.registered.wait(5):
                raise Dropped("registration timed out")
            asked = {
                "runtime_name": self.name,
                "runtime_version": self.version,
                "registration_timeout": 5000,
                "request_timeout": int(self.timeout * 1000),
            }
            events = plugin.call("Configure", asked, self.timeout).get("events", 0)
            if extra := events & ~((1 << self._events()) - 1):
                raise Dropped(f"invalid plugin events: {extra:#x}")
            plugin.events = events or (1 << self._events()) - 1
            plugin.finish_registration()
            with self.lock:
                self._synchronize(plugin)
        except (Failed, Dropped) as error:
            plugin.close(str(error))
            self._note(f"{plugin.index}-{plugin.name} not taken: {error}")
            return plugin
        with self.changed:
            self.plugins.append(plugin)
            self.plugins.sort(key=lambda plugin: plugin.index)
            self.changed.notify_all()
        return plugin

    def _events(self) -> int:
        return EVENTS if self.numbers >= (2, 2, 0) else 11

    def _synchronize(self, plugin: Remote, each: int = 3) -> None:
        pods, containers = list(self.pods), list(self.containers)
        while True:
            part = {"pods": pods[:each], "containers": containers[:each]}
            pods, containers = pods[each:], containers[each:]
            more = bool(pods or containers)
            answer = plugin.call("Synchronize", {**part, "more": more}, self.timeout)
            if more and (answer.get("update") or answer.get("more") is not True):
                raise Dropped("plugin does not handle split sync requests")
            if not more:
                return

    def _note(self, text: str) -> None:
        with self.changed:
            self.log.append(text)
            self.changed.notify_all()

    def wait(self, condition: Callable[[], bool], seconds: float = 10) -> None:
        """Wait until something holds that plugins or the log change."""
        deadline = time.monotonic() + seconds
        with self.changed:
            while not condition():
                left = deadline - time.monotonic()
                assert left > 0, f"nothing came: {self.log}"
                self.changed.wait(min(left, 0.05))

    def live(self) -> list[Remote]:
        return [plugin for plugin in self.plugins if plugin.closed is None]

    def create(self, pod: Fields, container: Fields) -> tuple[Fields, list[Fields]]:
        """The container as it is created, and the adjustments made; Failed where it is not."""
        with self.lock:
            made, adjustments, owners = copy.deepcopy(container), [], []
            for adjust in self.others:
                adjustments.append(adjust(made))
                self.apply(made, adjustments[-1])
            for plugin in self.live():
                if not plugin.events & messages.CREATE_CONTAINER:
                    continue
                owners.append(plugin)
                try:
                    answer = plugin.call("CreateContainer", {"pod": pod, "container": made}, self.timeout)
                except Dropped as dropped:
                    plugin.close(str(dropped))
                    self._note(f"closing {plugin.name}: {dropped}")
                    continue
                adjustments.append(answer.get("adjust", {}))
                self.apply(made, adjustments[-1])
            self._validate(pod, container, adjustments, owners)
            self.containers.append(made)
            return made, adjustments

    def _validate(self, pod: Fields, container: Fields, adjustments: list[Fields], owners: list[Remote]) -> None:
        if self._events() < EVENTS:
            return
        consulted = [{"name": plugin.name, "index": plugin.index} for plugin in owners]
        missing = set(self.required) - {plugin["name"] for plugin in consulted}
        if missing:
            raise Failed(f"validation error: required plugin {sorted(missing)} not present")
        request = {"pod": pod, "container": container, "adjust": self.union(adjustments), "plugins": consulted}
        for plugin in owners:
            if not plugin.events & messages.VALIDATE_CONTAINER_ADJUSTMENT:
                continue
            try:
                answer = plugin.call("ValidateContainerAdjustment", request, self.timeout)
            except (Dropped, Failed) as error:
                if isinstance(error, Dropped):
                    plugin.close(str(error))
                raise Failed(f"validator plugin {plugin.name} failed: {error}") from error
            if answer.get("reject"):
                raise Failed(f"validator plugin {plugin.name} rejected: {answer.get('reason')}")

    def update(self, pod: Fields, container: Fields, resources: Fields) -> Fields:
        """What a container is updated with in the end."""
        with self.lock:
            made = copy.deepcopy(resources)
            for plugin in self.live():
                if not plugin.events & messages.UPDATE_CONTAINER:
                    continue
                request = {"pod": pod, "container": container, "linux_resources": made}
                try:
                    answer = plugin.call("UpdateContainer", request, self.timeout)
                except Dropped as dropped:
                    plugin.close(str(dropped))
                    continue
                for update in answer.get("update", []):
                    if update.get("container_id") == container["id"]:
                        _merge(made, update.get("linux", {}).get("resources", {}))
            return made

    @staticmethod
    def union(adjustments: list[Fields]) -> Fields:
        made: Fields = {}
        for adjustment in adjustments:
            _merge(made, adjustment)
        return made

    def apply(self, container: Fields, adjust: Fields) -> None:
        """What the runtime's generator does to the specification, as far as its version knows the field."""
        since = self.numbers
        linux = container.setdefault("linux", {})
        asked = adjust.get("linux", {})
        _pairs(container.setdefault("annotations", {}), adjust.get("annotations", {}))
        _entries(container.setdefault("mounts", []), adjust.get("mounts", []), "destination")
        _entries(linux.setdefault("devices", []), asked.get("devices", []), "path")
        for phase, hooks in adjust.get("hooks", {}).items():
            container.setdefault("hooks", {}).setdefault(phase, []).extend(hooks)
        if since >= (1, 7, 7):
            container.setdefault("rlimits", []).extend(adjust.get("rlimits", []))
        resources, change = linux.setdefault("resources", {}), asked.get("resources", {})
        if limit := change.get("memory", {}).get("limit"):
            resources.setdefault("memory", {}).update(limit=limit, swap=limit)
        resources.setdefault("cpu", {}).update(change.get("cpu", {}))
        _pairs(resources.setdefault("unified", {}), change.get("unified", {}))
        if since >= (2, 0, 0):
            if "pids" in change:
                resources["pids"] = change["pids"]
            if "oom_score_adj" in asked:
                linux["oom_score_adj"] = asked["oom_score_adj"]
        if since >= (2, 2, 0):
            if "seccomp_policy" in asked:
                # The default errno is lost on this way.
                linux["seccomp_policy"] = {k: v for k, v in asked["seccomp_policy"].items() if k != "default_errno"}
            _entries(linux.setdefault("namespaces", []), asked.get("namespaces", []), "type")
        if since >= (2, 2, 1):
            _pairs(linux.setdefault("sysctl", {}), asked.get("sysctl", {}))

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for plugin in self.plugins:
            plugin.close("runtime ends")


def _merge(made: Fields, change: Mapping[str, Any]) -> None:
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(made.get(key), dict):
            _merge(made[key], value)
        elif isinstance(value, list) and isinstance(made.get(key), list):
            made[key] = [*made[key], *value]
        else:
            made[key] = copy.deepcopy(value)


def _pairs(now: Fields, change: Mapping[str, str]) -> None:
    for key, value in change.items():
        if key.startswith("-"):
            now.pop(key[1:], None)
        else:
            now[key] = value


def _entries(now: list[Fields], change: list[Fields], key: str) -> None:
    for item in change:
        name = item.get(key, "")
        now[:] = [entry for entry in now if entry.get(key) != name.removeprefix("-")]
        if not name.startswith("-"):
            now.append(item)
