"""The control files of cgroup v2 that `linux.resources.unified` may name, and the text the kernel takes in each."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stockade.model.names import CGROUP_FILES, CgroupKind
from stockade.oci.shape import kind, nearest

_BYTES = r"max|[0-9]{1,20}"
LIST = r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*"
_UNIFIED_KINDS = {
    CgroupKind.BYTES: _BYTES,
    CgroupKind.FLOOR: _BYTES,
    CgroupKind.COUNT: _BYTES,
    CgroupKind.QUOTA: r"(max|[1-9][0-9]*)( [1-9][0-9]*)?",
    CgroupKind.WEIGHT: r"[1-9][0-9]{0,3}|10000",
    CgroupKind.SWITCH: r"[01]",
    CgroupKind.LIST: LIST,
}
UNIFIED = {name: _UNIFIED_KINDS[holds] for name, holds in CGROUP_FILES.items()} | {
    # Files that no container type sets and that a runtime's own configuration may.
    "cpu.max.burst": r"[0-9]{1,20}",
    "cpu.uclamp.max": r"max|[0-9]{1,3}(\.[0-9]{1,2})?",
    "cpu.uclamp.min": r"max|[0-9]{1,3}(\.[0-9]{1,2})?",
    "cpu.weight.nice": r"-?[0-9]{1,2}",
    "cpuset.cpus.exclusive": LIST,
    "cpuset.cpus.partition": r"member|root|isolated",
    "io.bfq.weight": r"[^\0]+",
    "io.latency": r"[^\0]+",
    "io.max": r"[^\0]+",
    "io.prio.class": r"no-change|promote-to-rt|restrict-to-be|idle|none-to-rt",
    "memory.zswap.max": _BYTES,
    "memory.zswap.writeback": r"[01]",
    "misc.max": r"[^\0]+",
    "rdma.max": r"[^\0]+",
}
_HUGETLB = re.compile(r"hugetlb\.[1-9][0-9]*[KMG]B\.(rsvd\.)?max")


def unified(path: str, value: object) -> Iterator[str]:
    """`linux.resources.unified`: control files of cgroup v2, each with the text that a runtime writes to it."""
    if not isinstance(value, dict):
        yield f"{path}: expected an object, got {kind(value)}"
        return
    for name, content in value.items():
        here = f'{path}["{name}"]'
        pattern = _BYTES if _HUGETLB.fullmatch(name) else UNIFIED.get(name)
        if pattern is None:
            yield f"{here}: unknown cgroup control file{nearest(name, UNIFIED)}"
        elif not isinstance(content, str) or not re.fullmatch(pattern, content):
            yield f"{here}: {content!r} is not a value of {name}"
