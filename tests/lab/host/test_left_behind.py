"""A run that is killed leaves no process, and its folder is gone after the next run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
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


def waited(condition: object, seconds: float = 60) -> bool:
    assert callable(condition)
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


@pytest.mark.parametrize(
    ("processes", "when"),
    [(1, "before or while the kernel boots"), (6, "while its programs run")],
    ids=["boot", "task"],
)
def test_a_killed_run(image: Image, place: Path, monkeypatch: pytest.MonkeyPatch, processes: int, when: str) -> None:
    command = [sys.executable, "-c", BOOT, image.folder, str(image.seal.blocks), image.seal.root_hash]
    process = subprocess.Popen(command, env={**os.environ, "TMPDIR": str(place)})
    try:
        assert waited(lambda: len(guests(place)) >= processes), f"never seen {when}"
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
