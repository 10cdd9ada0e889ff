"""`stockade test`: expectations are asked, and what is not as expected is said with place and reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from stockade.cli.main import main
from stockade.source.diagnostics import PolicyError
from stockade.source.files import SourceFile, read_files
from stockade.source.load import build

from tests.source.policies import SHIPPED

HEAD = "expect: mine\nwhy: because it must\n"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A copy of the shipped policy without its expectations."""
    folder = tmp_path / "policy"
    shutil.copytree(SHIPPED, folder)
    shutil.rmtree(folder / "expectations")
    (folder / "expectations").mkdir()
    return folder


def expect(folder: Path, text: str) -> None:
    (folder / "expectations/mine.yaml").write_text(HEAD + text)


def test_the_shipped_policy_is_as_it_is_expected_to_be(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["test", str(SHIPPED)]) == 0
    out, err = capfd.readouterr()
    assert out == "" and "0 not, 0 could not be given" in err
    assert int(err.split()[0]) >= 40


def test_an_answer_that_is_not_expected_is_shown_with_its_layers(mine: Path, capfd: pytest.CaptureFixture[str]) -> None:
    expect(mine, "who: [web, batch]\nmay: [NET_BIND_SERVICE]\nmay-not: [read]\n")
    assert main(["test", str(mine)]) == 1
    out, err = capfd.readouterr()
    assert "expectations/mine.yaml:4:7: mine: batch may NET_BIND_SERVICE: it may not" in out
    assert "expected because because it must" in out and "capabilities: NET_BIND_SERVICE is not held" in out
    assert "mine: web may not read: it may" in out and "web may NET_BIND" not in out
    assert err.startswith("4 answers: 1 as expected, 3 not")


def test_junit_and_json_say_the_same(mine: Path, capfd: pytest.CaptureFixture[str]) -> None:
    expect(mine, "who: batch\nmay: [NET_BIND_SERVICE, read, fly]\n")
    assert main(["test", str(mine), "--format", "junit"]) == 3
    root = ElementTree.fromstring(capfd.readouterr().out)
    (suite,) = root
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "1")
    assert [len(case) for case in suite] == [1, 0, 1]
    assert suite[0].get("file") == "expectations/mine.yaml" and suite[0].get("line") == "4"
    assert main(["test", str(mine), "--format", "json"]) == 3
    answers = json.loads(capfd.readouterr().out)
    assert [(one["allowed"], one["met"]) for one in answers] == [(False, False), (True, True), (None, False)]
    assert "unknown" in answers[2]["reason"]


def test_categories_of_another_container_are_asked_about(mine: Path) -> None:
    expect(mine, 'who: web\nmay: ["file.read:data"]\nlevel: "s0:c1,c2"\n')
    assert main(["test", str(mine)]) == 0
    expect(mine, 'who: web\nmay: ["file.read:data"]\nlevel: "s0:c3,c4"\n')
    assert main(["test", str(mine)]) == 1


def test_that_nothing_is_asked_is_no_success(mine: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["test", str(mine)]) == 3
    assert "nothing is expected" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("who: wep\nmay: [read]\n", "unknown container type or subject `wep`", 3),
        ("who: web\n", "missing key `may` or `may-not`", 1),
        ("who: web\nmay: [read]\nmay-not: [read]\n", "both allowed and denied", 1),
        ("who: web\nmay: [read]\n---\n" + HEAD + "who: web\nmay: [write]\n", "declared twice", 6),
        ("who: web\nmay: [read]\nwhen: now\n", "unknown key `when`", 5),
    ],
)
def test_what_is_wrong_is_an_error_of_the_policy(text: str, message: str, line: int) -> None:
    files = [file for file in read_files(SHIPPED) if not file.name.startswith("expectations/")]
    with pytest.raises(PolicyError) as error:
        build([*files, SourceFile("expectations/mine.yaml", (HEAD + text).encode())])
    assert [(fault.at.line, message in fault.message) for fault in error.value.diagnostics] == [(line, True)]
