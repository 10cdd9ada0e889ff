"""cgroup v2 control files as `linux.resources`: the specification's own fields where they are exact, else `unified`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stockade.model.container import CgroupValue, Quota
from stockade.model.names import CGROUP_FILES, CgroupKind

NO_MAXIMUM = frozenset(["cpu.max.burst"])
"""Files of a limiting kind that the kernel nevertheless refuses the word `max` for."""


def to_resources(files: Mapping[str, CgroupValue]) -> dict[str, Any]:
    """The members of `linux.resources` that set `files`, without the device rules.

    Fields that the specification inherited from cgroup v1 are used where a runtime turns them into the same number:
    `memory.limit`, `memory.swap`, `cpu.quota`, `cpu.period`, `cpu.cpus`, `cpu.mems`, `pids.limit`, `hugepageLimits`.
    No limit and a limit of zero go to `unified`: of those fields a runtime takes 0 for "not said", and crun writes
    the -1 of `pids.limit` as it is, which the kernel refuses. Raises ValueError where a file is unknown or the kernel
    would refuse its value.
    """
    for name, value in files.items():
        _refuse(name, value)
    memory: dict[str, int] = {}
    cpu: dict[str, int | str] = {}
    pages: list[dict[str, int | str]] = []
    resources: dict[str, Any] = {}
    unified: dict[str, str] = {}
    for name, value in sorted(files.items()):
        if value is None:
            unified[name] = "max"
        elif isinstance(value, Quota):
            cpu |= {"quota": value.quota, "period": value.period}
        elif isinstance(value, str):
            cpu[name.removeprefix("cpuset.")] = value
        elif name == "memory.max" and value:
            memory["limit"] = value
        elif name == "memory.swap.max" and isinstance(limit := files.get("memory.max"), int) and limit:
            # The specification counts memory and swap together; the kernel counts swap alone.
            memory["swap"] = limit + value
        elif name == "pids.max" and value:
            resources["pids"] = {"limit": value}
        elif name.startswith("hugetlb."):
            pages.append({"pageSize": name.split(".")[1], "limit": value})
        else:
            unified[name] = str(value)
    for key, group in (("memory", memory), ("cpu", cpu), ("hugepageLimits", pages), ("unified", unified)):
        if group:
            resources[key] = group
    return resources


def _refuse(name: str, value: CgroupValue) -> None:
    kind = CGROUP_FILES.get(name)
    if kind is None:
        raise ValueError(f"cgroup: unknown control file {name!r}")
    fits = {
        CgroupKind.BYTES: value is None or _natural(value),
        CgroupKind.FLOOR: value is None or _natural(value),
        CgroupKind.COUNT: _natural(value) or (value is None and name not in NO_MAXIMUM),
        CgroupKind.QUOTA: value is None
        or (isinstance(value, Quota) and value.quota >= 1000 and 1000 <= value.period <= 1_000_000),
        CgroupKind.WEIGHT: isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 10_000,
        CgroupKind.SWITCH: _natural(value) and value in (0, 1),
        CgroupKind.LIST: isinstance(value, str) and bool(value),
    }[kind]
    if not fits:
        raise ValueError(f"cgroup: the kernel takes no {value!r} in {name}")


def _natural(value: CgroupValue) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
