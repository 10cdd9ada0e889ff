"""Why a container does not start: the promise that it would break, and what of it asks for that."""

from __future__ import annotations

NO_PRIVILEGE = "no-privileged-containers"
NO_HOST_NAMESPACE = "no-host-namespaces"
NO_RUNTIME_SOCKET = "no-runtime-sockets"
NO_API_SOCKET = "no-api-socket"
NO_HOST_PATH = "no-host-paths"
NO_SHARED_MOUNT = "no-shared-mounts"
NO_FOREIGN_MOUNT = "no-foreign-file-systems"
NO_FOREIGN_LABEL = "no-foreign-labels"
NO_FOREIGN_DEVICE = "no-foreign-devices"
NO_HOST_SETTING = "no-host-settings"
NO_RUNTIME_ANNOTATION = "no-runtime-annotations"
NO_REAL_TIME = "no-real-time"
CONFINED = "always-confined"
WELL_FORMED = "well-formed"

PROMISES = {
    NO_PRIVILEGE: "nobody gets all devices or all of the kernel's settings whose type does not have them",
    NO_HOST_NAMESPACE: "nobody shares a namespace with the host whose type does not",
    NO_RUNTIME_SOCKET: "nobody reaches the runtime's own files and sockets: they are as good as the host",
    NO_API_SOCKET: "nobody reaches the host's API whose type does not list its socket",
    NO_HOST_PATH: "nobody mounts a part of the host's own system that the type does not list",
    NO_SHARED_MOUNT: "no mount made in a container reaches the host",
    NO_FOREIGN_MOUNT: "nobody mounts a kind of file system but those that every container has",
    NO_FOREIGN_LABEL: "nobody chooses a label: the type has one",
    NO_FOREIGN_DEVICE: "nobody gets a device that the type does not list",
    NO_HOST_SETTING: "nobody sets a setting that belongs to no namespace of its own",
    NO_RUNTIME_ANNOTATION: "nobody steers the runtime by an annotation",
    NO_REAL_TIME: "nobody takes the processor from all others",
    CONFINED: "no container starts without the confinement of its type",
    WELL_FORMED: "what cannot be read with certainty is not run",
}
"""Each promise of enforcement, with what it says."""


class Refused(Exception):
    """A container that may not start, or a process or change that may not be; `reasons` are (promise, why)."""

    def __init__(self, reasons: list[tuple[str, str]]) -> None:
        self.reasons = reasons
        super().__init__("; ".join(f"{promise}: {why}" for promise, why in reasons))


class Reasons:
    """Collects reasons, so that all that is wrong is said at once."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def add(self, promise: str, why: str) -> None:
        """Note a reason and go on."""
        if (promise, why) not in self.found:
            self.found.append((promise, why))

    def raise_if_any(self) -> None:
        """Raise Refused when there was a reason."""
        if self.found:
            raise Refused(self.found)


def refuse(promise: str, why: str) -> Refused:
    """A refusal for one reason."""
    return Refused([(promise, why)])
