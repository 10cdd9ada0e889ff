"""`lab prove`: hosts on which every action is tried in every container type, whole and with layers taken away."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from stockade.bundle.actions import Catalogue, catalogue
from stockade.bundle.read import Bundle
from stockade.lab.host import HostFailed, HostRun, Image, run
from stockade.lab.trial.judge import Judged, Outcome, Predicted, TrialError, judge, outcomes
from stockade.lab.trial.plan import Case, cases, files, tasks
from stockade.lab.trial.settings import ALL, NOTHING, Setting


@dataclass(frozen=True, slots=True)
class Proof:
    """A trial that ended: what was found, how long it took in seconds, and the hosts it was found on."""

    judged: Judged
    types: tuple[str, ...]
    settings: tuple[Setting, ...]
    seconds: float
    hosts: tuple[HostRun, ...]


def prove(
    bundle: Bundle,
    image: Image,
    predicted: Predicted,
    *,
    types: Iterable[str] = (),
    settings: Sequence[Setting] = ALL,
    guests: int | None = None,
    timeout: float = 330,
) -> Proof:
    """Try every action of `bundle` in containers of `types`, or of all types, on hosts of `image`.

    The image is one of this bundle's, with what `plan.addition` says.
    Where SELinux is taken away the host is permissive; so there are two kinds of hosts, and of each kind one for every
    second processor, up to four in all. `guests` is how many run at once, one for each processor when not said.
    `timeout` is in seconds. LabMissing, BundleError, or TrialError where there is no answer.
    """
    started = time.monotonic()
    known = catalogue(bundle)
    chosen = tuple(sorted(types)) or bundle.types
    todo = cases(bundle, chosen, settings)
    # What every layer was taken from is tried once, in any type: it shows that a probe can succeed at all.
    todo.append(Case(chosen[0], NOTHING))
    count = max(1, min(guests or os.cpu_count() or 1, 4))
    shares = []
    for enforcing in (True, False):
        same = [case for case in todo if case.setting.enforcing == enforcing]
        each = max(1, min(count // 2, len(same)))
        shares += [same[number::each] for number in range(each) if same]
    with ThreadPoolExecutor(count) as pool:
        hosts = tuple(pool.map(lambda share: _host(bundle, known, image, share, timeout), shares))
    found: dict[tuple[Case, str], Outcome] = {}
    for host, share in zip(hosts, shares, strict=True):
        found |= outcomes(host, share, known.actions)
    judged = judge(found, known.actions, predicted)
    return Proof(judged, chosen, tuple(settings), time.monotonic() - started, hosts)


def _host(bundle: Bundle, known: Catalogue, image: Image, share: Sequence[Case], timeout: float) -> HostRun:
    enforcing = share[0].setting.enforcing
    todo, laid = tasks(bundle, known, share), files(bundle, known, share)
    try:
        return run(image, todo, files=laid, containerd=True, enforcing=enforcing, timeout=timeout)
    except HostFailed as error:
        raise TrialError(str(error)) from error
