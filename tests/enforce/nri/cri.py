"""A small CRI client: pods and containers through containerd's real socket, with our own codec and Python's h2."""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
from stockade.enforce.nri.wire import Field, Fields, Message

LABELS = Field(0, "labels", "string", key="string")
EMPTY = Message("Empty")


def strings(number: int, name: str) -> Field:
    return Field(number, name, "string", repeated=True)


def labels(number: int, name: str) -> Field:
    return Field(number, name, "string", key="string")


SECURITY_PROFILE = Message("SecurityProfile", Field(1, "profile_type", "enum"), Field(2, "localhost_ref", "string"))
NAMESPACES = Message("NamespaceOption", Field(1, "network", "enum"), Field(2, "pid", "enum"), Field(3, "ipc", "enum"))
RESOURCES = Message(
    "LinuxContainerResources",
    Field(1, "cpu_period", "int64"),
    Field(2, "cpu_quota", "int64"),
    Field(3, "cpu_shares", "int64"),
    Field(4, "memory_limit_in_bytes", "int64"),
    Field(5, "oom_score_adj", "int64"),
    labels(9, "unified"),
    Field(10, "memory_swap_limit_in_bytes", "int64"),
)
POD_SECURITY = Message(
    "LinuxSandboxSecurityContext", Field(1, "namespace_options", NAMESPACES), Field(6, "privileged", "bool")
)
POD = Message(
    "PodSandboxConfig",
    Field(
        1,
        "metadata",
        Message(
            "PodSandboxMetadata", Field(1, "name", "string"), Field(2, "uid", "string"), Field(3, "namespace", "string")
        ),
    ),
    Field(2, "hostname", "string"),
    Field(3, "log_directory", "string"),
    labels(6, "labels"),
    labels(7, "annotations"),
    Field(
        8,
        "linux",
        Message(
            "LinuxPodSandboxConfig", Field(1, "cgroup_parent", "string"), Field(2, "security_context", POD_SECURITY)
        ),
    ),
)
CAPABILITIES = Message("Capability", strings(1, "add_capabilities"), strings(2, "drop_capabilities"))
SECURITY = Message(
    "LinuxContainerSecurityContext",
    Field(1, "capabilities", CAPABILITIES),
    Field(2, "privileged", "bool"),
    Field(3, "namespace_options", NAMESPACES),
    Field(7, "readonly_rootfs", "bool"),
    Field(11, "no_new_privs", "bool"),
    strings(13, "masked_paths"),
    strings(14, "readonly_paths"),
    Field(15, "seccomp", SECURITY_PROFILE),
)
CONTAINER = Message(
    "ContainerConfig",
    Field(1, "metadata", Message("ContainerMetadata", Field(1, "name", "string"))),
    Field(2, "image", Message("ImageSpec", Field(1, "image", "string"))),
    strings(3, "command"),
    strings(4, "args"),
    Field(
        7,
        "mounts",
        Message(
            "Mount", Field(1, "container_path", "string"), Field(2, "host_path", "string"), Field(3, "readonly", "bool")
        ),
        repeated=True,
    ),
    Field(
        8,
        "devices",
        Message(
            "Device",
            Field(1, "container_path", "string"),
            Field(2, "host_path", "string"),
            Field(3, "permissions", "string"),
        ),
        repeated=True,
    ),
    labels(9, "labels"),
    labels(10, "annotations"),
    Field(11, "log_path", "string"),
    Field(
        15,
        "linux",
        Message("LinuxContainerConfig", Field(1, "resources", RESOURCES), Field(2, "security_context", SECURITY)),
    ),
)
_ID = Message("ID", Field(1, "id", "string"))
METHODS = {
    "Version": (
        EMPTY,
        Message("VersionResponse", Field(2, "runtime_name", "string"), Field(3, "runtime_version", "string")),
    ),
    "RunPodSandbox": (Message("Run", Field(1, "config", POD), Field(2, "runtime_handler", "string")), _ID),
    "ListPodSandbox": (EMPTY, EMPTY),
    "StopPodSandbox": (_ID, EMPTY),
    "RemovePodSandbox": (_ID, EMPTY),
    "CreateContainer": (
        Message("Create", Field(1, "pod", "string"), Field(2, "config", CONTAINER), Field(3, "sandbox_config", POD)),
        _ID,
    ),
    "StartContainer": (_ID, EMPTY),
    "StopContainer": (_ID, EMPTY),
    "RemoveContainer": (_ID, EMPTY),
    "UpdateContainerResources": (Message("Update", Field(1, "id", "string"), Field(2, "linux", RESOURCES)), EMPTY),
}


class CallError(Exception):
    """containerd answered with an error: gRPC's code, and the reason in its own words."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Client:
    """Calls of `runtime.v1.RuntimeService` over one connection."""

    def __init__(self, path: Path, timeout: float = 60) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        self._socket.connect(str(path))
        self._http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self._http.initiate_connection()
        self._socket.sendall(self._http.data_to_send())

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, method: str, **request: Any) -> Fields:
        """The response to a request; CallError where there is none."""
        asked, answered = METHODS[method]
        data = asked.encode(request)
        stream = self._http.get_next_available_stream_id()
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", f"/runtime.v1.RuntimeService/{method}"),
            (":authority", "localhost"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ]
        self._http.send_headers(stream, headers)
        self._http.send_data(stream, struct.pack(">BI", 0, len(data)) + data, end_stream=True)
        self._socket.sendall(self._http.data_to_send())
        body, status = b"", {}
        while True:
            received = self._socket.recv(1 << 16)
            if not received:
                raise ConnectionError("containerd closed the connection")
            ended = False
            for event in self._http.receive_data(received):
                if isinstance(event, h2.events.DataReceived):
                    body += event.data
                    self._http.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
                    status.update(dict(event.headers))
                ended = ended or isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset))
            self._socket.sendall(self._http.data_to_send())
            if ended:
                break
        if status.get("grpc-status") != "0":
            raise CallError(int(status.get("grpc-status", 2)), status.get("grpc-message", "no reason given"))
        return answered.decode(body[5:])
