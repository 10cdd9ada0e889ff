"""`stockade audit --watch`: judges a host again when its mounts, SELinux or waivers change, until told to stop."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stockade.cli.audit_output import show
from stockade.cli.output import Stop, message, text

if TYPE_CHECKING:
    from stockade.audit.facts.host import Host
    from stockade.audit.report.model import Report

INTERVAL: Final = 1.0
"""Seconds after which a change of SELinux is seen, and the least time between two judgements."""
_SETTLE: Final = 0.2
"""Seconds that mounts have to come to rest: whoever mounts one thing mounts the next."""
_SHARE: Final = 10
"""A host that changes all the time is judged for at most one part in this many of the time."""
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def watch(
    opened: Callable[[], Host],
    judged: Callable[[Host], Report],
    tell: Callable[[Report, Report | None, tuple[str, ...]], None],
    interval: float = INTERVAL,
) -> int:
    """Judges now and after each change, and tells of each: the report, the one before, and what had changed.

    Ends at a signal to stop (TERM, INT, HUP), with the exit code of the last report; by Stop where there is nothing to
    watch, or the host can no longer be read.
    """
    from stockade.audit.waivers import end
    from stockade.audit.watch import Watch, rest

    last: Report | None = None
    what: tuple[str, ...] = ()
    with _stopped() as stop:
        while True:
            with opened() as host, Watch(host) as seen:
                if seen.fault:
                    raise Stop(f"{seen.fault.path}: {seen.fault.why}: mounts cannot be watched")
                if last is None and not seen.sees_selinux:
                    message("there is no status page of SELinux here: mounts alone are watched")
                began = time.monotonic()
                report = judged(host)
                took = time.monotonic() - began
                tell(report, last, what)
                last = report
                what = seen.wait(stop, interval, end(report.results))
                if not what:
                    return report.answer
                again = began + took + max(interval, (_SHARE - 1) * took)
                if not rest(stop, max(_SETTLE, again - time.monotonic())):
                    return report.answer
                what = (*seen.changed(), *(one for one in what if one == "waivers"))


@contextmanager
def _stopped() -> Iterator[int]:
    """A descriptor that can be read as soon as a signal to stop has come."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    waker = signal.set_wakeup_fd(write)
    before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
    try:
        yield read
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(waker)
        os.close(read)
        os.close(write)


def teller(form: str, verbose: bool, output: Path | None) -> Callable[[Report, Report | None, tuple[str, ...]], None]:
    """How each report is told of: into a file whole each time; else as a line of JSON each; else what has changed."""

    def tell(report: Report, last: Report | None, what: tuple[str, ...]) -> None:
        if output is not None:
            show(report, form, verbose, output)
        elif form == "json":
            sys.stdout.write(json.dumps(report.as_dict(), allow_nan=False, separators=(",", ":")) + "\n")
        elif last is None:
            show(report, form, verbose, None)
        else:
            _news(report, last, what)
        sys.stdout.flush()

    return tell


def _news(report: Report, last: Report, what: tuple[str, ...]) -> None:
    from stockade.audit import drift

    changes = drift.rules(last, report)
    when = time.strftime("%H:%M:%S", time.gmtime(report.judged))
    text(f"{when} UTC: {' and '.join(what)} changed: {len(changes) or 'no'} other verdicts")
    for change in changes:
        text(f"{change.turn:<8}{change}")
