"""`lab prove`: guests in which every action is tried in every container type, whole and with layers taken away."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from stockade.bundle.actions import Catalogue, catalogue
from stockade.bundle.read import Bundle
from stockade.lab import tools, uml
from stockade.lab.trial.judge import Judged, Outcome, Predicted, TrialError, judge, parse
from stockade.lab.trial.plan import Case, cases, initramfs
from stockade.lab.trial.settings import ALL, NOTHING, Setting

MEMORY = "768M"


@dataclass(frozen=True, slots=True)
class Proof:
    """A trial that ended: what was found, how long it took, and the consoles of its guests."""

    judged: Judged
    types: tuple[str, ...]
    settings: tuple[Setting, ...]
    seconds: float
    consoles: tuple[str, ...]


def prove(
    bundle: Bundle,
    policy: bytes,
    predicted: Predicted,
    *,
    types: Iterable[str] = (),
    settings: Sequence[Setting] = ALL,
    guests: int | None = None,
    timeout: float = 330,
) -> Proof:
    """Try every action of `bundle` in containers of `types`, or of all types, under the kernel policy `policy`.

    The containers are shared out among `guests` that run at once, one for each processor and never more than four.
    `timeout` is in seconds. LabMissing, BundleError, or TrialError where there is no answer.
    """
    started = time.monotonic()
    known = catalogue(bundle)
    chosen = tuple(sorted(types)) or bundle.types
    found = tools.find()
    todo = cases(bundle, chosen, settings)
    count = max(1, min(guests or os.cpu_count() or 1, 4, len(todo)))
    # What every layer was taken from is tried once: it shows that a probe can succeed at all.
    shares = [[*todo[number::count]] for number in range(count)]
    shares[0].append(Case(_most_trusted(bundle, chosen), NOTHING))
    with ThreadPoolExecutor(count) as pool:
        parts = list(pool.map(lambda share: _guest(bundle, known, policy, found, share, timeout), shares))
    outcomes: dict[tuple[Case, str], Outcome] = {}
    for part, _ in parts:
        outcomes |= part
    judged = judge(outcomes, known.actions, predicted)
    seconds = time.monotonic() - started
    return Proof(judged, chosen, tuple(settings), seconds, tuple(console for _, console in parts))


def _most_trusted(bundle: Bundle, types: Sequence[str]) -> str:
    """Any type will do where nothing confines it; the same one always."""
    return types[0] if types else bundle.types[0]


def _guest(
    bundle: Bundle, known: Catalogue, policy: bytes, found: tools.Tools, share: Sequence[Case], timeout: float
) -> tuple[dict[tuple[Case, str], Outcome], str]:
    drop = tools.drop()
    with uml.work_folder(drop) as work:
        initrd = work / "initramfs.cpio"
        initrd.write_bytes(initramfs(bundle, known, policy, found, share))
        drop.own(initrd)
        ran = uml.run(found, work, drop, initrd=initrd, disks=[], timeout=timeout, memory=MEMORY)
    if ran.status is None:
        raise TrialError(f"the guest was stopped after {timeout:g} s; the console says: {_last(ran.console)}")
    try:
        return parse(ran.report, share, known.actions), ran.console
    except TrialError as error:
        raise TrialError(f"{error}; the console says: {_last(ran.console)}") from error


def _last(console: str) -> str:
    lines = [line.strip() for line in console.splitlines() if line.strip() and "avc:" not in line]
    return " | ".join(lines[-3:]) or "nothing"
