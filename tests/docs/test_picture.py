"""The picture in the README is that of the shipped policy, and the figures beside it are its figures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from stockade.cli.main import main

from .pages import ROOT


def test_the_picture_is_fresh(bundle: Path, tmp_path: Path) -> None:
    assert main(["matrix", str(bundle), "--format", "svg", "-o", str(tmp_path / "matrix.svg")]) == 0
    kept = ROOT / "docs/pictures/matrix.svg"
    assert kept.read_bytes() == (tmp_path / "matrix.svg").read_bytes(), "stale: run `make profiles`"


def test_the_figures_are_those_of_the_policy(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matrix", str(bundle)]) == 0
    out = capsys.readouterr().out
    readme = (ROOT / "README.md").read_text()
    held = re.search(r"^ordinary: two layers or more stop (\d+) of (\d+) escapes$", out, re.MULTILINE)
    assert held and f"For {held[1]} of {held[2]} escapes" in readme
    count = sum(
        1 for line in out.splitlines() if re.match(r"[a-z0-9-]+ +(kernel|host|neighbours|denial|itself) ", line)
    )
    assert f"**{count} actions**" in readme and f"each of the {count} actions" in readme
