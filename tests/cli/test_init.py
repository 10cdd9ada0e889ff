"""`stockade init`: what it writes builds as it is, what stands there stays, and a failure leaves nothing behind."""

from __future__ import annotations

import os
import pty
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from stockade.cli import init
from stockade.cli.main import main
from stockade.source.documents import FOLDERS
from stockade.source.load import load

FLAGS = ["--type", "shop", "--caps", "NET_BIND_SERVICE", "--families", "unix,inet", "--memory", "256MiB", "--pids", "9"]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the proof, which the first test makes."""
    from stockade.source.load import build

    monkeypatch.setattr(init, "prove", lambda folder, files, *_: SimpleNamespace(policy=build(files)))


def test_what_it_writes_holds_and_does_what_is_expected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "mine" / "policy"
    assert main(["init", str(folder), *FLAGS]) == 0
    capsys.readouterr()
    assert main(["check", str(folder)]) == 0
    said = capsys.readouterr()
    assert "mine 0.1 holds: 8 container types" in said.out
    assert said.err == ""
    assert main(["test", str(folder)]) == 0
    shop = load(folder).containers["shop"]
    assert (shop.extends, shop.domain, sorted(shop.sockets.families)) == ("ordinary", "shop_t", ["inet", "unix"])
    assert set(shop.capabilities["bounding"]) == {"NET_BIND_SERVICE"}
    assert (shop.cgroup["memory.max"], shop.cgroup["pids.max"]) == (256 << 20, 9)


@pytest.mark.usefixtures("quick")
def test_every_file_leads_an_editor_to_its_schema(tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    assert main(["init", str(folder), "--type", "shop"]) == 0
    files = [path for home in FOLDERS for path in (folder / home).rglob("*.yaml")]
    assert len(files) > 20
    for path in files:
        schema = path.read_text().partition("\n")[0].removeprefix("# yaml-language-server: $schema=")
        assert (path.parent / schema).is_file(), path


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("parent", ["web", "batch"])
def test_it_narrows_any_workload(tmp_path: Path, parent: str) -> None:
    assert main(["init", str(tmp_path / "policy"), "--type", "shop", "--extends", parent]) == 0
    assert load(tmp_path / "policy").containers["shop"].extends == parent


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--type", "shop", "--extends", "admin"], 1, "`admin` is trusted by name"),
        (["--type", "shop", "--extends", "wbe"], 2, "no container type `wbe` to extend"),
        (["--type", "web"], 2, "has a container type `web` already"),
        (["--type", "Shop"], 2, "'Shop' is no name"),
        (["--caps", "KILL"], 2, "--caps is about a container type: say --type"),
        (["--type", "shop", "--caps", "FLY"], 1, "containers/shop.yaml:6:16: unknown value `FLY`"),
        (["--type", "shop", "--memory", "9TiB"], 1, "`shop` is wider than `ordinary`"),
        (["--type", "shop", "--memory", "1}, root: {x"], 2, "other characters than letters"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert main(["init", str(tmp_path / "policy"), *words]) == code
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_nothing_is_written_over(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "policy"
    if kind == "file":
        target.write_text("mine")
    elif kind == "link":
        target.symlink_to("nowhere")
    else:
        (target / "host").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    assert main(["init", str(target)]) == 3
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("quick")
def test_what_appears_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "policy"
    proven = init.prove

    def meanwhile(*words: Any) -> Any:
        target.mkdir()
        (target / "mine").write_text("mine")
        return proven(*words)

    monkeypatch.setattr(init, "prove", meanwhile)
    assert main(["init", str(target)]) == 3
    assert [path.name for path in tmp_path.rglob("*")] == ["policy", "mine"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("failing", [1, 12, 40])
def test_a_failure_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
    made = 0

    def fsync(descriptor: int) -> None:
        nonlocal made
        made += 1
        if made == failing:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    assert main(["init", str(tmp_path / "policy")]) == 3
    assert made == failing
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_is_asked(tmp_path: Path) -> None:
    """Each question in its turn; an empty answer is the default that is shown."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        words = [sys.executable, "-m", "stockade.cli.main", "init", "policy", "--pids", "20"]
        os.execve(sys.executable, words, {**os.environ, "PYTHONPATH": str(Path(init.__file__).parents[2])})
    said = b""
    answers = iter([b"farm\n", b"shop\n", b"Sells things.\n", b"web\n", b"none\n", b"unix,inet\n", b"\n"])
    while True:
        try:
            read = os.read(terminal, 4096)
        except OSError:  # the other side is gone
            break
        if not read:
            break
        said += read
        if said.endswith((b"]: ", b"): ")):
            os.write(terminal, next(answers))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, said.decode()
    assert next(answers, None) is None
    policy = load(tmp_path / "policy")
    shop = policy.containers["shop"]
    assert (policy.host.name, shop.why, shop.extends) == ("farm", "Sells things.", "web")
    assert (shop.cgroup["pids.max"], shop.cgroup["memory.max"]) == (20, 1 << 30)
    assert sorted(shop.sockets.families) == ["inet", "unix"]
