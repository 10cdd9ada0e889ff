"""`--policy-version` and `--target`: what they write, and what they refuse."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from stockade.bundle.read import read
from stockade.cli.main import main
from stockade.prove.bundled import kernel_policy

SHIPPED = Path(__file__).resolve().parents[2] / "policy"


def build(output: Path, *options: str) -> int:
    return main(["build", str(SHIPPED), "-o", str(output), "--format", "json", *options])


def manifest(output: Path) -> tuple[str, set[str]]:
    """The digest of the source and the paths."""
    document = json.loads((output / "manifest.json").read_text())
    return document["source"], {entry["path"] for entry in document["files"]}


def test_a_format_of_the_kernel_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digests = set()
    for version in ("30", "33"):
        assert build(tmp_path / version, "--policy-version", version) == 0
        path, policy = kernel_policy(read(tmp_path / version))
        assert path == f"host/policy.{version}"
        # The magic number, the length of "SE Linux", that text, and then the version: see the kernel's policydb.c.
        assert policy[:4] == bytes.fromhex("8cff7cf9") and policy[8:16] == b"SE Linux"
        assert int.from_bytes(policy[16:20], "little") == int(version)
        digests.add(manifest(tmp_path / version)[0])
    assert len(digests) == 2
    capsys.readouterr()
    assert build(tmp_path / "33", "--policy-version", "33") == 0
    assert json.loads(capsys.readouterr().out)["changed"] is False


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--policy-version", "29"], 2, "29 is not in the range"),
        (["--policy-version", "99"], 1, "kernel policy version 99: the libsepol here takes 15 to"),
        (["--policy-version", "31", "--target", "refpolicy"], 2, "target `refpolicy` has none"),
        (["--target", "gentoo"], 2, "gentoo"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: int, said: str
) -> None:
    assert build(tmp_path / "out", *options) == code
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_check_takes_a_format_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(SHIPPED), "--policy-version", "99"]) == 1
    assert "kernel policy version 99" in capsys.readouterr().err


def test_the_other_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(tmp_path / "out", "--target", "refpolicy", "--type", "web") == 0
    said = capsys.readouterr()
    (count,) = re.findall(r"(\d+) grants have no counterpart there", said.err)  # of this type alone
    assert json.loads(said.out)["changed"] is True
    _, paths = manifest(tmp_path / "out")
    assert {path for path in paths if path.startswith("host/")} == {"host/lxc_contexts", "host/container_labels.json"}
    assert "containers/web/selinux.if" in paths and not any(path.startswith("containers/batch/") for path in paths)
    page = (tmp_path / "out" / "containers/web/summary.md").read_text()
    assert page.count("\n  - host/rules.yaml:") == int(count) > 0
