"""Attempts to get around the wrapper by spoiling what it rests on: bundle, disk, moment, interpreter."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from stockade.enforce.install import Installation, install

from tests.enforce import test_attempts_added as added
from tests.enforce import test_attempts_started as started
from tests.enforce.conftest import installed
from tests.enforce.containers import HARMLESS, Site, identity, judge

Spoil = Callable[[Path], Any]
SPOILS: list[tuple[str, Spoil]] = [
    ("changed", lambda b: (b / "containers/web/oci.json").write_text("{}")),
    (
        "of another type",
        lambda b: (b / "containers/web/oci.json").write_bytes((b / "containers/admin/oci.json").read_bytes()),
    ),
    (
        "another filter",
        lambda b: (b / "containers/web/seccomp.json").write_bytes((b / "containers/admin/seccomp.json").read_bytes()),
    ),
    ("missing", lambda b: (b / "containers/web/seccomp.json").unlink()),
    ("gone", lambda b: b.rename(b.with_name("elsewhere"))),
    ("writable by all", lambda b: (b / "containers/web").chmod(0o777)),
    ("a file writable by all", lambda b: (b / "containers/web/oci.json").chmod(0o666)),
    ("another's", lambda b: os.chown(b / "containers/web/oci.json", 1000, 1000)),
    ("another's folder", lambda b: os.chown(b / "containers", 1000, 1000)),
    (
        "a link",
        lambda b: (
            (b / "containers/web/oci.json").rename(b / "o"),
            (b / "containers/web/oci.json").symlink_to(b / "o"),
        ),
    ),
    (
        "a link to a folder",
        lambda b: ((b / "containers/web").rename(b / "w"), (b / "containers/web").symlink_to(b / "w")),
    ),
    ("a pipe", lambda b: ((b / "containers/web/oci.json").unlink(), os.mkfifo(b / "containers/web/oci.json"))),
]


@pytest.fixture(scope="module")
def other(place: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """An installation whose bundle may be spoiled."""
    return installed(tmp_path_factory.mktemp("spoiled"), bundle, "runc")


@pytest.mark.parametrize("spoil", [s for _, s in SPOILS], ids=[n for n, _ in SPOILS])
def test_a_bundle_that_cannot_be_trusted(spoil: Spoil, other: Site, tmp_path: Path) -> None:
    shutil.copytree(other.bundle, tmp_path / "kept")
    try:
        spoil(other.bundle)
        done = other.call("run", "--bundle", str(other.oci()), identity())
        assert done.returncode == 1 and "Cap" not in done.stdout
        assert "always-confined" in other.reasons()
    finally:
        shutil.rmtree(other.bundle, ignore_errors=True)
        shutil.copytree(tmp_path / "kept", other.bundle)
    # It was the spoiling, and nothing else, for which the container was refused.
    judge(other, other.call("run", "--bundle", str(other.oci()), identity()), HARMLESS)


def test_a_full_disk_leaves_the_old_specification_and_starts_nothing(runc: Site, tmp_path: Path) -> None:
    folder = runc.oci()
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "small", str(small)], check=True)
    try:
        before = (folder / "config.json").read_bytes()
        (small / "config.json").write_bytes(before)
        (small / "rootfs").symlink_to(folder / "rootfs")
        filler = os.open(small / "filler", os.O_WRONLY | os.O_CREAT)
        with pytest.raises(OSError, match="No space"):
            while True:
                os.write(filler, b"x" * 4096)
        os.close(filler)
        done = runc.call("run", "--bundle", str(small), identity())
        assert done.returncode == 1 and "cannot be written" in runc.reasons()
        assert (small / "config.json").read_bytes() == before
        assert sorted(path.name for path in small.iterdir()) == ["config.json", "filler", "rootfs"]
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_killed_at_any_moment_the_specification_is_whole(runc: Site) -> None:
    folder = runc.oci()
    before = (folder / "config.json").read_bytes()
    found = set()
    for step in range(25):
        (folder / "config.json").write_bytes(before)
        started = subprocess.Popen(
            [
                runc.launcher(),
                "--root",
                str(runc.state),
                "create",
                "--bundle",
                str(folder),
                "--console-socket",
                "/nonexistent",
                identity(),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(step * 0.0015)
        started.send_signal(signal.SIGKILL)
        started.wait()
        content = json.loads((folder / "config.json").read_bytes())
        found.add(content["process"].get("noNewPrivileges", False))
        assert content["process"]["args"] == json.loads(before)["process"]["args"]
    assert found == {False, True}, "the moments did not fall on both sides of the change"


def test_many_at_once(runc: Site) -> None:
    folders = [runc.oci() for _ in range(50)]
    with ThreadPoolExecutor(16) as pool:
        done = list(pool.map(lambda folder: runc.call("run", "--bundle", str(folder), identity()), folders))
    for one in done:
        judge(runc, one, HARMLESS)


def test_what_ends_a_container_needs_no_interpreter(place: Path, runc: Site, tmp_path: Path) -> None:
    install(
        Installation(
            str(runc.bundle),
            str(tmp_path / "prefix"),
            "/usr/sbin/runc",
            "/nonexistent/python",
            str(tmp_path / "log"),
            ("selinux",),
        )
    )
    site = Site(tmp_path, runc.bundle, "runc")
    site.state = runc.state
    name = identity()
    with Path(os.devnull).open("r+b") as nothing:
        quiet = {"capture_output": False, "stdin": nothing, "stdout": nothing, "stderr": nothing}
        assert (
            runc.call("run", "--detach", "--bundle", str(runc.oci(command="exec sleep 600")), name, **quiet).returncode
            == 0
        )
    assert json.loads(site.call("state", name).stdout)["status"] == "running"
    assert site.call("kill", name, "KILL").returncode == 0
    assert site.call("delete", "--force", name).returncode == 0
    assert site.call("--version").returncode == 0
    refused = site.call("run", "--bundle", str(runc.oci()), identity())
    assert refused.returncode == 1 and "does not start" in site.reasons()


def test_there_are_sixty_attempts_and_more() -> None:
    lists = (added.PROCESSES, added.EXECS, added.UPDATES, started.CONFIGS, started.SPELLINGS, started.BAD_CALLS)
    assert sum(map(len, lists)) + len(started.ENVIRONMENTS) + len(SPOILS) >= 60
