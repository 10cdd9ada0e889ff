"""Where a guest's memory is kept: in memory where that can be, and beside its other files where not."""

from __future__ import annotations

from pathlib import Path

import pytest
from stockade.lab.uml import _memory_folder


@pytest.mark.parametrize(
    ("options", "mode", "memory", "shares"),
    [
        ("tmpfs rw,nosuid,relatime", 0o1777, "1M", True),
        ("tmpfs rw,noexec,relatime", 0o1777, "1M", False),
        ("tmpfs ro,relatime", 0o1777, "1M", False),
        ("ext4 rw,relatime", 0o1777, "1M", False),
        ("tmpfs rw,nosuid,relatime", 0o755, "1M", False),  # not for everybody
        ("tmpfs rw,nosuid,relatime", 0o1777, "999999999G", False),  # no room
    ],
)
def test_memory_is_shared_memory_where_that_can_be(
    tmp_path: Path, options: str, mode: int, memory: str, shares: bool
) -> None:
    shared, work, mounts = tmp_path / "shm", tmp_path / "work", tmp_path / "mounts"
    for folder in (shared, work):
        folder.mkdir()
    shared.chmod(mode)
    mounts.write_text(f"proc /proc proc rw 0 0\ntmpfs {shared} {options} 0 0\n")
    assert _memory_folder(work, memory, shared, mounts) == (shared if shares else work)


def test_the_last_mount_at_a_place_counts(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("tmpfs /dev/shm tmpfs rw 0 0\ntmpfs /dev/shm tmpfs rw,noexec 0 0\n")
    assert _memory_folder(tmp_path, "1M", mounts=mounts) == tmp_path
    mounts.write_text("proc /proc proc rw 0 0\n")
    assert _memory_folder(tmp_path, "1M", mounts=mounts) == tmp_path
