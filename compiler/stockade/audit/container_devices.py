"""The devices that a container may use against those of its type: each device and access that one allows beyond."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from stockade.oci.base import RUNTIME_DEVICE_RULES

Found = tuple[str, str, str, str]
Json = Mapping[str, Any]
Rule = tuple[str, int, int, str]
"""kind (b, c, or a for both), major, minor (-1 for any), access."""

ACCESS: Final = {"m": 1, "r": 2, "w": 4}
KINDS: Final = {"b": 1, "c": 2}
_LINE: Final = re.compile(r"([abc]) (\d+|\*):(\d+|\*) ([rwm]+)")
_STEPS: Final = 4096


class Unfollowed(Exception):
    """A program that does something which device programs do not need."""


def device_findings(live: Json, compiled: Json) -> Iterator[Found]:
    """One finding for the first device of each kind that the group lets through and the type does not.

    What a runtime allows to every container, whatever its specification says, is no finding.
    """
    rules = [_rule(one) for one in compiled["spec"]["linux"].get("resources", {}).get("devices", ())]
    wanted = (*rules, *(_rule(one) for several in RUNTIME_DEVICE_RULES.values() for one in several))
    shown = "the devices of the type"
    try:
        if "list" in live:
            beyond = _beyond_list(tuple(live["list"]), wanted)
        else:
            beyond = _beyond_programs(tuple(live["programs"]), wanted)
    except (Unfollowed, ValueError, struct.error) as error:
        yield "devices", "device rules", shown, f"a rule that cannot be followed: {error}"
        return
    for one in beyond:
        yield "devices", "device rules", shown, f"allows {one}"


def _rule(said: Json) -> tuple[bool, Rule]:
    return bool(said["allow"]), (
        said.get("type", "a"),
        said.get("major", -1),
        said.get("minor", -1),
        said.get("access", "rwm"),
    )


def allowed(rules: Sequence[tuple[bool, Rule]], kind: str, major: int, minor: int, access: str) -> bool:
    """What a list of rules says about one access: the last one that matches, and nothing is allowed without one."""
    for allow, (of, first, second, letters) in reversed(rules):
        if of in ("a", kind) and first in (-1, major) and second in (-1, minor) and access in letters:
            return allow
    return False


@lru_cache(maxsize=256)
def _beyond_list(lines: tuple[str, ...], wanted: tuple[tuple[bool, Rule], ...]) -> tuple[str, ...]:
    """Version 1: a list of what is allowed."""
    live: list[tuple[bool, Rule]] = []
    for line in lines:
        match = _LINE.fullmatch(line)
        if not match:
            raise ValueError(f"not a device: {line[:40]!r}")
        numbers = [-1 if one == "*" else int(one) for one in match.group(2, 3)]
        live.append((True, (match[1], numbers[0], numbers[1], match[4])))
    numbers_of = {one for _, (_, major, minor, _) in (*live, *wanted) for one in (major, minor) if one >= 0}
    return _beyond(lambda *asked: allowed(live, *asked), wanted, numbers_of)


@lru_cache(maxsize=256)
def _beyond_programs(programs: tuple[str, ...], wanted: tuple[tuple[bool, Rule], ...]) -> tuple[str, ...]:
    """Version 2: all programs must allow; none at all allows everything."""
    parsed = [list(struct.iter_unpack("=BBhi", bytes.fromhex(one))) for one in programs]
    numbers = {one for _, (_, major, minor, _) in wanted for one in (major, minor) if one >= 0}
    # A program knows no other numbers than those it compares with, and their neighbours where it orders them.
    numbers |= {
        n for program in parsed for *_, value in program for n in (value - 1, value, value + 1) if 0 <= n < 1 << 20
    }

    def lets(kind: str, major: int, minor: int, access: str) -> bool:
        said = (ACCESS[access] << 16 | KINDS[kind], major, minor)
        return all(run(program, said) & 1 for program in parsed)

    return _beyond(lets, wanted, numbers)


def _beyond(
    lets: Callable[[str, int, int, str], bool], wanted: Sequence[tuple[bool, Rule]], numbers: set[int]
) -> tuple[str, ...]:
    other = max(numbers, default=0) + 7
    places = [other, *sorted(numbers)]
    found = []
    for kind in KINDS:
        first = next(
            (
                f"{kind} {'*' if major == other else major}:{'*' if minor == other else minor} {access}"
                for major in places
                for minor in places
                for access in ACCESS
                if lets(kind, major, minor, access) and not allowed(wanted, kind, major, minor, access)
            ),
            None,
        )
        if first:
            found.append(first)
    return tuple(found)


def run(program: Sequence[tuple[int, int, int, int]], context: tuple[int, int, int]) -> int:
    """What an extended BPF program answers about a device: `context` is access and kind, major, minor.

    Unfollowed for maps, calls, memory and whatever else such a program does without.
    """
    registers: dict[int, Any] = {1: context}
    at = 0
    for _ in range(_STEPS):
        if not 0 <= at < len(program):
            raise Unfollowed("it runs over its end")
        code, both, offset, value = program[at]
        target, source = both & 15, both >> 4
        kind, at = code & 7, at + 1
        if code == 0x95:
            return _number(registers.get(0)) & 0xFFFFFFFF
        if code == 0x05:
            at += offset
        elif kind == 1:
            registers[target] = _load(registers.get(source), code, offset)
        elif kind in (4, 7):
            other = registers.get(source) if code & 8 else value
            registers[target] = _computed(registers.get(target), other, code, 32 if kind == 4 else 64)
        elif kind in (5, 6):
            other = registers.get(source) if code & 8 else value
            if _jumps(_number(registers.get(target)), _number(other), code, 64 if kind == 5 else 32):
                at += offset
        else:
            raise Unfollowed(f"instruction {code:#x}")
    raise Unfollowed("it does not end")


def _number(value: Any) -> int:
    if type(value) is not int:
        raise Unfollowed("a register without a number")
    return value


def _load(base: Any, code: int, offset: int) -> int:
    """A load from the description of the device: three numbers of 32 bits."""
    width = {0x61: 4, 0x69: 2, 0x71: 1}.get(code)
    if type(base) is not tuple or width is None or not 0 <= offset <= 12 - width:
        raise Unfollowed(f"a load {code:#x} at {offset}")
    return int.from_bytes(struct.pack("=III", *base)[offset : offset + width], "little")


def _computed(one: Any, other: Any, code: int, bits: int) -> Any:
    operation = code & 0xF0
    if operation == 0xB0:
        return other if type(other) is tuple and bits == 64 else _number(other) % (1 << bits)
    left, right = _number(one) % (1 << bits), _number(other) % (1 << bits)
    answers: dict[int, Callable[[], int]] = {
        0x00: lambda: left + right,
        0x10: lambda: left - right,
        0x40: lambda: left | right,
        0x50: lambda: left & right,
        0x60: lambda: left << (right % bits),
        0x70: lambda: left >> (right % bits),
        0xA0: lambda: left ^ right,
    }
    if operation not in answers:
        raise Unfollowed(f"arithmetic {code:#x}")
    return answers[operation]() % (1 << bits)


def _jumps(left: int, right: int, code: int, bits: int) -> bool:
    left, right = left % (1 << bits), right % (1 << bits)
    answers = {
        0x10: left == right,
        0x20: left > right,
        0x30: left >= right,
        0x40: bool(left & right),
        0x50: left != right,
        0xA0: left < right,
        0xB0: left <= right,
    }
    if code & 0xF0 not in answers:
        raise Unfollowed(f"a jump {code:#x}")
    return answers[code & 0xF0]
