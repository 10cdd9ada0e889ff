"""What stood at the target before survives every failure of a build, wherever it comes."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import stockade.bundle.write as room
from stockade.bundle.manifest import BundleError
from stockade.bundle.read import read, verify
from stockade.bundle.write import Artefact, write

OLD = (
    Artefact("host/policy.cil", b"old", "text/plain"),
    Artefact("containers/web/oci.json", b"{}", "application/json"),
)
NEW = (Artefact("host/policy.cil", b"new" * 1000, "text/plain"), Artefact("host/more", b"more", "text/plain"))


def put(directory: Path, artefacts: Any) -> None:
    write(
        directory,
        artefacts,
        policy_name="fortified",
        policy_version="1",
        source_digest="0" * 64,
        compiler_digest="1" * 64,
    )


def state(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def neighbours(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.parent.iterdir() if path != directory)


@pytest.fixture(params=["exchange", "two renames"])
def target(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle, on a filesystem with or without the exchange of names."""
    if request.param == "two renames":
        monkeypatch.setattr(room, "_exchange", lambda one, other: False)
    put(tmp_path / "build", OLD)
    return tmp_path / "build"


def test_replacing(target: Path) -> None:
    put(target, NEW)
    assert verify(target) == []
    assert read(target).bytes("host/more") == b"more"
    assert neighbours(target) == []


def test_the_exchange_works_here(tmp_path: Path) -> None:
    """Otherwise half of the tests above would try the same thing twice."""
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert room._exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a/b").exists()
    with pytest.raises(FileNotFoundError):
        room._exchange(tmp_path / "a", tmp_path / "nothing")


def failing(real: Callable[..., Any], after: int, number: int) -> tuple[Callable[..., Any], list[int]]:
    """`real`, but the call after `after` others fails, once."""
    count = [0]

    def call(*arguments: Any, **options: Any) -> Any:
        count[0] += 1
        if count[0] == after + 1:
            raise OSError(number, os.strerror(number))
        return real(*arguments, **options)

    return call, count


FAILURES = [("fsync", errno.ENOSPC), ("fsync", errno.EIO), ("rename", errno.EIO), ("write", errno.ENOSPC)]


@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize(("name", "number"), FAILURES)
def test_an_error_at_any_call(
    target: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int, existing: bool
) -> None:
    if not existing:
        target = target.with_name("other")
    before = state(target)
    failed = 0
    for after in range(40):
        call, count = failing(getattr(os, name), after, number)
        with monkeypatch.context() as patch:
            patch.setattr(os, name, call)
            try:
                put(target, NEW)
            except BundleError as error:
                assert os.strerror(number) in error.reason
                failed += 1
            else:
                break
        assert count[0] > after
        assert state(target) == before
        assert [entry for entry in neighbours(target) if entry != "build"] == []
    else:
        pytest.fail("never came to an end")
    uses_rename = not existing or room._exchange.__name__ == "<lambda>"
    assert failed >= (0 if name == "rename" and not uses_rename else 1 if name == "rename" else 3)
    assert verify(target) == []
    assert read(target).bytes("host/more") == b"more"


CHILD = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import stockade.bundle.write as room
stop, count = int(sys.argv[2]), 0
def counted(real):
    def call(*arguments, **options):
        global count
        count += 1
        if count == stop:
            os.kill(os.getpid(), 9)
        return real(*arguments, **options)
    return call
for name in ("fsync", "rename", "write", "fchmod"):
    setattr(os, name, counted(getattr(os, name)))
if sys.argv[4] == "two renames":
    room._exchange = lambda one, other: False
room.shutil.rmtree = counted(room.shutil.rmtree)
room.write(Path(sys.argv[1]), [room.Artefact("host/policy.cil", b"new", "text/plain")],
    policy_name="fortified", policy_version="1", source_digest="0" * 64, compiler_digest="1" * 64)
"""


@pytest.mark.parametrize("way", ["exchange", "two renames"])
def test_killed_at_any_call(tmp_path: Path, way: str) -> None:
    """Old or new, whole, at every moment; and the next build clears up."""
    compiler = str(Path(room.__file__).parents[2])
    target = tmp_path / "build"
    seen = set()
    for stop in range(1, 40):
        put(target, OLD)
        assert neighbours(target) == []
        run = subprocess.run([sys.executable, "-I", "-c", CHILD, str(target), str(stop), compiler, way], check=False)
        if target.exists():
            assert verify(target) == []
            seen.add(read(target).bytes("host/policy.cil"))
        else:
            # Only between the two renames, and then the old bundle stands beside, whole.
            assert way == "two renames"
            assert verify(target.with_name(".build.stockade-old")) == []
            seen.add(b"aside")
        if run.returncode == 0:
            break
        assert run.returncode == -signal.SIGKILL
    else:
        pytest.fail("never came to an end")
    assert seen == ({b"old", b"new"} if way == "exchange" else {b"old", b"new", b"aside"})


def test_two_builds_at_once(target: Path) -> None:
    place = target.with_name(".build.stockade-new")
    place.mkdir()
    (place / "half").touch()
    descriptor = os.open(place, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    before = state(target)
    with pytest.raises(BundleError, match="another build is writing"):
        put(target, NEW)
    assert (place / "half").exists()
    assert state(target) == before
    os.close(descriptor)
    put(target, NEW)
    assert neighbours(target) == []


def test_many_builds_at_once(tmp_path: Path) -> None:
    """Each ends with a whole bundle or says that another one is writing."""
    compiler = str(Path(room.__file__).parents[2])
    target = tmp_path / "build"
    code = CHILD.replace("\nroom.write(", "\nfor _ in range(15):\n  try:\n    room.write(", 1).replace(
        '"1" * 64)', '"1" * 64)\n  except room.BundleError as error:\n    assert "another build" in error.reason, error'
    )
    arguments = [sys.executable, "-I", "-c", code, str(target), "0", compiler, "exchange"]
    builds = [subprocess.Popen(arguments) for _ in range(3)]
    ends = time.monotonic() + 30
    while any(build.poll() is None for build in builds):
        assert time.monotonic() < ends
        time.sleep(0.01)
    assert [build.returncode for build in builds] == [0, 0, 0]
    assert verify(target) == []
    assert neighbours(target) == []


@pytest.fixture(params=["files", "foreign manifest", "extra file", "damaged", "a file"])
def foreign(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    place = tmp_path / "home"
    reason = ""
    match request.param:
        case "files":
            place.mkdir()
            (place / "thesis.txt").write_text("years of work")
            reason = "neither empty nor a bundle"
        case "foreign manifest":
            place.mkdir()
            (place / "manifest.json").write_text('{"manifest_version": 3}')
            reason = "another program's"
        case "extra file":
            put(place, OLD)
            (place / "containers/thesis.txt").write_text("years of work")
            reason = r"holds containers/thesis\.txt"
        case "damaged":
            put(place, OLD)
            with (place / "manifest.json").open("a") as file:
                file.write("}")
            reason = "damaged"
        case "a file":
            place.write_text("years of work")
            reason = "not a folder"
    yield place, reason


def test_what_is_not_ours_is_not_replaced(foreign: tuple[Path, str]) -> None:
    place, reason = foreign
    before = state(place) if place.is_dir() else place.read_bytes()
    with pytest.raises(BundleError, match=reason):
        put(place, NEW)
    assert (state(place) if place.is_dir() else place.read_bytes()) == before
    assert neighbours(place) == []


def test_targets_that_are_fine(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    put(tmp_path / "empty", NEW)
    put(tmp_path / "deep/er", NEW)
    (tmp_path / "link").symlink_to("empty")
    put(tmp_path / "link", OLD)
    assert (tmp_path / "link").is_symlink()
    assert read(tmp_path / "empty").bytes("host/policy.cil") == b"old"
    assert verify(tmp_path / "deep/er") == []


def test_a_link_in_the_place_of_the_temporary_folder(target: Path) -> None:
    elsewhere = target.with_name("elsewhere")
    elsewhere.mkdir()
    (elsewhere / "thesis.txt").touch()
    target.with_name(".build.stockade-new").symlink_to(elsewhere)
    with pytest.raises(BundleError, match="in the way"):
        put(target, NEW)
    assert (elsewhere / "thesis.txt").exists()


@pytest.mark.parametrize("path", ["/etc/passwd", "../up", "a/../b", "manifest.json", "", "a//b"])
def test_a_path_that_leaves_the_bundle(tmp_path: Path, path: str) -> None:
    with pytest.raises(BundleError, match="path"):
        put(tmp_path / "build", [Artefact(path, b"", "text/plain")])
    assert list(tmp_path.iterdir()) == []


def test_one_path_twice(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="twice"):
        put(tmp_path / "build", [*NEW, *NEW])
    assert list(tmp_path.iterdir()) == []


def test_the_root_is_no_target() -> None:
    with pytest.raises(BundleError, match="root of the filesystem"):
        put(Path("/"), NEW)


def test_what_a_killed_build_moved_aside_comes_back_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "build"
    put(target, OLD)
    before = state(target)
    target.rename(target.with_name(".build.stockade-old"))
    monkeypatch.setattr(os, "fsync", failing(os.fsync, 0, errno.ENOSPC)[0])
    with pytest.raises(BundleError):
        put(target, NEW)
    assert state(target) == before
    assert neighbours(target) == []


def test_another_users_folder_is_left_alone(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = target.with_name(".build.stockade-new")
    place.mkdir()
    (place / "theirs").touch()
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    with pytest.raises(BundleError, match="another user"):
        put(target, NEW)
    assert (place / "theirs").exists()


def test_a_folder_that_is_renamed_before_it_is_locked(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when another build finishes in between: this one starts over with a folder of its own."""
    real, moved = room._lock, target.with_name("moved")

    def lock(folder: Path) -> int:
        descriptor = real(folder)
        if not moved.exists():
            folder.rename(moved)
        return descriptor

    monkeypatch.setattr(room, "_lock", lock)
    put(target, NEW)
    assert verify(target) == []
    assert list(moved.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EIO, errno.EXDEV])
def test_only_a_missing_exchange_is_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    class Library:
        @staticmethod
        def renameat2(*arguments: Any) -> int:
            ctypes.set_errno(number)
            return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *arguments, **options: Library())
    if number in (errno.EIO, errno.EXDEV):
        with pytest.raises(OSError, match=os.strerror(number)):
            room._exchange(tmp_path, tmp_path)
    else:
        assert not room._exchange(tmp_path, tmp_path)
    monkeypatch.setattr(ctypes, "CDLL", lambda *arguments, **options: object())
    assert not room._exchange(tmp_path, tmp_path)


@pytest.mark.parametrize("call", ["there", "missing", "failing"])
def test_many_files_are_made_durable_together(target: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """By one call for the file system; without it one by one, and what was not written is an error."""
    before, calls = state(target), list[str]()
    real = os.fsync
    monkeypatch.setattr(room, "MANY", 0)
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append("fsync"), real(descriptor))[1])
    if call != "there":

        def missing(folder: Path) -> bool:
            if call == "failing":
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return False

        monkeypatch.setattr(room, "_sync_filesystem", missing)
    if call == "failing":
        with pytest.raises(BundleError, match="Input/output error"):
            put(target, NEW)
        assert state(target) == before
        assert neighbours(target) == []
        return
    put(target, NEW)
    assert verify(target) == []
    assert len(calls) == 1 if call == "there" else len(calls) > len(NEW) + 2


def test_the_call_for_the_file_system_works_here(tmp_path: Path) -> None:
    assert room._sync_filesystem(tmp_path)
    with pytest.raises(FileNotFoundError):
        room._sync_filesystem(tmp_path / "nothing")
