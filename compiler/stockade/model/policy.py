"""A whole policy: the host, its container types, what might be tried and what must never hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from stockade.model.action import ActionCase
from stockade.model.container import ContainerType
from stockade.model.expectation import Expectation
from stockade.model.grants import members
from stockade.model.host import Host
from stockade.model.position import Position
from stockade.model.promise import Promise, Waiver


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything a build needs; keyed by name, sorted. `default` is the type of a container for which none is named.

    `waivers` say what is neither given nor promised away. `complete` asks that nothing else is: whatever no rule gives
    is promised away or waived; `header` is where that was asked for. `expectations` are asked by `stockade test`, and
    change nothing.
    """

    host: Host
    containers: Mapping[str, ContainerType]
    actions: Mapping[str, ActionCase]
    promises: Mapping[str, Promise]
    default: str
    waivers: Mapping[str, Waiver] = field(default_factory=dict)
    complete: bool = False
    expectations: Mapping[str, Expectation] = field(default_factory=dict)
    header: Position = field(default_factory=lambda: Position("host", 1, 1))

    @property
    def heard(self) -> Policy:
        """The policy that a kernel is given: the domain of a type that records has no rule, so all it does is logged.

        A permissive domain loses nothing with its rules, and the kernel writes down each access of it once, not each
        time. Types have a `records` domain for themselves.
        """
        silent = {frozenset([c.domain]) for c in self.containers.values() if c.records}
        if not silent:
            return self
        rules = tuple(rule for rule in self.host.rules if members(rule) not in silent)
        return replace(self, host=replace(self.host, rules=rules))
