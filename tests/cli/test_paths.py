"""`stockade flow` and `stockade reach`: on a policy, a bundle and a kernel policy, with exit code and reasons."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stockade.bundle.compile import Compiled
from stockade.cli.main import main

SHIPPED = str(Path(__file__).resolve().parents[2] / "policy")
ONE, TWO = "system_u:object_r:data_t:s0:c1,c2", "system_u:object_r:data_t:s0:c3,c4"


@pytest.fixture(scope="module")
def kernel_policy(compiled: Compiled, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("paths") / "policy.31"
    path.write_bytes(compiled.kernel_policy)
    return str(path)


def ask(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main([*words])
    return code, *capsys.readouterr()


def test_a_way_is_shown_with_the_statements_behind_it(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ask(capsys, "flow", "private", "data", SHIPPED)
    assert (code, err) == (0, "")
    assert "      allow api_t private_t:file relabelfrom\n" in out
    assert "      said at host/rules.yaml:" in out
    assert out.endswith("data gets from private to data in 1 step\n")


def test_who_is_trusted_is_left_out_by_the_name_of_a_set(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ask(capsys, "flow", "private", "data", SHIPPED, "--without", "privileged")
    assert (code, out, err) == (1, "nothing gets from private to data\n", "")
    code, out, _ = ask(capsys, "flow", "private", "data", SHIPPED, "--without", "api", "--without", "init_t")
    assert code == 0
    assert "allow api_t" not in out
    assert "allow init_t" not in out


def test_contexts_are_asked_about_with_their_categories(capsys: pytest.CaptureFixture[str], kernel_policy: str) -> None:
    code, out, _ = ask(capsys, "flow", ONE, TWO, kernel_policy)
    assert code == 0
    assert out.startswith(f"{ONE} file\n")
    assert f": {TWO} file\n" in out
    assert out.splitlines()[-1].startswith(f"data gets from {ONE} to {TWO} in ")


def test_a_kernel_policy_answers_in_json(capsys: pytest.CaptureFixture[str], kernel_policy: str) -> None:
    code, out, err = ask(capsys, "flow", "private_t", "data_t", kernel_policy, "--format", "json")
    found = json.loads(out)
    assert (code, err, found["flows"]) == (0, "", True)
    (step,) = found["path"]
    assert step["because"] == ["allow api_t private_t:file relabelfrom", "allow api_t data_t:file relabelto"]
    assert step["statements"] == []
    code, out, _ = ask(capsys, "reach", "container_t", kernel_policy, "--format", "json")
    assert (code, json.loads(out)["domains"]) == (1, [])


def test_what_a_process_becomes(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ask(capsys, "reach", "init", SHIPPED, "--to", "runtime")
    assert (code, err) == (0, "")
    assert "  executes runtime_exec_t: system_u:system_r:runtime_t:s0\n" in out
    assert out.endswith("init reaches runtime\n")
    assert ask(capsys, "reach", "web", SHIPPED)[:2] == (1, "web does not reach any other domain\n")
    assert ask(capsys, "reach", "web", SHIPPED, "--to", "runtime")[:2] == (1, "web does not reach runtime\n")
    code, out, _ = ask(capsys, "reach", "init", SHIPPED, "--format", "json")
    domains = [one["domain"] for one in json.loads(out)["domains"]]
    assert code == 0
    assert any(name.startswith("system_u:system_r:runtime_t:") for name in domains)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("flow", "privat", "data", SHIPPED), 2, "`privat` is not a type in this policy; did you mean `private`?"),
        (("flow", "data", "data_t", SHIPPED), 2, "are one label"),
        (("flow", "private", "data", SHIPPED, "--without", "privilegd"), 2, "did you mean `privileged`?"),
        (("flow", "private", "data", SHIPPED, "--level", "s0:c9999"), 2, "c9999"),
        (("reach", "data", SHIPPED), 2, "not a type of processes"),
        (("reach", "wbe", SHIPPED), 2, "did you mean `web`?"),
        (("reach", "init", f"{SHIPPED}/nowhere"), 3, "no such folder"),
        (("reach", "init", f"{SHIPPED}/host/rules.yaml"), 3, "nor a kernel policy"),
    ],
)
def test_a_bad_question(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, message: str) -> None:
    answer, out, err = ask(capsys, *words)
    assert (answer, out) == (code, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_torn_kernel_policy_is_no_answer(
    capsys: pytest.CaptureFixture[str], kernel_policy: str, tmp_path: Path
) -> None:
    torn = tmp_path / "torn"
    torn.write_bytes(Path(kernel_policy).read_bytes()[:5000])
    code, out, err = ask(capsys, "reach", "init_t", str(torn))
    assert (code, out) == (3, "")
    assert str(torn) in err
