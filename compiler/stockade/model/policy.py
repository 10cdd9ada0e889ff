"""A whole policy: the host, its container types, what might be tried and what must never hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stockade.model.action import ActionCase
from stockade.model.container import ContainerType
from stockade.model.host import Host
from stockade.model.promise import Promise


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything a build needs; keyed by name, sorted. `default` is the type of a container for which none is named."""

    host: Host
    containers: Mapping[str, ContainerType]
    actions: Mapping[str, ActionCase]
    promises: Mapping[str, Promise]
    default: str
