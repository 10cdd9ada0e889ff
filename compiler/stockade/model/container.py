"""What a container type is: everything that confines a container, in the terms of the layer that holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from stockade.model.position import Position, Said
from stockade.model.seccomp import SyscallPolicy


@cache
def _logged(policy: SyscallPolicy, everything: bool) -> SyscallPolicy:
    return policy.logged(everything=everything)


class Level(StrEnum):
    """Which categories a container's process label carries."""

    PAIR = "pair"  # two categories of its own, chosen by the runtime
    ALL = "all"  # the whole range, s0-s0:c0.c1023
    NONE = "none"  # s0


class UserNamespace(StrEnum):
    """Whether a container has a user namespace of its own."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    FORBIDDEN = "forbidden"


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Kinds of namespace that are the container's own (`new`) and those it shares with the host (`host`).

    Together they name every kind but `user` and `time`; `time` may be in either and is the host's when left out.
    """

    new: frozenset[str]
    host: frozenset[str]
    user: UserNamespace


@dataclass(frozen=True, slots=True)
class Quota:
    """`cpu.max`: microseconds of CPU time per period in microseconds."""

    quota: int
    period: int = 100_000


CgroupValue = int | str | Quota | None
"""Bytes, counts, weights and switches are int; cpu and node lists are str; None is `max`."""


@dataclass(frozen=True, slots=True)
class Tmpfs:
    """A tmpfs mounted into the container; `size` in bytes, None is the kernel's default (half the memory)."""

    path: str
    size: int | None


@dataclass(frozen=True, slots=True)
class Mount:
    """A host path that the container gets; `options` as in mount(8), sorted."""

    source: str
    destination: str
    options: tuple[str, ...]
    why: str
    at: Position
    options_at: Position | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """A device node the container may open; `kind` is c or b, `access` a subset of `rwm`, None means any number."""

    path: str
    kind: str
    major: int | None
    minor: int | None
    access: str


@dataclass(frozen=True, slots=True)
class Rlimit:
    """A resource limit; None is unlimited; `soft` is never above `hard`."""

    soft: int | None
    hard: int | None


@dataclass(frozen=True, slots=True)
class Sockets:
    """The address families a container may open sockets of; the same set narrows seccomp and SELinux."""

    families: frozenset[str]
    why: str
    at: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerType(Said):
    """One kind of container.

    `places` maps a top-level key of the source to where it was said (the parent's place for what was inherited).
    `capabilities` has the five sets of `names.CAPABILITY_SETS`. `cgroup` is keyed by control file, `rlimits` and
    `sysctls` by name. `all_devices` means every device of the host (`devices` is then empty), as `unmasked` types
    have no masked paths. `listener` is the socket of whoever is asked about calls that the kernel does not decide.
    With `complains` SELinux and seccomp write down what they would refuse, and let it pass; with `records` as well what
    they allow, which only a type that complains can ask for.
    """

    name: str
    extends: str | None
    widens: Mapping[str, str]
    domain: str
    files: str
    level: Level
    capabilities: Mapping[str, frozenset[str]]
    syscalls: SyscallPolicy
    listener: str | None = None
    complains: bool = False
    records: bool = False
    architectures: tuple[str, ...]
    sockets: Sockets
    namespaces: Namespaces
    cgroup: Mapping[str, CgroupValue]
    read_only_root: bool
    tmpfs: tuple[Tmpfs, ...]
    mounts: tuple[Mount, ...]
    masked: tuple[str, ...]
    read_only: tuple[str, ...]
    no_new_privileges: bool
    rlimits: Mapping[str, Rlimit]
    devices: tuple[Device, ...]
    all_devices: bool
    sysctls: Mapping[str, str]
    places: Mapping[str, Position]

    @property
    def mode(self) -> str:
        """The word for how much SELinux and seccomp hold it, as the language has it."""
        return "record" if self.records else "complain" if self.complains else "enforce"

    @property
    def answered(self) -> SyscallPolicy:
        """What the filter answers: `syscalls`, or the same with refusals, or everything, logged."""
        return _logged(self.syscalls, self.records) if self.complains else self.syscalls

    @property
    def asks(self) -> str | None:
        """The socket of whoever is asked about calls: nobody is while refusals are logged and let pass."""
        return None if self.complains else self.listener

    def place(self, key: str) -> Position:
        """Where a key of this type was said, or the type itself where it was left to its default."""
        return self.places.get(key, self.at)
