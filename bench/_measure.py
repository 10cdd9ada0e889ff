"""Measures commands in pairs: both in every round, in alternating order, so that a noisy machine is noisy to both."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """One run of a command: wall-clock seconds, and the peak resident set in bytes of its largest process.

    `busy` are the processor's seconds, all of its processes together: what it takes where nobody else is at work.
    """

    seconds: float
    peak: int
    busy: float


class CommandFailed(Exception):
    """A measured command ended with another code than 0; the text holds what it said."""


# The kernel counts the memory of the process that calls exec as the new program's. So a bare interpreter starts the
# program: what cannot be told from its own few megabytes is `floor()`.
STARTER = """
import os, sys, time
began = time.perf_counter()
null = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
_, status, usage = os.wait4(os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=null), 0)
busy = usage.ru_utime + usage.ru_stime
print(time.perf_counter() - began, usage.ru_maxrss * 1024, os.waitstatus_to_exitcode(status), busy)
"""


def run(command: Sequence[str]) -> Run:
    """Run `command`, silent, and measure it; what it wrote to standard error is in the error when it fails."""
    starter = [sys.executable, "-I", "-S", "-c", STARTER, *command]
    ran = subprocess.run(starter, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise CommandFailed(f"{command[0]} does not start: {ran.stderr.strip().splitlines()[-1]}")
    seconds, peak, code, busy = ran.stdout.split()
    if int(code):
        raise CommandFailed(f"{' '.join(command)}: ended with {code}\n{ran.stderr.strip()}")
    return Run(float(seconds), int(peak), float(busy))


def floor() -> float:
    """The least peak memory that `run` can tell, in megabytes."""
    return megabytes(run(["true"]))


def pairs(ours: Callable[[], Run], theirs: Callable[[], Run], rounds: int) -> list[tuple[Run, Run]]:
    """`rounds` pairs (ours, theirs) after one unmeasured pair; who goes first alternates."""
    ours(), theirs()
    measured = []
    for number in range(rounds):
        if number % 2:
            second = theirs()
            measured.append((ours(), second))
        else:
            measured.append((ours(), theirs()))
    return measured


def ratio(measured: Sequence[tuple[Run, Run]]) -> tuple[float, float, float]:
    """The median of each pair's ratio of seconds, and the bounds between which that of endless pairs is, in 19 of 20.

    The bounds are two of the ratios themselves, by their rank alone: nothing is assumed of how the noise is spread.
    """
    ratios = sorted(ours.seconds / theirs.seconds for ours, theirs in measured)
    aside = round(0.98 * len(ratios) ** 0.5)
    middle = len(ratios) // 2
    return statistics.median(ratios), ratios[max(0, middle - aside)], ratios[min(len(ratios) - 1, middle + aside)]


def line(what: str, measured: Sequence[tuple[Run, Run]], value: Callable[[Run], float], unit: str) -> str:
    """One printed figure: both medians, the median of the ratios of each pair, and how far those ratios spread."""
    ratios = sorted(value(ours) / value(theirs) for ours, theirs in measured)
    ours, theirs = (statistics.median(value(pair[side]) for pair in measured) for side in (0, 1))
    return (
        f"{what:<28} {ours:9.1f} {unit} against {theirs:9.1f} {unit}"
        f"   ratio {statistics.median(ratios):6.2f}   ({ratios[0]:.2f} to {ratios[-1]:.2f}, {len(ratios)} pairs)"
    )


def milliseconds(run_: Run) -> float:
    return run_.seconds * 1000


def megabytes(run_: Run) -> float:
    return run_.peak / 1e6


def stockade(*words: str) -> list[str]:
    """The command line of the `stockade` that belongs to this interpreter."""
    return [sys.executable, "-m", "stockade.cli.main", *words]
