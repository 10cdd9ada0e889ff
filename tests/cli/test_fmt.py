"""`stockade fmt`: one file or a whole policy, changed or only looked at, and never half."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from stockade.cli import fmt
from stockade.cli.main import main
from stockade.source.files import SourceFile

BASE = Path(__file__).parents[1] / "source/base"
LOOSE = "#head\nwhy:   less\nextends: plain  #whose\ncontainer: loose\n"
NEAT = "#head\ncontainer: loose\nextends: plain  #whose\nwhy: less\n"


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    folder = tmp_path / "policy"
    shutil.copytree(BASE, folder)
    assert main(["fmt", str(folder)]) == 0
    (folder / "containers/loose.yaml").write_text(LOOSE)
    return folder


@pytest.mark.parametrize("place", ["", "containers/loose.yaml"])
def test_a_file_is_laid_out_once(policy: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = policy / "containers/loose.yaml"
    file.chmod(0o640)
    assert main(["fmt", str(policy / place), "--check", "--diff"]) == 1
    said = capsys.readouterr()
    assert "-why:   less" in said.out and "+why: less" in said.out
    assert "1 file is not laid out" in said.err
    assert file.read_text() == LOOSE
    assert main(["fmt", str(policy / place)]) == 0
    assert (file.read_text(), file.stat().st_mode & 0o777) == (NEAT, 0o640)
    assert main(["fmt", str(policy / place), "--check"]) == 0


def test_other_files_stay(policy: Path) -> None:
    other = policy / "host/other.yaml"
    other.write_text("sets:   {mine: {members: subjects, why: x}}\n")
    assert main(["fmt", str(policy / "containers/loose.yaml")]) == 0
    assert other.read_text().startswith("sets:   ")


def test_a_policy_with_faults_is_laid_out_all_the_same(policy: Path) -> None:
    (policy / "containers/loose.yaml").write_text("why:  x\ncontainer: loose\nextends: nobody\n")
    assert main(["fmt", str(policy)]) == 0
    assert (policy / "containers/loose.yaml").read_text() == "container: loose\nextends: nobody\nwhy: x\n"


def test_a_file_that_cannot_be_read_changes_none(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (policy / "host/broken.yaml").write_text("sets: {a: {members: [}\n")
    assert main(["fmt", str(policy)]) == 1
    said = capsys.readouterr().err
    assert "host/broken.yaml:1:22: not YAML" in said
    assert (policy / "containers/loose.yaml").read_text() == LOOSE


def test_another_policy_is_never_written(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(SourceFile):
        def __init__(self, name: str, data: bytes) -> None:
            super().__init__(name, data.replace(b"why: less", b"why: more"))

    monkeypatch.setattr(fmt, "SourceFile", Other)
    assert main(["fmt", str(policy)]) == 3
    assert (policy / "containers/loose.yaml").read_text() == LOOSE


def test_a_file_of_no_policy_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: b\n")
    assert main(["fmt", str(tmp_path / "a.yaml")]) == 2
