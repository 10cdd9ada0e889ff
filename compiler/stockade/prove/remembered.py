"""Answers to needs, given once for all container types that are alike in what the need is about."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from stockade.model.action import (
    Need,
    NeedsAccess,
    NeedsAllCapabilities,
    NeedsCapability,
    NeedsDevice,
    NeedsHostNamespace,
    NeedsHostPath,
    NeedsMountOption,
    NeedsNewPrivileges,
    NeedsNoLimit,
    NeedsPath,
    NeedsSyscall,
)
from stockade.prove.confined import Confined, Oracle
from stockade.prove.needs import Answer, answers

_PLACES: Final[dict[type[Any], tuple[str, ...]]] = {
    NeedsSyscall: ("syscalls",),
    NeedsAccess: (),
    NeedsCapability: ("capabilities",),
    NeedsAllCapabilities: ("capabilities",),
    NeedsHostNamespace: ("namespaces",),
    NeedsDevice: ("devices",),
    NeedsPath: ("mask", "read-only", "root", "mounts"),
    NeedsMountOption: (),
    NeedsHostPath: ("mounts",),
    NeedsNewPrivileges: ("no-new-privileges",),
    NeedsNoLimit: ("cgroup",),
}
"""The keys of a type whose places the reasons of an answer name."""


class Remembered:
    """Answers on one kernel policy. `facets` says what an answer rests on; two types with the same get the same one."""

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle
        self._known: dict[tuple[object, ...], tuple[Answer, ...]] = {}
        self._facets: dict[tuple[int, type[Any]], tuple[Confined, tuple[object, ...]]] = {}

    def __call__(self, confined: Confined, need: Need) -> tuple[Answer, ...]:
        """The answer of every layer that has a say in this need."""
        key = (id(need), *self.facets(confined, type(need)))
        if key not in self._known:
            self._known[key] = tuple(answers(confined, need, self.oracle))
        return self._known[key]

    def facets(self, confined: Confined, kind: type[Any]) -> tuple[object, ...]:
        """All of a type that answers to this kind of need depend on."""
        known = self._facets.get((id(confined), kind))
        if known is None:
            found = (*_rests_on(confined, kind), *map(confined.place, _PLACES[kind]))
            known = self._facets[id(confined), kind] = confined, found
        return known[1]


def _rests_on(confined: Confined, kind: type[Any]) -> Iterator[object]:
    labels = confined.context, confined.files, confined.other, confined.subjects, confined.complains
    if kind is NeedsSyscall:
        yield from (id(confined.filter), confined.architectures)
    elif kind is NeedsAccess:
        yield from labels
    elif kind is NeedsNoLimit:
        yield json.dumps(confined.spec["linux"]["resources"], sort_keys=True)
    elif kind in (NeedsCapability, NeedsAllCapabilities):
        yield from labels
        yield json.dumps([confined.spec["process"]["capabilities"], confined.spec["linux"]["namespaces"]])
    elif kind is NeedsDevice:
        yield confined.runtime
        yield json.dumps(confined.spec["linux"]["resources"]["devices"])
    else:
        parts = {**confined.spec, "linux": {**confined.spec["linux"], "resources": None, "mountLabel": None}}
        yield json.dumps({key: part for key, part in parts.items() if key not in ("annotations", "process")})
        yield json.dumps(confined.spec["process"].get("noNewPrivileges"))
