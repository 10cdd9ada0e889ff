"""`stockade audit --watch`: woken by a mount and by the status page, told to stop by a signal, idle in between."""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from stockade.audit.facts.host import Host
from stockade.audit.report.model import HostIdentity, Report, Result, Status
from stockade.audit.waivers import Waiver, waived
from stockade.audit.watch import Watch
from stockade.cli import audit_watch
from stockade.cli.main import main
from stockade.cli.output import Stop

from .trees import file_system

QUIET, LOUD = struct.pack("=5I", 1, 4, 1, 7, 1), struct.pack("=5I", 1, 6, 0, 7, 1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    host = tmp_path / "host"
    for name, content in {"proc/1/mountinfo": b"", "sys/fs/selinux/status": QUIET.ljust(4096, b"\0")}.items():
        path = host / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return host


@pytest.fixture
def opened(root: Path) -> Callable[[], Host]:
    return lambda: Host(str(root), "live", file_system)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def write(root: Path, content: bytes) -> None:
    """Writes the page as the kernel does: the same page, in its place."""
    with (root / "sys/fs/selinux/status").open("r+b") as file:
        file.write(content)


def test_the_status_page_is_seen(root: Path, opened: Callable[[], Host], pipe: tuple[int, int]) -> None:
    with opened() as host, Watch(host) as seen:
        assert seen.changed() == () and seen.fault is None and seen.sees_selinux
        threading.Timer(0.1, write, (root, LOUD)).start()
        assert seen.wait(pipe[0], 0.05) == ("SELinux",)
    with opened() as host, Watch(host) as seen:
        assert seen.changed() == ()
        os.write(pipe[1], b"x")
        assert seen.wait(pipe[0], 60) == ()


def test_waiting_costs_a_wake_up_an_interval(
    opened: Callable[[], Host], pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    class Counted:
        def __init__(self) -> None:
            self.register, self.real = (real := plain()).register, real

        def poll(self, milliseconds: float) -> list[tuple[int, int]]:
            asked.append(milliseconds)
            return self.real.poll(milliseconds)

    plain = select.poll
    monkeypatch.setattr(select, "poll", Counted)
    with opened() as host, Watch(host) as seen:
        threading.Timer(0.5, os.write, (pipe[1], b"x")).start()
        began = time.process_time()
        assert seen.wait(pipe[0], 0.1) == ()
        assert time.process_time() - began < 0.1
    assert 4 <= sum(one > 0 for one in asked) <= 7


def test_where_mounts_cannot_be_watched_it_ends(root: Path, opened: Callable[[], Host]) -> None:
    (root / "proc/1/mountinfo").unlink()
    with pytest.raises(Stop, match="mounts cannot be watched"):
        audit_watch.watch(opened, lambda host: pytest.fail("judged"), lambda *_: None)


def report(status: Status) -> Report:
    result = Result("r", "T", "high", ("all",), status, "m")
    return Report("all", HostIdentity("live", "node"), (result,), None, 1, 2, "0")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_judges_after_a_change_and_stops_at_a_signal(
    root: Path, opened: Callable[[], Host], number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[tuple[Report, tuple[str, ...]]] = []
    tell = audit_watch.teller("text", False, None)
    verdicts = iter([Status.PASS, Status.FAIL])

    def judged(host: Host) -> Report:
        return report(next(verdicts))

    def next_one(now: Report, last: Report | None, what: tuple[str, ...]) -> None:
        tell(now, last, what)
        told.append((now, what))
        if last is None:
            write(root, LOUD)
        else:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    assert audit_watch.watch(opened, judged, next_one, interval=0.05) == 1
    assert [what for _, what in told] == [(), ("SELinux",)]
    assert signal.getsignal(number) is before and signal.set_wakeup_fd(-1) == -1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["00:00:02 UTC: SELinux changed: 1 other verdicts", "worse   r: pass, now fail: m"]


def test_a_change_while_it_judges_is_not_missed(root: Path, opened: Callable[[], Host]) -> None:
    told: list[tuple[str, ...]] = []

    def judged(host: Host) -> Report:
        write(root, LOUD)
        return report(Status.PASS)

    def tell(now: Report, last: Report | None, what: tuple[str, ...]) -> None:
        told.append(what)
        if last is not None:
            os.kill(os.getpid(), signal.SIGTERM)

    assert audit_watch.watch(opened, judged, tell, interval=0.05) == 0
    assert told == [(), ("SELinux",)]


def test_a_waiver_that_ends_is_judged_again(
    opened: Callable[[], Host], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The day is over a moment after the first verdict: what nobody answers for any more is a failure."""
    monkeypatch.setattr(time, "time", lambda: LAST + time.monotonic() - began)
    began = time.monotonic()
    told: list[tuple[str, ...]] = []
    tell = audit_watch.teller("text", False, None)
    pin = Waiver("r", "ann", "known", date(2027, 1, 31), "node", "")

    def judged(host: Host) -> Report:
        now = int(time.time())
        said = report(Status.FAIL)
        return replace(said, results=waived(said.results, [pin], said.host, now)[0], judged=now)

    def next_one(now: Report, last: Report | None, what: tuple[str, ...]) -> None:
        tell(now, last, what)
        told.append(what)
        if last is not None:
            os.kill(os.getpid(), signal.SIGTERM)

    assert audit_watch.watch(opened, judged, next_one, interval=0.05) == 1
    assert told == [(), ("waivers",)]
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == "00:00:00 UTC: waivers changed: 1 other verdicts"
    assert "r: waived, now fail: m; the waiver of ann expired on 2027-01-31" in lines[-1]


LAST = datetime(2027, 1, 31, 23, 59, 59, 700_000, UTC).timestamp()
DRIVER = """
import json, signal, subprocess, sys
command = [sys.executable, "-m", "stockade.cli.main", "audit", "--watch", "--no-walk", "--format", "json"]
child = subprocess.Popen(command + ["--rule", "ground-nothing-over-kernel-files"], stdout=subprocess.PIPE)
said = [json.loads(child.stdout.readline())]
subprocess.run(["mount", "--bind", "/dev/null", "/proc/version"], check=True)
said.append(json.loads(child.stdout.readline()))
subprocess.run(["umount", "/proc/version"], check=True)
said.append(json.loads(child.stdout.readline()))
child.send_signal(signal.SIGTERM)
code = child.wait(20)
print(json.dumps({"code": code, "rest": len(child.stdout.read()), "said": said}))
"""


def test_a_mount_in_a_mount_namespace_wakes_it() -> None:
    """The host is a namespace of its own, whose first process this script is: with a procfs over the one above."""
    words = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", sys.executable, "-c", DRIVER]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    first, second, third = (set(one["results"][0].get("findings", ())) for one in found["said"])
    assert [finding for finding in second - first if "/proc/version" in finding] and first == third < second
    assert (found["code"], found["rest"]) == (1, 0)


@pytest.mark.parametrize(
    "words",
    [["--facts", "x.json"], ["--collect"], ["--format", "junit"], ["--format", "prometheus"]],
)
def test_what_cannot_be_watched_is_refused(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--watch", *words]) == 2
    assert "--watch" in capfd.readouterr().err


def test_an_image_does_not_change(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--watch", "--root", str(tmp_path)]) == 3
    assert "an image does not change" in capfd.readouterr().err


def test_a_file_is_written_whole_each_time(tmp_path: Path) -> None:
    tell = audit_watch.teller("prometheus", False, tmp_path / "metrics")
    for status in (Status.PASS, Status.FAIL):
        tell(report(status), None, ())
        assert f'status="{status}"}} 1' in (tmp_path / "metrics").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics"]
