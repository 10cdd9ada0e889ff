"""A command where it may not read or write, in a bare environment, and one that is interrupted."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from stockade.cli import group
from stockade.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "policy"
NOBODY = 65534
COMMAND = [sys.executable, "-m", "stockade.cli.main"]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, which anybody may enter (pytest's own may not be) and its owner alone write to."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        monkeypatch.chdir(folder)
        yield folder


@contextmanager
def powerless() -> Iterator[None]:
    """As a user who is not root; whoever is none already stays who he is."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(was)


def parameters(command: click.Command, path: str) -> Iterator[tuple[str, click.Parameter]]:
    for parameter in command.params:
        yield f"{path} {parameter.name}", parameter
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from parameters(below, f"{path} {name}")


def test_no_path_on_the_command_line_is_tried_before_it_is_used() -> None:
    paths = [
        (name, one.type) for name, one in parameters(group.stockade, "stockade") if isinstance(one.type, click.Path)
    ]
    assert len(paths) > 30
    assert [name for name, kind in paths if isinstance(kind, click.Path) and (kind.readable or kind.exists)] == []


@pytest.mark.parametrize("closed", ["policy", "policy/containers", "policy/containers/web.yaml"])
@pytest.mark.parametrize("words", ["check policy", "test policy", "fmt --check policy", "flow web os policy", "check"])
def test_a_policy_that_may_not_be_read_is_3(
    words: str, closed: str, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(SHIPPED, "policy")
    Path(closed).chmod(0)
    with powerless():
        code = main(words.split())
    Path(closed).chmod(0o755)
    said = capfd.readouterr()
    assert (code, said.out) == (3, "")
    assert closed in said.err and said.err.endswith(": Permission denied\n") and said.err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        "seccomp explain given",
        "seccomp run given --arch x86_64 read",
        "seccomp compile given -o made",
        "diff given given",
        "import inspect given",
        "import oci given",
        "import seccomp given",
        "learn given",
        "audit --facts given",
        "audit --rules given",
        "audit --waivers given",
        "hook install --bundle BUNDLE --prefix made --runtime /bin/true --select given",
    ],
)
def test_a_file_that_may_not_be_read_is_3(
    words: str, place: Path, bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("given").write_text("{}\n")
    Path("given").chmod(0)
    copy = place / "bundle"
    shutil.copytree(bundle, copy)
    with powerless():
        code = main([str(copy) if word == "BUNDLE" else word for word in words.split()])
    said = capfd.readouterr()
    assert (code, said.out) == (3, ""), said.err
    assert "given" in said.err and "unexpected" not in said.err and said.err.count("\n") == 1
    assert not Path("made").exists()


@pytest.mark.parametrize("words", ["build {policy} -o made", "init made", "fmt policy", "seccomp compile {p} -o made"])
def test_a_folder_that_may_not_be_written_is_3(words: str, place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("policy/containers").mkdir(parents=True)
    Path("policy/containers/a.yaml").write_text("why:   A type.\ncontainer:   a\n")
    Path("p.json").write_text('{"defaultAction": "SCMP_ACT_ERRNO"}')
    before = sorted(place.rglob("*")), Path("policy/containers/a.yaml").read_bytes()
    with powerless():
        code = main(words.format(policy=SHIPPED, p="p.json").split())
    said = capfd.readouterr()
    assert code == 3, said.err
    assert said.err.splitlines()[-1].endswith(": Permission denied") and "unexpected" not in said.err
    assert (sorted(place.rglob("*")), Path("policy/containers/a.yaml").read_bytes()) == before


@pytest.mark.parametrize("target", ["loop", "nowhere"])
@pytest.mark.parametrize(
    "words",
    [
        "hook install --bundle given --prefix made --runtime /bin/true",
        "hook install --bundle BUNDLE --prefix made --runtime /bin/true --select given",
        "audit --root given",
        "check given",
        "can web load-kernel-module given",
        "test given/policy",
        "init given/policy",
    ],
)
def test_a_link_that_leads_nowhere_is_3(
    words: str, target: str, place: Path, bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("given").symlink_to("given" if target == "loop" else target)
    code = main([str(bundle) if word == "BUNDLE" else word for word in words.split()])
    said = capfd.readouterr()
    assert (code, said.out) == (3, "")
    assert "given" in said.err or "nowhere" in said.err
    assert "unexpected" not in said.err and not Path("made").exists()


@pytest.mark.parametrize("target", ["policy", "nowhere", "a file"])
def test_what_stands_at_the_policys_place_is_meant(target: str, place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """And not the shipped policy, of which nobody spoke."""
    Path("a file").write_text("")
    Path("policy").symlink_to(target)
    assert main(["check"]) == 3
    why = {"policy": "Too many levels of symbolic links", "nowhere": "no such folder", "a file": "not a folder"}
    assert capfd.readouterr().err == f"stockade: policy: {why[target]}\n"


def test_no_home_and_a_locale_without_letters_cost_no_answer(place: Path) -> None:
    bare = {"PATH": os.defpath, "PYTHONPATH": str(ROOT / "compiler"), "LC_ALL": "C"}
    narrow = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [*COMMAND, "reach", "web", str(SHIPPED)]
    ran = subprocess.run(command, capture_output=True, env=bare | narrow, timeout=60)
    assert (ran.returncode, ran.stderr) == (1, b"") and ran.stdout
    assert ran.stdout == subprocess.run(command, capture_output=True, env=bare, timeout=60).stdout
    program = "import sys; from stockade.cli import main; main._answer = lambda words: print('\\u00fc'); main.main([])"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, env=bare | narrow, timeout=60)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"\\xfc\n", b"")


def test_a_build_that_is_interrupted_leaves_nothing(place: Path) -> None:
    def heard() -> None:  # a shell's background job ignores SIGINT, and its children would too
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    command = [*COMMAND, "build", str(SHIPPED), "-o", "made"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "compiler"), "XDG_CACHE_HOME": str(place / ".cache")}
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, preexec_fn=heard, process_group=0) as ran:
        time.sleep(0.6)
        os.killpg(ran.pid, signal.SIGINT)
        _, said = ran.communicate(timeout=20)
    assert (ran.returncode, said) == (-signal.SIGINT, b"stockade: interrupted\n")
    assert list(place.iterdir()) == []
