"""`stockade lab run`: the command's own words and end, and the kernel's denials, for people and as JSON."""

from __future__ import annotations

import json
from errno import EACCES
from pathlib import Path

import pytest
from stockade.cli import lab_image
from stockade.cli.main import main


def test_a_command_in_the_guest_as_json(
    bundle: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    (tmp_path / "note").write_text("laid\n")
    argv = ["/usr/bin/containerd-lab", "read", "/var/note"]
    options = ["--bundle", str(bundle), "--file", f"{tmp_path}/note:/var/note", "--format", "json"]
    assert main(["lab", "run", *options, "--", *argv]) == 0
    told = json.loads(capsysbinary.readouterr().out)
    (task,) = told["tasks"]
    assert (told["enforcing"], task["argv"], task["status"], task["stdout"]) == (True, argv, 0, "laid\n")
    assert task["denials"] == []


def test_a_denied_command_ends_with_1(bundle: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    argv = ["/usr/bin/containerd-lab", "create", "/etc/new"]
    context = "system_u:system_r:container_t:s0:c1,c2"
    status = main(["lab", "run", "--bundle", str(bundle), "--context", context, "--", *argv])
    said = capsysbinary.readouterr().err.decode().splitlines()
    assert status == 1
    assert said[-2:] == [
        f"denied: {context} may not {{ write }} on dir system_u:object_r:etc_t:s0",
        f"stockade: {argv[0]} ended with {EACCES}",
    ]


@pytest.mark.parametrize("pair", ["nothing", "here:relative"])
def test_a_file_that_goes_nowhere_is_wrong_usage(pair: str, bundle: Path) -> None:
    assert main(["lab", "run", "--bundle", str(bundle), "--file", pair, "--", "true"]) == 2


def test_a_bundle_that_is_none_could_not_be_asked(tmp_path: Path) -> None:
    assert main(["lab", "run", "--bundle", str(tmp_path), "--", "true"]) == 3


@pytest.mark.parametrize("looks", [True, False])
def test_who_waits_at_a_terminal_sees_for_what(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], looks: bool
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(lab_image, "on_terminal", lambda stream: looks)
    with lab_image.waiting("every action"):
        pass
    out, err = capsys.readouterr()
    assert (out, "every action" in err) == ("", looks)
