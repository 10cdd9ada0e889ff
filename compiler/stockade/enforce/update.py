"""The options of `update` as the resources that they stand for, so that one clamp serves every spelling."""

from __future__ import annotations

from stockade.enforce.arguments import Call
from stockade.enforce.refusal import WELL_FORMED, refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PLACES = {
    "blkio-weight": ("blockIO", "weight"),
    "cpu-period": ("cpu", "period"),
    "cpu-quota": ("cpu", "quota"),
    "cpu-burst": ("cpu", "burst"),
    "cpu-idle": ("cpu", "idle"),
    "cpu-rt-period": ("cpu", "realtimePeriod"),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime"),
    "cpu-share": ("cpu", "shares"),
    "memory": ("memory", "limit"),
    "memory-reservation": ("memory", "reservation"),
    "memory-swap": ("memory", "swap"),
    "kernel-memory": ("memory", "kernel"),
    "kernel-memory-tcp": ("memory", "kernelTCP"),
    "pids-limit": ("pids", "limit"),
}
_TEXTS = {"cpuset-cpus": ("cpu", "cpus"), "cpuset-mems": ("cpu", "mems")}
_UNITS = {"": 0, "b": 0, "k": 10, "kb": 10, "kib": 10, "m": 20, "mb": 20, "mib": 20, "g": 30, "gb": 30, "gib": 30}


def resources_of(call: Call) -> dict[str, Any]:
    """`linux.resources` of an `update` without `--resources`. Raises Refused for a value that is no number."""
    found: dict[str, Any] = {}
    for name in [key for key, _ in call.options]:
        said = call.value(name) or ""
        if name in _TEXTS:
            group, key = _TEXTS[name]
            found.setdefault(group, {})[key] = said
        elif name in _PLACES:
            group, key = _PLACES[name]
            found.setdefault(group, {})[key] = _number(name, said)
        elif name != "resources":
            raise refuse(WELL_FORMED, f"--{name} changes what no type speaks of")
    return found


def _number(name: str, said: str) -> int:
    digits = said.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    unit = _UNITS.get(said[len(digits) :].lower())
    sign = -1 if digits.startswith("-") else 1
    if unit is None or not digits[sign < 0 :].isdecimal() or not digits.isascii():
        raise refuse(WELL_FORMED, f"--{name}={said} is no number")
    return int(digits) << unit
