"""What is missing is said by name, with the command that helps."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

import pytest
from stockade.lab import tools


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("linux.uml", "user-mode-linux"),
        ("mkfs.erofs", "erofs-utils"),
        ("busybox", "busybox-static"),
        ("perl", "perl-base"),
    ],
)
def test_a_missing_program(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda n, **more: None if n == name else which(n, **more))
    with pytest.raises(tools.LabMissing) as caught:
        tools.find()
    assert (caught.value.what, caught.value.how) == (name, f"apt-get install {package}")


def test_another_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(tools.LabMissing, match=r"x86_64.*aarch64"):
        tools.find()


def test_missing_modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tools, "MODULES", tmp_path)
    with pytest.raises(tools.LabMissing, match="kernel modules for"):
        tools.find()


def test_a_missing_module() -> None:
    with pytest.raises(tools.LabMissing, match="no-such-module"):
        tools.module_files(tools.find(), "no-such-module")


def test_modules_come_after_what_they_need() -> None:
    names = [path.stem for path in tools.module_files(tools.find(), "dm-verity", "erofs")]
    assert names.index("dm-mod") < names.index("dm-bufio") < names.index("dm-verity")
    assert names[-1] == "erofs" and len(set(names)) == len(names)


def test_a_dynamic_busybox_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, **more: which("perl" if name == "busybox" else name, **more))
    with pytest.raises(tools.LabMissing, match="static busybox"):
        tools.find()


def test_libraries_are_those_the_loader_names() -> None:
    found = tools.find()
    names = [Path(path).name for path in tools.libraries(found.perl)]
    assert "libc.so.6" in names and "ld-linux-x86-64.so.2" in names
    assert tools.libraries(found.busybox) == []


def test_root_never_runs_the_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(tools, "_mapped", lambda table: True)
    assert tools.drop() == tools.Drop(65534, 65534)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert tools.drop() == tools.Drop(None, None)


@pytest.mark.parametrize(
    ("table", "mapped"), [("0 0 4294967295\n", True), ("0 1000 1\n", False), ("0 1000 1\n1 100000 65536\n", True)]
)
def test_whether_nobody_is_somebody_here(table: str, mapped: bool, tmp_path: Path) -> None:
    (tmp_path / "uid_map").write_text(table)
    assert tools._mapped(tmp_path / "uid_map") is mapped
