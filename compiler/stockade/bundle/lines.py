"""What a build says of each container type in one line of a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stockade.bundle.summary import always_allowed
from stockade.model.container import ContainerType
from stockade.model.once import Once
from stockade.seccomp.explain import explain


def lines(types: Iterable[ContainerType], filters: Mapping[tuple[str, str], bytes]) -> dict[str, tuple[str, ...]]:
    """What a build says of each container type in one line."""
    explained = Once(explain)
    return {
        c.name: (
            c.name,
            c.domain,
            str(len(c.capabilities["bounding"])),
            str(len(c.sockets.families)),
            str(len(always_allowed(c, explained))),
            " ".join(f"{arch}:{len(filters[c.name, arch]) // 8}" for arch in c.architectures),
            _bytes(c.cgroup.get("memory.max")),
            str(c.cgroup.get("pids.max", "-")),
        )
        for c in types
    }


def _bytes(value: object) -> str:
    """A size for a person: the largest binary unit that it is a whole number of."""
    if not isinstance(value, int):
        return "-"
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    power = 0
    while value and value % 1024 == 0 and power < len(units) - 1:
        value, power = value // 1024, power + 1
    return f"{value} {units[power]}"
