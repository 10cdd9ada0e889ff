"""Every command has a manual page, which says all that `--help` says and which troff reads without a warning."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from .pages import ROOT

_spec = importlib.util.spec_from_file_location("man", ROOT / "tools/man.py")
assert _spec is not None and _spec.loader is not None
man = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(man)
FOUND = [("-".join(words), command) for words, command in man.commands()]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("man")
    assert man.main(folder) == 0
    return folder / "man1"


def test_every_command_has_a_page_and_nothing_else_has(pages: Path) -> None:
    names = [name for name, _ in FOUND]
    assert len(names) > 25 and {"stockade", "stockade-build", "stockade-seccomp-compile"} <= set(names)
    assert sorted(path.name for path in pages.iterdir()) == sorted(f"{name}.1" for name in names)


@pytest.mark.parametrize(("name", "command"), FOUND, ids=[name for name, _ in FOUND])
def test_a_page_has_every_option_and_all_of_the_help(pages: Path, name: str, command: click.Command) -> None:
    text = (pages / f"{name}.1").read_text().replace("\\-", "-").replace("\\&", "").replace("\\e", "\\")
    for option in command.params:
        if isinstance(option, click.Option):
            assert re.search(rf"^\.B .*{re.escape(option.opts[-1])}\b", text, re.MULTILINE), option.opts
    said = " ".join(line for line in text.splitlines() if not line.startswith("."))
    for word in (command.help or "").replace("\b", "").split():
        assert word in said, word


def test_troff_reads_them_without_a_warning(pages: Path) -> None:
    files = sorted(str(path) for path in pages.iterdir())
    ran = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", *files], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_same_commands_give_the_same_bytes(pages: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "tools/man.py", tmp_path], check=True, capture_output=True, timeout=60)
    for path in pages.iterdir():
        assert path.read_bytes() == (tmp_path / "man1" / path.name).read_bytes(), path.name


def test_no_text_becomes_a_request() -> None:
    assert man._roff(".so /etc/passwd\n'br\na-b\\c") == "\\&.so /etc/passwd\n\\&'br\na\\-b\\ec"
