"""`stockade lab prove`: yes where the kernel agrees, no where a need is wrong, and faults before any boot."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from stockade.bundle.actions import PATH
from stockade.bundle.compile import Compiled
from stockade.bundle.write import write
from stockade.cli.main import main


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["lab", "prove", *words])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(scope="module")
def forgetful(compiled: Compiled, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped bundle, whose actions have forgotten that a restart takes a capability."""
    folder = tmp_path_factory.mktemp("forgetful") / "bundle"
    changed = []
    for artefact in compiled.artefacts:
        if artefact.path == PATH:
            document = json.loads(artefact.content)
            ways = document["actions"]["restart-the-host"]["ways"]
            document["actions"]["restart-the-host"]["ways"] = [
                [n for n in way if "capability" not in n] for way in ways
            ]
            artefact = replace(artefact, content=json.dumps(document).encode())
        changed.append(artefact)
    names = {"policy_name": "p", "policy_version": "1", "source_digest": "0" * 64, "compiler_digest": "0" * 64}
    write(folder, changed, **names)
    return folder


def test_a_forgotten_need_is_named(capsys: pytest.CaptureFixture[str], forgetful: Path) -> None:
    chosen = ("--type", "ordinary", "--setting", "full", "--setting", "without-seccomp")
    code, out, err = run(capsys, str(forgetful), *chosen)
    assert code == 1
    assert "the kernel disagrees" in err
    wrong = [line for line in err.splitlines() if "by prediction" in line]
    assert len(wrong) == 1
    assert "ordinary, without-seccomp: `restart-the-host` goes through by prediction" in wrong[0]
    assert "EPERM" in wrong[0]
    assert "1 not as predicted" in out


def test_the_answer_as_json_and_kept(capsys: pytest.CaptureFixture[str], bundle: Path, tmp_path: Path) -> None:
    kept = tmp_path / "proof.json"
    chosen = ("--type", "web", "--setting", "full", "-o", str(kept), "--format", "json")
    code, out, err = run(capsys, str(bundle), *chosen)
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document == json.loads(kept.read_text())
    assert (document["types"], document["settings"]) == (["web"], ["full"])
    assert document["mismatches"] == document["problems"] == []
    assert document["compared"] + len(document["untried"]) == len(document["tried"])
    assert document["tried"]["restart-the-host"]["web"] == {"full": "reboot: EPERM", "nothing": "reboot: EINVAL"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--type", "wbe"), 2, "unknown container type `wbe`"),
        (("--setting", "half"), 2, "unknown setting `half`"),
    ],
)
def test_what_is_not_there_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], bundle: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    answer, out, err = run(capsys, str(bundle), *words)
    assert (answer, out) == (code, "")
    assert said in err


def test_no_bundle_no_answer(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    answer, out, err = run(capsys, str(tmp_path))
    assert (answer, out) == (3, "")
    assert "manifest.json: missing" in err
