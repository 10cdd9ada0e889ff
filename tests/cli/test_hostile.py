"""Whatever file a command is given in place of the right one: an exit code that says no, and one line that says why."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from stockade.cli.main import main

GENUINE = Path(__file__).resolve().parents[2] / "policy/audit/genuine.json"
FILES: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: None,
    "empty": lambda path: path.write_bytes(b""),
    "folder": lambda path: path.mkdir(),
    "loop": lambda path: path.symlink_to(path),
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "random": lambda path: path.write_bytes(bytes((7 * at * at + 3 * at) % 256 for at in range(3000))),
    "deep": lambda path: path.write_text("[" * 100_000),
    "not-utf-8": lambda path: path.write_bytes("é: ü".encode("latin-1")),
    "nan": lambda path: path.write_text('{"defaultAction": NaN}'),
    "long-number": lambda path: path.write_text("9" * 100_000),
    "text": lambda path: path.write_text("it is no such file\n" * 3),
}
COMMANDS = {
    "seccomp compile": "seccomp compile FILE -o OUT",
    "seccomp run": "seccomp run FILE --arch x86_64 read",
    "seccomp explain": "seccomp explain FILE",
    "diff": "diff FILE FILE",
    "import inspect": "import inspect FILE",
    "import oci": "import oci FILE",
    "import seccomp": "import seccomp FILE",
    "audit facts": "audit --facts FILE",
    "audit waivers": "audit --facts GENUINE --waivers FILE",
    "audit bundle": "audit --facts GENUINE --bundle FILE",
    "audit rules": "audit --facts GENUINE --rules FILE",
    "report": "report FILE -o OUT",
    "matrix": "matrix FILE",
    "can": "can web load-kernel-module FILE",
    "flow": "flow web os FILE",
    "reach": "reach web FILE",
    "check": "check FILE",
    "test": "test FILE",
    "fmt": "fmt --check FILE",
    "nri": "nri --bundle FILE",
    "lab boot": "lab boot FILE",
    "hook install": "hook install --bundle FILE --prefix OUT --runtime /bin/true",
}
EMPTY_IS_FINE = {("fmt", "folder")}
"""A folder without files has none that are laid out wrongly."""


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_takes_another_file(
    command: str, kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file, out = tmp_path / "given", tmp_path / "out"
    FILES[kind](file)
    given = {"FILE": str(file), "OUT": str(out), "GENUINE": str(GENUINE)}
    code = main([given.get(word, word) for word in COMMANDS[command].split()])
    said = capfd.readouterr().err
    if (command, kind) in EMPTY_IS_FINE:
        assert code == 0
        return
    assert code in (1, 2, 3), (code, said)
    assert said.strip() and "Traceback" not in said and "unexpected" not in said, said
    assert "Usage:" not in said, "the file is what is wrong, and not the command line"
    assert len(said) < 2000, said
    assert not out.exists(), "nothing is written"


READING = {
    **{name: words for name, words in COMMANDS.items() if words.split()[0] in ("seccomp", "import")},
    **{name: words for name, words in COMMANDS.items() if name in ("audit facts", "audit waivers", "audit rules")},
    "import filter": "import oci CONFIG --seccomp FILE",
    "diff": "diff PROFILE FILE",
    "learn": "learn FILE",
    "lab run": "lab run --file FILE:/x -- true",
    "check mutate": "check --mutate FILE.cil",
}
"""Commands that read one file, whatever it is."""
WHY = {
    "missing": r": No such file or directory\n",
    "folder": r": (Is a directory|a folder, where a seccomp profile or a raw filter is expected)\n",
    "loop": r": Too many levels of symbolic links\n",
    "endless": r"(:1: a line|:) larger than \d+ MiB\n",
}
GOOD = {
    "CONFIG": '{"ociVersion": "1.0.2", "process": {"args": ["/x"], "cwd": "/"}, "root": {"path": "/x"}}',
    "PROFILE": '{"defaultAction": "SCMP_ACT_ERRNO"}',
}


def _good(folder: Path) -> dict[str, str]:
    """Files that nothing is wrong with, by their words on a command line."""
    for name, content in GOOD.items():
        (folder / name).write_text(content)
    return {name: str(folder / name) for name in GOOD}


@pytest.mark.parametrize(
    ("command", "kind"),
    [one for one in product(READING, WHY) if one != ("diff", "folder")],  # a folder is a policy there
)
def test_one_line_says_why_a_file_is_not_read(
    command: str, kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    file = tmp_path / ("given.cil" if "FILE.cil" in READING[command] else "given")
    FILES[kind](file)
    if file.is_dir() and file.suffix:
        (file / "part.cil").mkdir()
    given = {"FILE": str(file), "FILE.cil": str(file), "FILE:/x": f"{file}:/x", "OUT": str(out)}
    given |= {"GENUINE": str(GENUINE), **_good(tmp_path)}
    code = main([given.get(word, word) for word in READING[command].split()])
    said = capfd.readouterr()
    assert (code, said.out) == (3, ""), said.err
    assert re.fullmatch(f"stockade: {file}(/part.cil)?{WHY[kind]}", said.err), said.err
    assert not out.exists()


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "endless"])
@pytest.mark.parametrize("command", sorted(READING.keys() - {"lab run", "check mutate", "diff"}))
def test_standard_input_is_a_file_like_any_other(
    command: str,
    closed: bool,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {"FILE": "-", "OUT": str(tmp_path / "out"), "GENUINE": str(GENUINE), **_good(tmp_path)}
    with Path("/dev/zero").open() as endless:
        monkeypatch.setattr("sys.stdin", None if closed else endless)
        code = main([given.get(word, word) for word in READING[command].split()])
    why = ": it is closed" if closed else WHY["endless"].removesuffix(r"\n")
    said = capfd.readouterr().err
    assert code == 3 and re.fullmatch(f"stockade: standard input{why}\n", said), said


@pytest.mark.parametrize("name", ["two\nlines", "\x1b[2Jwiped", "a\x85b"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_name_that_no_line_can_show_is_said_with_escapes(
    command: str, name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = {"FILE": name, "OUT": str(tmp_path / "out"), "GENUINE": str(GENUINE)}
    code = main([given.get(word, word) for word in COMMANDS[command].split()])
    shown = name.encode("unicode_escape").decode()
    assert code == 3 and capfd.readouterr().err == f"stockade: {shown}: a name with a control character\n"


DAMAGES: dict[str, Callable[[Path], object]] = {
    "another file": lambda path: path.write_bytes(b"{}"),
    "a pipe": lambda path: os.mkfifo(path),
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "a folder": lambda path: path.mkdir(),
    "a loop": lambda path: path.symlink_to(path),
    "missing": lambda path: None,
}
ASKED = {name: words for name, words in COMMANDS.items() if name in ("can", "matrix", "report", "diff", "lab boot")}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("part", ["containers/web/oci.json", "containers/web/seccomp.x86_64.bpf", "host/policy.31"])
@pytest.mark.parametrize("command", ASKED)
def test_no_command_believes_a_bundle_that_was_changed(
    command: str, part: str, damage: str, bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    changed, out = tmp_path / "bundle", tmp_path / "out"
    shutil.copytree(bundle, changed)
    (changed / part).unlink()
    DAMAGES[damage](changed / part)
    given = {"FILE": str(changed), "OUT": str(out)}
    code = main([given.get(word, word) for word in ASKED[command].split()])
    said = capfd.readouterr().err
    assert code == 3, (code, said)
    assert part in said and "Traceback" not in said and "unexpected" not in said, said
    assert not out.exists(), "nothing is written"
