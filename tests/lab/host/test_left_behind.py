"""A run that is killed leaves no process, and its folder is gone after the next run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from stockade.lab import tools, uml
from stockade.lab.host import Image

BOOT = """
import sys
from pathlib import Path
from stockade.lab.host import Image, Task, run
from stockade.lab.host.verity import Verity
folder, blocks, root_hash = sys.argv[1:]
run(Image(Path(folder), Verity(int(blocks), root_hash), 0), [Task(("/usr/bin/containerd-lab", "sleep", "50"))])
"""


def guests(folder: Path) -> list[int]:
    """The processes whose working folder is below `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").readlink().is_relative_to(folder):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def waited(condition: Callable[[], object], seconds: float = 40) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder for the guests' own, where their user can come as well."""
    with tempfile.TemporaryDirectory(prefix="stockade-place-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def programs(folder: Path) -> list[int]:
    """Those of `guests` that are programs of the guest, which its kernel traces."""
    found = []
    for number in guests(folder):
        with suppress(OSError):
            if Path(f"/proc/{number}/stat").read_text().rpartition(") ")[2].startswith("t"):
                found.append(number)
    return found


def at_rest(folder: Path) -> bool:
    """Whether PID 1, its watch, the runner and the task that sleeps are there, and none of them does anything."""
    before = programs(folder)
    time.sleep(1)
    return len(before) >= 4 and programs(folder) == before


@pytest.mark.parametrize("until", [guests, programs, at_rest], ids=["kernel", "first program", "sleeping task"])
def test_a_killed_run(
    image: Image, place: Path, monkeypatch: pytest.MonkeyPatch, until: Callable[[Path], object]
) -> None:
    command = [sys.executable, "-c", BOOT, image.folder, str(image.seal.blocks), image.seal.root_hash]
    process = subprocess.Popen(command, env={**os.environ, "TMPDIR": str(place)})
    try:
        assert waited(lambda: until(place))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert waited(lambda: not guests(place)), guests(place)
    assert list(place.iterdir())  # nobody was left to remove it
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with uml.work_folder(tools.drop()) as work:
        assert list(place.iterdir()) == [work]
    assert list(place.iterdir()) == []


def test_a_living_run_keeps_its_folder() -> None:
    drop = tools.drop()
    with uml.work_folder(drop) as one, uml.work_folder(drop) as other:
        assert one.is_dir()
        assert other.is_dir()
