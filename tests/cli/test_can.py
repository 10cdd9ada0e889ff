"""`stockade can`: every kind of question, on a policy and on a bundle, with the exit code and the reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stockade.cli.main import main

SHIPPED = Path(__file__).resolve().parents[2] / "policy"


def ask(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["can", *words])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(
    ("who", "question", "level", "code", "said"),
    [
        ("web", "modify:private", "s0", 1, "promised at promises/objectives.yaml"),
        ("web", "modify:data", "s0:c1", 0, "given at host/rules.yaml"),
        ("web", "modify:data", "s0:c3", 1, "the constraint at host/labels.yaml"),
        ("web", "file.write:data", "s0:c1,c2", 0, "given at"),
        ("web", "make-code:self", "s0", 1, "no rule gives"),
        ("ordinary", "make-code:self", "s0", 0, "just-in-time"),
        ("ordinary", "modify:runtime", "s0", 1, "of what was asked it has fifo_file { append lock write } alone"),
        ("ordinary", "SYS_ADMIN", "s0", 1, "SYS_ADMIN is not held (containers/ordinary.yaml"),
        ("bootstrap", "CAP_SYS_ADMIN", "s0", 0, "SYS_ADMIN is held"),
        ("ordinary", "mount", "s0", 1, "mount() on x86_64: errno 1"),
        ("bootstrap", "mount", "s0", 0, "mount() on x86_64: allow"),
        ("ordinary", "socket(family=INET)", "s0", 0, "allow"),
        ("ordinary", "socket(family=0x26)", "s0", 1, "errno 1"),
        ("ordinary", "clone3", "s0", 1, "errno 38"),
        ("ordinary", "load-kernel-module", "s0", 1, "denied by 3 layers"),
        ("admin", "load-kernel-module", "s0", 0, "is allowed"),
        ("api", "modify:private", "s0", 0, "settings change through the API alone"),
        ("runtime_t", "transform:web", "s0", 0, "the runtime starts the containers"),
        ("system", "weaken-selinux:kernel", "s0", 1, "promised at promises/kernel.yaml"),
    ],
)
def test_a_policy_answers(
    capsys: pytest.CaptureFixture[str], who: str, question: str, level: str, code: int, said: str
) -> None:
    answer, out, err = ask(capsys, who, question, str(SHIPPED), "--level", level)
    assert (answer, err) == (code, "")
    assert said in out


@pytest.mark.parametrize(
    ("who", "question", "message"),
    [
        ("wbe", "mount", "unknown container type or subject `wbe`; did you mean `web`?"),
        ("web", "modfy:private", "unknown verb `modfy`; did you mean `modify`?"),
        ("web", "modify:privat", "unknown subject or object `privat`; did you mean `private`?"),
        ("web", "file.wirte:private", "unknown permission of file `wirte`; did you mean `write`?"),
        ("web", "fiel.write:private", "unknown class `fiel`; did you mean `file`?"),
        ("web", "load-kernel-modul", "did you mean `load-kernel-module`?"),
        ("web", "socket(famly=INET)", "unknown argument of socket"),
        ("web", "socket(family=INTE)", "unknown argument of socket"),
        ("api", "mount", "unknown container type (a host subject has labels alone) `api`"),
    ],
)
def test_a_question_about_nothing_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], who: str, question: str, message: str
) -> None:
    answer, out, err = ask(capsys, who, question, str(SHIPPED))
    assert (answer, out) == (2, "")
    assert message in err


@pytest.mark.parametrize(
    ("who", "question", "level", "code", "said"),
    [
        ("web", "file.write:private_t", "s0", 1, "no rule allows it"),
        ("web", "file.write:data_t", "s0:c1,c2", 0, "allowed by a rule"),
        ("web", "file.write:data_t", "s0:c3", 1, "mlsconstrain"),
        ("runtime_t", "process.transition:web_t", "s0", 0, "allowed by a rule"),
        ("web", "SYS_ADMIN", "s0", 1, "has not CAP_SYS_ADMIN"),
        ("bootstrap", "SYS_ADMIN", "s0", 0, "has CAP_SYS_ADMIN"),
        ("web", "mount-file-system", "s0", 1, "denied by 3 layers"),
        ("admin", "mount-file-system", "s0", 0, "is allowed"),
        ("web", "mount", "s0", 1, "errno 1"),
        ("web", "socket(family=INET6)", "s0", 0, "instructions of containers/web/seccomp.x86_64.bpf"),
    ],
)
def test_a_bundle_answers_from_its_artefacts(
    capsys: pytest.CaptureFixture[str], bundle: Path, who: str, question: str, level: str, code: int, said: str
) -> None:
    answer, out, err = ask(capsys, who, question, str(bundle), "--level", level)
    assert (answer, err) == (code, "")
    assert said in out


def test_a_call_that_no_filter_can_meet_is_no_yes(capsys: pytest.CaptureFixture[str], bundle: Path) -> None:
    answer, out, err = ask(capsys, "web", "arm_fadvise64_64", str(bundle))
    assert (answer, out) == (2, "")
    assert "arm_fadvise64_64" in err


def test_a_tampered_bundle_answers_nothing(capsys: pytest.CaptureFixture[str], bundle: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    filter_file = copy / "containers/web/seccomp.x86_64.bpf"
    filter_file.write_bytes(filter_file.read_bytes()[:-1] + b"\xff")
    answer, out, err = ask(capsys, "web", "mount", str(copy))
    assert (answer, out) == (3, "")
    assert "seccomp.x86_64.bpf" in err


def test_json_is_one_document_with_every_layer(capsys: pytest.CaptureFixture[str]) -> None:
    answer, out, _ = ask(capsys, "ordinary", "load-kernel-module", str(SHIPPED), "--format", "json")
    document = json.loads(out)
    assert answer == 1
    assert document["allowed"] is False
    assert document["stoppedBy"] == ["capabilities", "seccomp", "selinux"]
    assert [entry["layer"] for entry in document["layers"]] == ["capabilities", "selinux", "seccomp", "selinux"]
    assert len(document["ways"]) == 2
    assert document["ways"][0] == document["layers"]
