"""Things a contained process might try, and what each needs from every layer for the attempt to succeed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from stockade.model.position import Said


class Layer(StrEnum):
    """The mechanisms that can stop an action, each without the help of the others."""

    SECCOMP = "seccomp"
    CAPABILITIES = "capabilities"
    SELINUX = "selinux"
    NAMESPACES = "namespaces"
    DEVICES = "devices"
    MOUNTS = "mounts"
    PRIVILEGES = "no-new-privileges"
    LIMITS = "limits"


class Aim(StrEnum):
    """Whom an action is aimed at. The first three are escapes: they reach somebody other than the container."""

    KERNEL = "kernel"  # code or data of the kernel, or an interface through which it was broken
    HOST = "host"  # the host's programs, files, settings
    NEIGHBOURS = "neighbours"  # other containers
    DENIAL = "denial"  # more of what is shared than is due
    ITSELF = "itself"  # the container alone; a step on the way


ESCAPES = frozenset({Aim.KERNEL, Aim.HOST, Aim.NEIGHBOURS})


class Abi(StrEnum):
    """How a call enters the kernel; `x32` are the numbers from 0x40000000 up on x86_64."""

    NATIVE = "native"
    X32 = "x32"


class Categories(StrEnum):
    """The categories of the target of an access."""

    NONE = "none"  # s0
    OWN = "own"  # those of the container itself
    OTHER = "other"  # the pair of another container


class Use(StrEnum):
    """What a mount option takes away."""

    EXECUTE = "execute"  # noexec
    DEVICES = "devices"  # nodev
    SET_USER_ID = "set-user-id"  # nosuid


class Reach(StrEnum):
    """What is done with a path of the host."""

    READ = "read"
    WRITE = "write"
    CONNECT = "connect"  # connect(2) on a socket, which a read-only mount does not hinder


@dataclass(frozen=True, slots=True)
class NeedsSyscall:
    """Any one of these calls; `arguments` (index -> value) narrows what is asked of each, the rest are zero."""

    calls: tuple[str, ...]
    arguments: Mapping[int, int]
    abi: Abi = Abi.NATIVE


@dataclass(frozen=True, slots=True)
class NeedsCapability:
    """This capability in the permitted set, and SELinux's leave to use it.

    `own` where the kernel asks for it in the user namespace that owns the object, so that a container's own will do;
    otherwise it asks in the initial one.
    """

    name: str
    own: bool = False


@dataclass(frozen=True, slots=True)
class NeedsAllCapabilities:
    """Every capability in the permitted set: one who has them all may trace anyone unasked."""


@dataclass(frozen=True, slots=True)
class NeedsAccess:
    """SELinux `access` by the container's domain to any one of `targets`; `itself` adds the domain's own label.

    `own_files` stands for the label and categories of the container's own files. `spelled` is the target as it was
    written, for messages.
    """

    access: int
    targets: frozenset[str]
    itself: bool
    spelled: str
    own_files: bool = False
    categories: Categories = Categories.NONE


@dataclass(frozen=True, slots=True)
class NeedsHostNamespace:
    """This kind of namespace shared with the host."""

    kind: str


@dataclass(frozen=True, slots=True)
class NeedsDevice:
    """Using the device of this kind and number with this access; `m` is for making its node."""

    kind: str
    major: int
    minor: int
    access: str


@dataclass(frozen=True, slots=True)
class NeedsPath:
    """This path of the container's own view not masked and, where `written`, not read-only."""

    path: str
    written: bool


@dataclass(frozen=True, slots=True)
class NeedsMountOption:
    """What is at this path of the container's own view mounted without the option that forbids `use`."""

    path: str
    use: Use


@dataclass(frozen=True, slots=True)
class NeedsHostPath:
    """A mount that shows this path of the host. `below` is the host's mount point that the path lies under.

    A read-only bind mount with all below it (`rbind`, `ro`) is read-only at its top alone.
    """

    path: str
    reach: Reach
    below: str


@dataclass(frozen=True, slots=True)
class NeedsNewPrivileges:
    """Executing a program may raise privileges."""


@dataclass(frozen=True, slots=True)
class NeedsNoLimit:
    """No ceiling in this cgroup v2 file."""

    file: str


Need = (
    NeedsSyscall
    | NeedsCapability
    | NeedsAllCapabilities
    | NeedsAccess
    | NeedsHostNamespace
    | NeedsDevice
    | NeedsPath
    | NeedsMountOption
    | NeedsHostPath
    | NeedsNewPrivileges
    | NeedsNoLimit
)

KEYS: Final[Mapping[type[Need], tuple[str, ...]]] = {
    NeedsSyscall: ("syscall", "arguments", "abi"),
    NeedsCapability: ("capability", "own"),
    NeedsAllCapabilities: ("allCapabilities",),
    NeedsAccess: ("selinux", "targets", "self", "spelled", "ownFiles", "categories"),
    NeedsHostNamespace: ("hostNamespace",),
    NeedsDevice: ("device", "major", "minor", "access"),
    NeedsPath: ("path", "written"),
    NeedsMountOption: ("path", "mountAllows"),
    NeedsHostPath: ("hostPath", "reach", "below"),
    NeedsNewPrivileges: ("newPrivileges",),
    NeedsNoLimit: ("noLimit",),
}
"""Every kind of need: its fields in the order of the class, as a bundle names them; a kind without any has one key.

No two kinds have the same keys, so that these say which kind a need in a bundle is of.
"""

Way = tuple[Need, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """How a probe tries an action: what it `does`, and what the kernel answers.

    The attempt went through when the last call succeeded or failed with one of `reached`: errors that the kernel finds
    only after every permission. `absent` are errors of a kernel that has no such thing, with the reason. `unasked` says
    why a user-mode kernel does not ask all that another asks, so that nothing follows from its answer; "" if not.
    """

    does: str
    reached: tuple[str, ...]
    absent: Mapping[str, str]
    unasked: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionCase(Said):
    """An action: it succeeds when every need of any one of `ways` is given. `seen_in` names where it was seen."""

    name: str
    aim: Aim
    seen_in: tuple[str, ...]
    ways: tuple[Way, ...]
    trial: Trial
