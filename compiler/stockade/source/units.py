"""Sizes and shares as a person writes them, turned into the numbers the kernel takes."""

from __future__ import annotations

import errno
import re

from stockade.model.container import CgroupValue, Quota
from stockade.model.names import CGROUP_FILES, CgroupKind

_UNITS = {"": 1, "B": 1} | {f"{p}iB": 1 << (10 * n) for n, p in enumerate("KMGT", 1)}
_UNITS |= {f"{p}B": 1000**n for n, p in enumerate("KMGT", 1)}
_SIZE = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,9}))?([A-Za-z]*)\Z")
_SPAN = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?\Z")
_PERCENT = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,3}))?%\Z")
_SHARE = re.compile(r"([0-9]{1,19}) ([0-9]{1,7})\Z")
_PERIOD = 100_000
MAXIMUM = (1 << 63) - 1

ERRNO = {name: number for name, number in vars(errno).items() if name.startswith("E")}
"""Error numbers by name, with the second names that some have."""


def size(value: int | str) -> int:
    """Bytes; `512MiB`, `1.5GiB`, `2GB` or a plain number. ValueError says what is wrong."""
    if isinstance(value, int):
        number = value
    else:
        match = _SIZE.match(value)
        if not match or match[3] not in _UNITS:
            raise ValueError(f"`{value}` is not a size; write one such as 512MiB")
        whole, fraction, unit = match[1], match[2] or "", _UNITS[match[3]]
        number, left = divmod(int(whole + fraction) * unit, 10 ** len(fraction))
        if left:
            raise ValueError(f"`{value}` is not a whole number of bytes")
    if not 0 <= number <= MAXIMUM:
        raise ValueError(f"`{value}` is out of range")
    return number


def cgroup(file: str, value: int | str) -> CgroupValue:
    """The value of a cgroup v2 control file; None is `max`. ValueError says what is wrong."""
    kind = CGROUP_FILES[file]
    if value == "max" and kind not in (CgroupKind.WEIGHT, CgroupKind.SWITCH, CgroupKind.LIST):
        return None
    if kind in (CgroupKind.BYTES, CgroupKind.FLOOR):
        return size(value)
    if kind is CgroupKind.QUOTA:
        return _quota(value)
    if kind is CgroupKind.LIST:
        spans = [_SPAN.match(part) for part in str(value).split(",")]
        if not all(span and int(span[1]) <= int(span[2] or span[1]) for span in spans):
            raise ValueError(f"`{value}` is not a list of numbers such as 0-3,7")
        return str(value)
    if not isinstance(value, int):
        raise ValueError(f"`{value}` is not a whole number")
    low, high = {CgroupKind.COUNT: (0, MAXIMUM), CgroupKind.WEIGHT: (1, 10_000), CgroupKind.SWITCH: (0, 1)}[kind]
    if not low <= value <= high:
        raise ValueError(f"{value} is out of range: {low} to {high}")
    return value


def _quota(value: int | str) -> Quota:
    if match := _PERCENT.match(str(value)):
        quota, period = int(match[1] + (match[2] or "").ljust(3, "0")), _PERIOD  # a thousandth of 1% is 1 of 100000
    elif match := _SHARE.match(str(value)):
        quota, period = int(match[1]), int(match[2])
    else:
        raise ValueError(f"`{value}` is not a share of CPU time; write 50%, or a quota and a period: 50000 100000")
    if not 1_000 <= quota <= MAXIMUM or not 1_000 <= period <= 1_000_000:
        raise ValueError(
            f"`{value}` is out of range: the kernel takes a quota from 1000 and a period from 1000 to 1000000"
        )
    return Quota(quota, period)
