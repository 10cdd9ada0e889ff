"""The launcher as a program: how little of it there is to start, what it hands on by itself, what it says if not."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from elftools.elf.elffile import ELFFile
from stockade.enforce.arguments import HANDED_ON, OPTIONS
from stockade.enforce.install import _compiled

from tests.enforce.test_install import plan

TELL = "#!/usr/bin/python3 -I\nimport json, os, sys\nprint(json.dumps([*sys.argv, dict(os.environ)]))\n"
"""Says how it was started: its path, its arguments, its environment."""
SETTINGS = ["type=web", 'select=[["a","b"]]', "what=??/"]


def launcher(folder: Path, **programs: str) -> Path:
    """A launcher whose runtime and interpreter say how they were started, but for the programs given."""
    told = {}
    for name in ("runtime", "python"):
        told[name] = programs.get(name, str(folder / name))
        (folder / name).write_text(TELL)
        (folder / name).chmod(0o755)
    site = SimpleNamespace(bundle=folder)
    return _compiled(plan(site, folder, **told), SETTINGS, "/start.py", folder / "stockade-web")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return launcher(tmp_path_factory.mktemp("launcher"))


def ran(program: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments], env=environment, capture_output=True, text=True, timeout=20, check=False
    )


def test_it_is_one_mapping_without_a_library(program: Path) -> None:
    with program.open("rb") as file:
        segments = [(segment["p_type"], segment["p_flags"]) for segment in ELFFile(file).iter_segments()]
    # Readable and executable, and a stack that is not.
    assert segments == [("PT_LOAD", 5), ("PT_GNU_STACK", 6)]
    assert program.stat().st_size < 8192


@pytest.mark.parametrize(
    "arguments",
    [
        *([verb, "-f", "--x=y", "name"] for verb in sorted(HANDED_ON)),
        [],
        ["--version"],
        ["--root", "create", "--log=x", "-systemd-cgroup", "--criu", "run", "kill", "name", "exec"],
        ["--log", "--root", "kill", "name"],
    ],
    ids=" ".join,
)
def test_it_hands_a_verb_on_as_it_was_said(arguments: list[str], program: Path) -> None:
    environment = {"A": "b", "LD_PRELOAD": "x", "PYTHONPATH": "x", "MALLOC_ARENA_MAX": "1", "LDX": "y", "Z": ""}
    kept = {name: environment[name] for name in ("A", "LDX", "Z")}
    # The interpreter of the script says of itself in which language it speaks.
    path, *given, seen = json.loads(ran(program, *arguments, **environment).stdout)
    assert (path, given) == (str(program.with_name("runtime")), arguments)
    assert {name: value for name, value in seen.items() if name != "LC_CTYPE"} == kept


@pytest.mark.parametrize(
    "arguments",
    [
        *([verb, "name"] for verb in sorted([*OPTIONS, "restore"])),
        ["KILL", "name"],
        ["kil", "name"],
        ["kills", "name"],
        ["", "kill", "name"],
        ["-", "kill", "name"],
        ["--", "kill", "name"],
        ["--unknown", "kill", "name"],
        ["--root", "kill", "exec", "name"],
        ["---root=x", "kill", "name"],
        ["--roo", "x", "kill", "name"],
    ],
    ids=" ".join,
)
def test_it_gives_all_else_to_the_wrapper(arguments: list[str], program: Path) -> None:
    path, *given, seen = json.loads(ran(program, *arguments, LD_PRELOAD="x", A="b").stdout)
    assert path == str(program.with_name("python")) and "LD_PRELOAD" not in seen
    assert given == ["-I", "-S", "-B", "/start.py", *SETTINGS, "--", *arguments]


@pytest.mark.parametrize(("missing", "verb"), [("runtime", "kill"), ("python", "create")])
def test_it_says_what_does_not_start(missing: str, verb: str, tmp_path: Path) -> None:
    program = launcher(tmp_path, **{missing: "/nonexistent/program"})
    log = tmp_path / "log"
    for count in (1, 2):
        done = ran(program, "--log", str(log), "--root=x", verb, "name")
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert done.returncode == 1 and done.stdout == "" and "/nonexistent/program does not start" in done.stderr
        assert [(line["level"], line["msg"]) for line in lines] == [
            ("error", f"stockade: {done.stderr.strip()}")
        ] * count
    assert ran(program, "--log", "/nonexistent/log", verb, "name").returncode == 1
