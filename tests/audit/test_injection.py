"""Every path that an audit opens, or looks for, damaged in five ways: no traceback, no rule that holds by it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from stockade.audit.facts import calls
from stockade.audit.facts.fact import Facts

from .test_inputs import RULES, passes, read
from .test_inputs import root as root
from .test_outcomes import A, B, process

DAMAGES = ("empty", "cut", "binary", "huge", "forbidden")


@pytest.fixture
def host(root: Path) -> Path:
    """The sound tree with two containers, one process of which has a second thread."""
    for pid, name in ((10, A), (20, B)):
        process(root, pid, f"/pods/{name}")
        group = root / f"sys/fs/cgroup/pods/{name}"
        group.mkdir(parents=True)
        (group / "memory.max").write_text("4096\n")
        (group / "pids.max").write_text("max\n")
    process(root, 20, f"/pods/{B}", thread=21)
    # The root's device is asked about only where its files are on it.
    device = root.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    (root / "sys/dev/block/253:0").rename(root / "sys/dev/block" / number)
    mounts = root / "proc/1/mountinfo"
    mounts.write_text(mounts.read_text().replace("253:0", number))
    return root


@contextmanager
def opens(root: Path, forbidden: str = "") -> Iterator[set[str]]:
    """The paths below the root that are opened, or asked for and not there; one of them may be forbidden."""
    seen: set[str] = set()
    at, plain = calls.openat2, os.open

    def named(folder: int, path: str) -> str:
        return os.path.normpath(f"{Path(f'/proc/self/fd/{folder}').readlink()}/{path}")

    def check(folder: int, path: str, flags: int) -> None:
        where = named(folder, path)
        if not where.startswith(f"{root}/"):
            return
        if not flags & (os.O_PATH | os.O_DIRECTORY):
            seen.add(where.removeprefix(f"{root}/"))
        if where == f"{root}/{forbidden}":
            raise PermissionError(errno.EACCES, "Permission denied", path)

    def openat2(folder: int, path: str, flags: int, resolve: int) -> int:
        check(folder, path, flags)
        return at(folder, path, flags, resolve)

    def opened(path: Any, flags: int, *rest: int, dir_fd: int | None = None) -> int:
        if dir_fd is not None:
            check(dir_fd, path, flags)
        return plain(path, flags, *rest, dir_fd=dir_fd)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calls, "openat2", openat2)
        patch.setattr(os, "open", opened)
        yield seen


def damaged(content: bytes, how: str) -> bytes:
    return {"empty": b"", "cut": content[: len(content) // 2]}.get(how, bytes(range(256)) * 4)


def test_no_file_of_the_tree_is_left_unread(host: Path) -> None:
    with opens(host) as seen:
        read(host)
    there = {str(path.relative_to(host)) for path in host.rglob("*") if path.is_file()}
    # A thread is asked for its limits only where it speaks for its process.
    assert {path for path in there - seen if "/task/" not in path} == set()
    assert len(seen) > 100


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_input_makes_nothing_hold(host: Path, how: str) -> None:
    with opens(host) as seen:
        before = read(host)
    sound, silent, gained = passes(before), [], {}
    for name in sorted(seen):
        path = host / name
        content = path.read_bytes() if path.exists() else None
        if how == "cut" and content is None:
            continue
        made = [folder for folder in path.parents if not folder.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(damaged(content or b"", how))
        if how == "huge":
            os.truncate(path, 10 << 20)
        with opens(host, name if how == "forbidden" else ""):
            now = read(host)
        if more := passes(now) - sound - ABOUT_FILES:
            gained[name] = more
        known = not any(one.path == f"/{name}" and not one.known for one in before.facts.values() if content)
        if how in ("binary", "huge", "forbidden") and known and faults(now) <= faults(before):
            silent.append(name)
        if content is None:
            path.unlink()
            for folder in made:
                folder.rmdir()
        else:
            path.write_bytes(content)
    assert not gained, gained
    assert not silent, "\n".join(silent)


ABOUT_FILES = {one.name for one in RULES if all(fact.startswith("file:") for fact in one.facts)}
"""Rules on owners and modes, which hold of a damaged file as of another."""


def faults(facts: Facts) -> int:
    """How many outcomes are unreadable or malformed, those of members of lists too."""
    said = json.dumps([one.as_dict() for one in facts.facts.values()])
    return sum(said.count(f'"outcome": "{outcome}"') for outcome in ("unreadable", "malformed"))
