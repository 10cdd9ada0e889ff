"""The edge of the command line: lazy commands, exit codes, and what happens when things go wrong around a command."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from stockade import __version__
from stockade.cli import group, main, output

HERE = Path(__file__).resolve().parents[2] / "compiler"
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
PLANTED = """
import sys, click
from stockade.cli import group, main
{body}
group.COMMANDS["planted"] = "planted"
group.LazyGroup.get_command = lambda self, ctx, name: command if name == "planted" else None
sys.exit(main.main(["planted"]))
"""


def run(*words: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stockade.cli.main", *words],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": str(HERE), **extra},
    )


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], int]:
    """Runs a function as the command `planted`, in this process."""

    def planted(body: Callable[[], object]) -> int:
        monkeypatch.setitem(group.COMMANDS, "planted", "planted")
        command = click.command("planted")(body)
        monkeypatch.setattr(group.LazyGroup, "get_command", lambda self, ctx, name: command)
        return main.main(["planted"])

    return planted


def planted_process(body: str) -> list[str]:
    return [sys.executable, "-c", PLANTED.format(body=f"@click.command()\ndef command():\n    {body}")]


@pytest.mark.parametrize("words", [["--help"], ["-h"]])
def test_help_names_every_command_and_imports_none(words: list[str]) -> None:
    program = (
        "import sys; from stockade.cli.main import main; code = main(sys.argv[1:])\n"
        "loaded = [m for m in sys.modules if m.startswith('stockade.') and 'stockade.cli' not in m]\n"
        "loaded += [n for n in ('build', 'check', 'can', 'doctor', 'lab') if f'stockade.cli.{n}' in sys.modules]\n"
        "loaded += [n for n in ('yaml', 'jsonschema', 'setools', 'rich') if n in sys.modules]\n"
        "print('loaded', loaded); sys.exit(code)"
    )
    ran = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=30)
    assert ran.returncode == 0
    assert "loaded []" in ran.stdout
    for name, line in group.COMMANDS.items():
        assert f"{name} " in ran.stdout
        assert line.split(",")[0] in ran.stdout


def test_version_needs_no_click() -> None:
    program = "import sys; from stockade.cli.main import main; main(['--version']); print('click' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert ran.stdout == f"stockade {__version__}\nFalse\n"
    assert run("--help").stdout.startswith("Usage: stockade ")


@pytest.mark.parametrize("name", sorted(group.COMMANDS))
def test_every_command_has_help_with_an_example(name: str) -> None:
    ran = run(name, "--help")
    assert ran.returncode == 0, ran.stderr
    assert "Example" in ran.stdout
    assert f"stockade {name}" in ran.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["biuld"], "did you mean 'build'"),
        (["dcotor"], "'doctor'"),
        (["zzz"], "no command 'zzz'"),
        (["--nope"], "--nope"),
    ],
)
def test_wrong_usage_is_2_and_offers_the_nearest_name(words: list[str], said: str) -> None:
    ran = run(*words)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert said in ran.stderr
    assert ("did you mean" in ran.stderr.lower()) == ("mean" in said or "doctor" in said)


@pytest.mark.parametrize(
    ("answer", "code"),
    [(None, 0), (output.Answer.YES, 0), (output.Answer.NO, 1), (3, 3), (True, 3), (7, 3), (-1, 3), ("yes", 3)],
)
def test_what_a_command_returns_is_the_exit_code_or_a_defect(
    plant: Callable[[Callable[[], object]], int], answer: object, code: int
) -> None:
    assert plant(lambda: answer) == code


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (output.Stop("no promise holds", output.Answer.NO), 1, "stockade: no promise holds\n"),
        (output.Stop(), 3, ""),
        (ValueError("first\nsecond"), 3, "stockade: unexpected ValueError: first (STOCKADE_DEBUG=1 shows where)\n"),
        (PermissionError(13, "Permission denied", "a.yaml"), 3, "stockade: a.yaml: Permission denied\n"),
        (RecursionError("deep"), 3, "stockade: unexpected RecursionError: deep (STOCKADE_DEBUG=1 shows where)\n"),
        (click.ClickException("cannot"), 3, "stockade: cannot\n"),
        (click.FileError("a.yaml", "gone"), 3, "stockade: Could not open file 'a.yaml': gone\n"),
        (ImportError("no module"), 3, "stockade: unexpected ImportError: no module (STOCKADE_DEBUG=1 shows where)\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_an_exception_is_one_line_and_an_exit_code(
    plant: Callable[[Callable[[], object]], int],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    code: int,
    said: str,
) -> None:
    written: list[str] = []
    monkeypatch.setattr(main, "_abandon_output", lambda: None)  # it would silence pytest's own descriptor
    monkeypatch.setattr(sys.stderr, "write", lambda piece: written.append(piece))

    def body() -> None:
        raise error

    assert plant(body) == code
    assert "".join(written) == said


def test_debug_shows_the_traceback_and_still_ends_with_3() -> None:
    command = planted_process("1 / 0")
    plain = subprocess.run(command, capture_output=True, text=True, timeout=30)
    debug = subprocess.run(
        command, capture_output=True, text=True, timeout=30, env={**os.environ, "STOCKADE_DEBUG": "1"}
    )
    assert (plain.returncode, debug.returncode) == (3, 3)
    assert "Traceback" in debug.stderr
    assert plain.stderr == "stockade: unexpected ZeroDivisionError: division by zero (STOCKADE_DEBUG=1 shows where)\n"


@pytest.mark.parametrize("size", [3, 100_000])
def test_a_reader_that_goes_away_ends_the_process_by_sigpipe(size: int) -> None:
    read, write = os.pipe()
    os.close(read)
    command = planted_process(f"print('x' * {size})")
    ran = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, timeout=30, env=BUFFERED)
    os.close(write)
    assert (ran.returncode, ran.stderr) == (-signal.SIGPIPE, b"")


def test_an_answer_that_cannot_be_written_is_no_answer() -> None:
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run(
            planted_process("print('yes')"), stdout=full, stderr=subprocess.PIPE, timeout=30, env=BUFFERED
        )
    assert (ran.returncode, ran.stderr) == (3, b"stockade: No space left on device\n")


def test_closed_standard_output_is_3() -> None:
    ran = subprocess.run(["sh", "-c", '"$0" -m stockade.cli.main --version >&-', sys.executable], capture_output=True)
    assert (ran.returncode, ran.stderr) == (3, b"stockade: standard output is closed, so there is nowhere to answer\n")


def test_ctrl_c_ends_the_process_by_sigint() -> None:
    body = "import signal, os; os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(20)"

    def heard() -> None:  # a shell's background job ignores SIGINT, and its children would too
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    ran = subprocess.run(planted_process(body), capture_output=True, text=True, timeout=15, preexec_fn=heard)
    assert ran.returncode == -signal.SIGINT
    assert ran.stderr.strip() == "stockade: interrupted"


def on_pty(words: list[str], **extra: str) -> bytes:
    """What the command writes to a terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.pop("NO_COLOR", None)
        os.environ.update(extra, TERM="xterm-256color", COLUMNS="160")
        os.execv(sys.executable, [sys.executable, *words])
    written = b""
    try:
        while piece := os.read(terminal, 65536):
            written += piece
    except OSError:  # the terminal's other end is closed
        pass
    os.close(terminal)
    os.waitpid(pid, 0)
    return written


@pytest.mark.parametrize(("extra", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True)])
def test_no_color_silences_colour_on_a_terminal(extra: dict[str, str], coloured: bool) -> None:
    command = planted_process("click.secho('hello', fg='red')")
    assert (b"\x1b[31m" in on_pty(command[1:], **extra)) == coloured


def test_completion_offers_commands_without_importing_them() -> None:
    ran = run(_STOCKADE_COMPLETE="bash_complete", COMP_WORDS="stockade do", COMP_CWORD="1")
    assert ran.stdout == "plain,doctor\n"
    assert "complete" in run(_STOCKADE_COMPLETE="bash_source").stdout


@pytest.mark.parametrize(
    ("given", "shown"), [("plain", "plain"), ("a\x1b[2Jb", "a\\x1b[2Jb"), ("\udc80", "\\udc80"), ("ü\tx", "ü\tx")]
)
def test_control_characters_are_spelled_out(given: str, shown: str) -> None:
    assert output.printable(given) == shown


def test_plain_table_and_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("a", "long"), [("wide cell", "1"), ("b", "")])
    output.json_document({"b": 1, "a": ["\udc80"]})
    assert capsys.readouterr().out == (
        'a          long\nwide cell  1\nb\n{\n  "b": 1,\n  "a": [\n    "\\udc80"\n  ]\n}\n'
    )
    with pytest.raises(ValueError, match="JSON"):
        output.json_document(float("nan"))
