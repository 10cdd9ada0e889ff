"""What holds for the repository as a whole: its licences, its Makefile, and what no file of it may contain."""

from __future__ import annotations

import ast
import itertools
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOT_OURS = {".git", ".venv", "build", "__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis"}
CODE = ("compiler", "tests", "tools", "bench")
LONGEST = 400

# A folder of one developer's machine. The names are spelled apart, so that this file passes its own test.
MACHINE = re.compile(r"(?<![\w.*~}\])>-])/(?:" + "|".join(["wo" + "rk", "ro" + "ot", "home" + r"/\w+"]) + r")/[\w.]")
HOST_PATHS = ("policy", "profiles")  # these speak of the protected host, which has a root user's home, too
HOSTS = [
    ".".join(words)
    for words in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("deb", "debian", "org"),
        ("security", "debian", "org"),
        ("archive", "ubuntu", "com"),
        ("docker", "io"),
        ("ghcr", "io"),
        ("gcr", "io"),
        ("quay", "io"),
        ("registry", "k8s", "io"),
        ("public", "ecr", "aws"),
        ("registry", "npmjs", "org"),
        ("proxy", "golang", "org"),
        ("crates", "io"),
    )
]
HOST = re.compile("|".join(rf"(?<![\w-]){re.escape(host)}(?![\w-])" for host in HOSTS))


def files(*folders: str) -> Iterator[Path]:
    """Every file of the repository, or of these folders of it, that people or programs wrote into it."""
    for start in [ROOT / folder for folder in folders] or [ROOT]:
        for folder, below, names in os.walk(start):
            below[:] = sorted(set(below) - NOT_OURS)
            below[:] = [name for name in below if not name.endswith(".egg-info")]
            yield from (Path(folder) / name for name in sorted(set(names) - NOT_OURS))  # a worktree's .git is a file


def modules() -> list[Path]:
    return [path for path in files(*CODE) if path.suffix == ".py"]


def forbidden(text: str, place: Path = Path("tests")) -> list[str]:
    found = [match.group() for pattern in (MACHINE, HOST) for match in pattern.finditer(text)]
    return [one for one in found if not (place.parts[0] in HOST_PATHS and one.startswith("/ro" + "ot/"))]


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = {}
    for path in files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        place = path.relative_to(ROOT)
        if words := forbidden(text, place):
            found[str(place)] = words
    assert found == {}


@pytest.mark.parametrize("before", ["", " ", '"', "(", "=", ":", "file://"])
@pytest.mark.parametrize("folder", ["/wo" + "rk/main", "/ro" + "ot/.config", "/home" + "/ann/x"])
def test_a_machine_path_is_noticed(before: str, folder: str) -> None:
    assert forbidden(f"x{before}{folder}") if before else forbidden(folder)


@pytest.mark.parametrize("host", HOSTS)
def test_a_registry_is_noticed(host: str) -> None:
    assert forbidden(f"https://{host}/simple") and forbidden(f"a.{host}") and not forbidden(f"no{host}")


@pytest.mark.parametrize(
    "text", ["overlay/wo" + "rk/dir", "/homepage/x", "/workload/x", "rootfs/ro" + "ot/x", "a/home/b"]
)
def test_other_paths_pass(text: str) -> None:
    assert forbidden(text) == []


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_what_it_is_for_and_stays_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    first = lines[1] if lines and lines[0].startswith("#!") else (lines or [""])[0]
    assert first.startswith('"""'), "the first line is the docstring"
    assert len(first) > len('"""x."""'), "the first line says what the module is for"
    assert ast.get_docstring(ast.parse(text))
    written_by_a_tool = "written by tools/" in first
    assert written_by_a_tool or len(lines) <= LONGEST


def test_both_licences_are_here_and_whole() -> None:
    apache = (ROOT / "LICENSE-APACHE").read_text()
    assert (
        "Apache License" in apache and "Version 2.0, January 2004" in apache and "END OF TERMS AND CONDITIONS" in apache
    )
    mit = (ROOT / "LICENSE-MIT").read_text()
    assert (
        mit.startswith("MIT License") and "The stockade developers" in mit and 'THE SOFTWARE IS PROVIDED "AS IS"' in mit
    )


def test_pyproject_asks_no_index_for_setools() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    names = {re.split(r"[\s<>=!~;\[]", one, maxsplit=1)[0].lower() for one in wanted}
    assert {"click", "pytest"} <= names
    assert "setools" not in names
    assert project["license"]["text"] == "Apache-2.0 OR MIT"


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = set(re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[0].split())
    assert {"all", "test", "lint", "bench", "profiles", "clean", "help"} <= phony
    ran = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True)
    assert {line.split()[0] for line in ran.stdout.splitlines()} == phony
    assert set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE)) == phony


@pytest.mark.parametrize("script", [".ci/run", "tools/install"])
def test_scripts_run_under_a_posix_shell(script: str) -> None:
    path = ROOT / script
    assert os.access(path, os.X_OK)
    text = path.read_text()
    assert text.startswith("#!/bin/sh\n# ") and "\nset -eu\n" in text
    subprocess.run(["/bin/sh", "-n", str(path)], timeout=20, check=True)


def test_ci_runs_what_people_run() -> None:
    steps = re.findall(r"^step (.*)$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert steps[:3] == ["make", "make lint", "make test"]
