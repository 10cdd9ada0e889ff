"""`stockade diff` on sides with labels: folders, bundles and kernel policies, what is wider, and the exit code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from stockade.cli.main import main

SHIPPED = Path(__file__).resolve().parents[2] / "policy"


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """The shipped policy with one rule that is wider and one container type that is narrower."""
    folder = tmp_path / "changed"
    shutil.copytree(SHIPPED, folder)
    rules, web = folder / "host/rules.yaml", folder / "containers/web.yaml"
    wider = rules.read_text().replace("{who: api-users, may: [modify,", "{who: [api-users, control], may: [modify,")
    assert wider != rules.read_text()
    rules.write_text(wider)
    narrower = web.read_text().replace("families: [unix, inet, inet6]", "families: [unix, inet]")
    assert narrower != web.read_text()
    web.write_text(narrower)
    return folder


def diff(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main(["diff", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_folder_its_bundle_and_its_kernel_policy_are_the_same(
    capsys: pytest.CaptureFixture[str], bundle: Path
) -> None:
    kernel_policy = bundle / "host/policy.31"
    for sides in ((SHIPPED, bundle), (bundle, kernel_policy), (kernel_policy, SHIPPED)):
        assert diff(capsys, *sides, "--fail-on", "any") == (0, "both policies decide the same\n", "")


def test_what_is_wider_names_its_rule_and_what_is_narrower_a_call(
    capsys: pytest.CaptureFixture[str], changed: Path
) -> None:
    code, out, err = diff(capsys, SHIPPED, changed, "--fail-on", "widen")
    assert (code, err) == (1, "")
    assert "control_t\n    + private_t\n        modify, modify-blocks\n" in out
    assert "said at host/rules.yaml:" in out
    assert "socket(family=INET6)" in out
    assert diff(capsys, SHIPPED, changed)[0] == 0


def test_the_reverse_is_wider_in_calls_alone(capsys: pytest.CaptureFixture[str], changed: Path) -> None:
    code, out, _ = diff(capsys, changed, SHIPPED, "--fail-on", "widen", "--format", "json")
    document = json.loads(out)
    assert code == 1
    assert document["labels"]["widened"] == []
    assert {(one["container"], one["architecture"]) for one in document["calls"]} == {
        ("web", "aarch64"),
        ("web", "x86_64"),
    }
    assert {d["kind"] for one in document["calls"] for d in one["differences"]} == {"widened"}


def test_a_new_container_type_is_a_widening(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "more"
    shutil.copytree(SHIPPED, folder)
    (folder / "containers/extra.yaml").write_text("container: extra\nextends: web\nwhy: One more.\n")
    code, out, _ = diff(capsys, SHIPPED, folder, "--fail-on", "widen")
    assert code == 1
    assert "filter of extra on x86_64: only in the new" in out


def test_labels_and_calls_alone_have_nothing_in_common(capsys: pytest.CaptureFixture[str], bundle: Path) -> None:
    code, out, err = diff(capsys, bundle, bundle / "containers/web/seccomp.json")
    assert (code, out) == (3, "")
    assert "have nothing in common" in err


def test_with_a_bundle_what_the_runtime_is_told_is_compared_too(
    capsys: pytest.CaptureFixture[str], bundle: Path, tmp_path: Path
) -> None:
    """A limit is no label and no call, and which of two values is tighter their documents do not say."""
    folder = tmp_path / "raised"
    shutil.copytree(SHIPPED, folder)
    web = folder / "containers/web.yaml"
    raised = web.read_text().replace("pids.max: 512", "pids.max: 513")
    assert raised != web.read_text()
    web.write_text(raised)
    said = "runtime: web: linux.resources.pids.limit: 512 is now 513\n"
    assert diff(capsys, bundle, folder) == (0, said, "")
    for fail_on in ("any", "widen"):
        assert diff(capsys, bundle, folder, "--fail-on", fail_on)[0] == 1
    _, out, _ = diff(capsys, bundle, folder, "--format", "json")
    assert json.loads(out)["same"] is False
    assert json.loads(out)["runtime"] == [
        {"container": "web", "path": "linux.resources.pids.limit", "old": "512", "new": "513"}
    ]


def test_a_bundle_whose_file_is_not_the_compiled_one_is_no_answer(
    capsys: pytest.CaptureFixture[str], bundle: Path, tmp_path: Path
) -> None:
    shutil.copytree(bundle, tmp_path / "bundle")
    (tmp_path / "bundle/containers/web/oci.json").write_text("{}")
    code, out, err = diff(capsys, tmp_path / "bundle", bundle)
    assert (code, out) == (3, "")
    assert "containers/web/oci.json: changed" in err


@pytest.mark.parametrize("content", [b"\x8c\xff\x7c\xf9", b"\x8c\xff\x7c\xf9" + bytes(500)])
def test_a_damaged_kernel_policy_is_no_answer(
    capsys: pytest.CaptureFixture[str], bundle: Path, tmp_path: Path, content: bytes
) -> None:
    damaged = tmp_path / "policy.31"
    damaged.write_bytes(content)
    code, out, err = diff(capsys, bundle, damaged)
    assert (code, out) == (3, "")
    assert err.startswith("stockade: ")


def test_a_wrong_policy_is_said_with_its_line(capsys: pytest.CaptureFixture[str], changed: Path) -> None:
    rules = changed / "host/rules.yaml"
    rules.write_text(rules.read_text().replace("who: subjects, may: describe", "who: subjects, may: descrbe"))
    code, _, err = diff(capsys, SHIPPED, changed)
    assert code == 1
    assert "unknown verb `descrbe`" in err
