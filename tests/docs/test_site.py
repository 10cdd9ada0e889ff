"""The manual is a site without a dead link, its reference is what the schemas say, and the newcomer's path is short."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .pages import ROOT, blocks, commands


def site(root: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Make the site of the manual in `root`, as `make site` does."""
    made = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", root / "tools/mkdocs.yml"]
    return subprocess.run([*made, "--site-dir", folder], capture_output=True, text=True, timeout=120)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    (tmp_path / "tools").mkdir()
    for name in ("mkdocs.yml", "site.py"):
        shutil.copy(ROOT / "tools" / name, tmp_path / "tools")
    return tmp_path


def test_the_manual_is_a_site_of_all_its_pages(tmp_path: Path) -> None:
    made = site(ROOT, tmp_path)
    assert made.returncode == 0 and "WARNING" not in made.stderr, made.stderr
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert len(pages) > 20 and pages <= {path.stem for path in tmp_path.glob("*.html")}
    home = (tmp_path / "index.html").read_text()
    assert pages - {"index"} <= set(re.findall(r'href="(?:\./)?([a-z-]+)\.html"', home))
    assert not re.findall(r'(?:src|href)="(?:https?:)?//(?!github\.com|readthedocs\.org|www\.mkdocs\.org)', home)
    shown = (tmp_path / "promises.html").read_text()
    assert '<h2 id="actions">' in shown and "```" not in shown  # every fenced block is one


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("writing.md", "[nowhere](no-such.md)"),
        ("writing.md", "[no place](cli.md#no-such-place)"),
        ("stray.md", "# Stray"),
    ],
)
def test_a_dead_link_and_a_stray_page_are_noticed(copy: Path, tmp_path: Path, page: str, text: str) -> None:
    with (copy / "docs" / page).open("a") as file:
        file.write(f"\n{text}\n")
    assert site(copy, tmp_path / "site").returncode != 0


def test_the_reference_is_what_the_schemas_say() -> None:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "tools/reference.py")
    assert spec is not None and spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    assert (ROOT / "docs/reference.md").read_text() == reference.page(), "stale: make reference"
    for key in ("`extends`", "`no-new-privileges`", "`within`", "`silent-on`", "`host-path`", "`may-not`", "`mode`"):
        assert key in reference.page()


def test_the_newcomers_path_is_under_ten_commands() -> None:
    """From nothing to one's own policy in a kernel; `test_pages` runs them. The clone is the first."""
    (path,) = (block for block in blocks((ROOT / "README.md").read_text()) if block.kind == "console")
    steps = [step.line for step in commands(path) if not step.line.startswith("echo")]
    assert 1 + len(steps) < 10
    assert any(step.startswith("stockade init") for step in steps) and "lab run" in steps[-1]
