"""`stockade matrix`: the same numbers as text, JSON, page and picture, from a policy and from a bundle."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from stockade.cli.main import main
from stockade.model.policy import Policy

SHIPPED = Path(__file__).resolve().parents[2] / "policy"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["matrix", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_all_forms_say_the_same(capsys: pytest.CaptureFixture[str], policy: Policy, bundle: Path) -> None:
    code, out, err = run(capsys, str(SHIPPED), "--format", "json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    counts = {a["action"]: [len(a["stoppedBy"][t]) for t in document["types"]] for a in document["actions"]}
    assert counts.keys() == policy.actions.keys()
    assert run(capsys, str(bundle), "--format", "json")[1] == out
    text = run(capsys, str(bundle))[1]
    for name, found in counts.items():
        assert re.search(rf"^{name} +\w+ +{' +'.join(str(n or '-') for n in found)} *$", text, re.M), name
    page = run(capsys, str(bundle), "--format", "html")[1]
    fields = re.findall(r'<span class="heat h\d" title="[^"]*"><span class="heard">[^<]* </span>(\d)</span>', page)
    assert sorted(map(int, fields)) == sorted(n for found in counts.values() for n in found)
    assert "<script" not in page and "http" not in page.replace("http-equiv", "")
    picture = run(capsys, str(bundle), "--format", "svg")[1]
    titles = [e.text for e in ElementTree.fromstring(picture).iter() if e.tag.endswith("title")]
    assert sorted(str(t).rsplit(": ", 1)[1] for t in titles) == sorted(map(str, map(int, fields)))


def test_a_file_is_written_whole(capsys: pytest.CaptureFixture[str], bundle: Path, tmp_path: Path) -> None:
    target = tmp_path / "matrix.txt"
    assert run(capsys, str(bundle), "-o", str(target))[0] == 0
    assert target.read_text().startswith("action ")
    code, _, err = run(capsys, str(bundle), "-o", str(tmp_path / "no" / "where"))
    assert (code, list(tmp_path.iterdir())) == (3, [target])
    assert "No such file" in err


def test_a_bundle_without_actions_is_refused(capsys: pytest.CaptureFixture[str], bundle: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "b"
    shutil.copytree(bundle, copy)
    (copy / "host/actions.json").unlink()
    code, out, err = run(capsys, str(copy))
    assert (code, out) == (3, "")
    assert "host/actions.json: missing" in err
