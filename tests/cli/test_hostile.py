"""Whatever file a command is given in place of the right one: an exit code that says no, and one line that says why."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
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
