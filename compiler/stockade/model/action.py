"""Things a contained process might try, and what each needs from every layer for the attempt to succeed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from stockade.model.position import Said


class Layer(StrEnum):
    """The mechanisms that can stop an action, each without the help of the others."""

    SECCOMP = "seccomp"
    CAPABILITIES = "capabilities"
    SELINUX = "selinux"
    NAMESPACES = "namespaces"
    DEVICES = "devices"
    MOUNTS = "mounts"


@dataclass(frozen=True, slots=True)
class NeedsSyscall:
    """Any one of these calls; `arguments` (index -> value) narrows what is asked of each, the rest are zero."""

    calls: tuple[str, ...]
    arguments: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class NeedsCapability:
    """Any one of these capabilities in the permitted set."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NeedsAccess:
    """SELinux `access` by the container's domain to any one of `targets`; `itself` adds the domain's own label.

    `spelled` is the target as it was written, for messages.
    """

    access: int
    targets: frozenset[str]
    itself: bool
    spelled: str


@dataclass(frozen=True, slots=True)
class NeedsHostNamespace:
    """This kind of namespace shared with the host."""

    kind: str


@dataclass(frozen=True, slots=True)
class NeedsDevice:
    """Opening the device node of this kind and number with this access."""

    kind: str
    major: int
    minor: int
    access: str


@dataclass(frozen=True, slots=True)
class NeedsWritablePath:
    """This path of the container's own view neither masked nor read-only."""

    path: str


Need = NeedsSyscall | NeedsCapability | NeedsAccess | NeedsHostNamespace | NeedsDevice | NeedsWritablePath


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionCase(Said):
    """An action: every one of `needs` must be given for it to succeed. `seen_in` names where it was seen."""

    name: str
    seen_in: tuple[str, ...]
    needs: tuple[Need, ...]
