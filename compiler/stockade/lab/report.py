"""Reads what the guest reports on its own channel: every line in its place, or no result at all."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass

_CONTEXT = r"\w+(?::[\w.,-]+){3,5}"
_DONE = 64
_FAULTS = {
    201: "ran in another context than the one asked for",
    202: "was asked for an operation the guest does not know",
    203: "could not fork the probe after it",
}


class ReportError(Exception):
    """The guest's report is not what a whole run leaves: the text says where it departs."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one probe ended. `errno` is 0 when the operation was done; None without an answer, and `fault` says why."""

    pid: int
    errno: int | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """The facts of one run; `enforcing` as read before the first probe and after the last."""

    policy_bytes: int
    kernel: str
    enforcing: tuple[bool, bool]
    init: str
    runtime: str
    attempts: tuple[Attempt, ...]


def parse(text: str, probes: int) -> Report:
    """A whole report of exactly `probes` attempts in order; anything less, more or else is a `ReportError`."""
    if not text.endswith("\n"):
        raise ReportError(f"the guest's report breaks off: {_last(text)}")
    lines = iter(text[:-1].split("\n"))

    def take(pattern: str) -> re.Match[str]:
        line = next(lines, None)
        if line is None:
            raise ReportError(f"the guest's report ends where {pattern!r} should follow: {_last(text)}")
        match = re.fullmatch(pattern, line)
        if match is None:
            raise ReportError(f"the guest reported {line!r} where {pattern!r} should stand")
        return match

    take("stockade-lab 1")
    policy = int(take(r"policy (\d+)")[1])
    kernel = take(r"kernel ([\w.+~-]+)")[1]
    before = take("enforcing ([01])")[1] == "1"
    init = take(rf"init ({_CONTEXT})")[1]
    runtime = take(rf"runtime ({_CONTEXT})")[1]
    attempts = tuple(_attempt(take(rf"probe {number} (\d+) (exit|signal|exec|lost) (\d+)")) for number in range(probes))
    take("launcher 0")
    after = take("enforcing ([01])")[1] == "1"
    take("end")
    left = next(lines, None)
    if left is not None:
        raise ReportError(f"the guest reported {left!r} after its end")
    return Report(policy, kernel, (before, after), init, runtime, attempts)


def _attempt(match: re.Match[str]) -> Attempt:
    pid, ending, value = int(match[1]), match[2], int(match[3])
    if ending == "signal":
        return Attempt(pid, None, f"ended by signal {value}")
    if ending == "exec":
        return Attempt(pid, None, f"could not enter its context: {_name(value)}")
    if ending == "lost":
        return Attempt(pid, None, "never ran: the probe before it could not start it")
    if value in _FAULTS:
        return Attempt(pid, None, _FAULTS[value])
    if value == _DONE or value - _DONE in errno.errorcode:
        return Attempt(pid, value - _DONE)
    return Attempt(pid, None, f"ended with status {value}, which says nothing")


def _name(value: int) -> str:
    return f"{errno.errorcode.get(value, value)} ({os.strerror(value)})"


def _last(text: str) -> str:
    lines = text.split("\n")
    return f"the last of {len(lines) - 1} lines is {lines[-2 if lines[-1] == '' else -1]!r}" if text else "it is empty"
