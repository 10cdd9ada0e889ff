"""The commands about seccomp, from the command line to the exit code."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stockade.cli.calls import CallError, read_call
from stockade.cli.main import main
from stockade.model.syscalls import numbers
from stockade.seccomp.cbpf import compile_filter
from stockade.seccomp.emulate import decode
from stockade.seccomp.profile import read_profile
from stockade.seccomp.prove import prove_filter

SHIPPED = "/usr/share/containers/seccomp.json"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)

    def ran(*words: Any) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        out, err = capfd.readouterr()
        assert "Traceback" not in err and "unexpected" not in err, err
        return code, out, err

    return ran


def entry(names: str, action: str = "ALLOW", *args: tuple[int, str, int], **more: Any) -> dict[str, Any]:
    tests = [{"index": index, "op": f"SCMP_CMP_{op}", "value": value} for index, op, value in args]
    return {"names": names.split(), "action": f"SCMP_ACT_{action}", "args": tests, **more}


def write(name: str, *entries: dict[str, Any], **more: Any) -> Path:
    path = Path(name)
    path.write_text(json.dumps({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": list(entries), **more}))
    return path


@pytest.mark.parametrize("archs", ["x86_64", "x86_64,i386,x32", "aarch64,arm"])
@pytest.mark.parametrize("model", ["bitmap", "pre-5.11"])
def test_compile(run: Run, archs: str, model: str) -> None:
    code, out, err = run("seccomp", "compile", SHIPPED, "--arch", archs, "--model", model, "-o", "x.bpf")
    assert code == 0
    program = Path("x.bpf").read_bytes()
    names = tuple(archs.split(","))
    prove_filter(read_profile(Path(SHIPPED).read_bytes(), names).policy, names, program)
    assert out == f"x.bpf: {len(program) // 8} instructions for {', '.join(names)}, proven equal to {SHIPPED}\n"
    assert err == "conflict: $.syscalls[1] and $.syscalls[15] answer `setns` differently: the stricter wins\n"


def test_compile_depends_on_capabilities_and_kernel(run: Run) -> None:
    path = write(
        "p.json", entry("mount", includes={"caps": ["CAP_SYS_ADMIN"]}), entry("bpf", includes={"minKernel": "5.8"})
    )

    def compiled(*more: str) -> bytes:
        assert run("seccomp", "compile", path, "--arch", "x86_64", *more, "-o", "x.bpf")[0] == 0
        return Path("x.bpf").read_bytes()

    sizes = {compiled(*more) for more in ([], ["--caps", "sys_admin"], ["--kernel", "5.7"], ["--caps", "CAP_KILL"])}
    assert len(sizes) == 3
    assert compiled("--caps", "all") == compiled("--caps", "SYS_ADMIN,CAP_KILL")
    assert compiled() == compiled("--caps", "none") == compiled("--kernel", "5.8")


def test_compile_as_json_covers_what_the_profile_covers(run: Run) -> None:
    code, out, _ = run("seccomp", "compile", SHIPPED, "-o", "x.bpf", "--format", "json")
    said = json.loads(out)
    assert code == 0 and said["proven"] is True
    assert said["instructions"] == len(decode(Path("x.bpf").read_bytes()))
    if os.uname().machine == "x86_64":
        assert said["architectures"] == ["x86_64", "i386", "x32"]
    assert [one["call"] for one in said["conflicts"]] == ["setns"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["compile", "none.json", "-o", "x.bpf"], 3, "none.json: No such file or directory"),
        (["compile", "bad.json", "-o", "x.bpf"], 1, "bad.json: $: not JSON"),
        (["compile", "raed.json", "-o", "x.bpf"], 1, "$.syscalls[0].names[0]: unknown system call `raed`; did you"),
        (["compile", "ok.json", "-o", "no/x.bpf"], 3, "No such file"),
        (["compile", "ok.json", "-o", "x.bpf", "--arch", "x86"], 2, "unknown architecture 'x86'"),
        (["compile", "ok.json", "-o", "x.bpf", "--arch", "x86_64,x86_64"], 2, "stands twice"),
        (["compile", "ok.json", "-o", "x.bpf", "--caps", "SYS_ADMINN"], 2, "did you mean `SYS_ADMIN`?"),
        (["compile", "ok.json", "-o", "x.bpf", "--kernel", "six"], 2, "'six' is not a version"),
        (["compile", "ok.json", "-o", "x.bpf", "--arch", "x86_64,i386"], 1, "it does not cover i386"),
        (["compile", "ok.json"], 2, "Missing option"),
        (["explain", "bad.json"], 3, "bad.json: $: not JSON"),
        (["explain", "."], 3, ".: a folder, where a seccomp profile or a raw filter is expected"),
        (["explain", "bad.bpf"], 3, "bad.bpf: not a raw filter"),
        (["explain", "kernel.policy"], 3, "an SELinux kernel policy"),
        (["explain", "ok.json", "--runtime", "runc", "--libseccomp", "1.0"], 2, "libseccomp 1.0 is not known"),
        (["explain", "ok.bpf", "--runtime", "runc"], 2, "a raw filter is loaded as it is"),
        (["run", "ok.json", "--arch", "x86_64", "read"], 3, "not a raw filter: a profile, compile it first"),
        (["run", "ok.bpf", "--arch", "x86_64", "raed"], 2, "x86_64 has no system call 'raed'; did you mean `read`?"),
        (["run", "ok.bpf", "--arch", "mips", "read"], 2, "unknown architecture 'mips'"),
    ],
)  # fmt: skip
def test_what_goes_wrong(run: Run, words: list[str], code: int, message: str) -> None:
    write("ok.json", entry("read"))
    write("raed.json", entry("raed"))
    Path("bad.json").write_text("{")
    Path("bad.bpf").write_bytes(b"\0" * 9)
    Path("kernel.policy").write_bytes(b"\x8c\xff\x7c\xf9" + b"\0" * 40)
    Path("ok.bpf").write_bytes(compile_filter(read_profile(Path("ok.json").read_bytes()).policy, "x86_64"))
    before = sorted(Path().iterdir())
    got, out, err = run("seccomp", *words)
    assert (got, out) == (code, "")
    assert message in " ".join(err.split())
    assert sorted(Path().iterdir()) == before, "nothing is left behind"


def test_what_stood_there_survives(run: Run) -> None:
    Path("x.bpf").write_text("precious")
    assert run("seccomp", "compile", write("p.json", entry("raed")), "-o", "x.bpf")[0] == 1
    assert Path("x.bpf").read_text() == "precious"
    code, _, err = run("seccomp", "compile", "p.json", "-o", "x.bpf", "--skip-unknown")
    assert (code, err) == (0, "skipped: $.syscalls[0].names[0]: unknown system call `raed`\n")
    assert Path("x.bpf").stat().st_mode & 0o777 == 0o644


@pytest.fixture
def filter_(run: Run) -> Path:
    path = write("f.json", entry("read"), entry("socket", "ALLOW", (0, "LT", 38)), entry("bpf", "ERRNO", errnoRet=13))
    assert run("seccomp", "compile", path, "--arch", "x86_64", "-o", "f.bpf")[0] == 0
    return Path("f.bpf")


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["read"], "read() on x86_64: allow"), (["0"], "read() on x86_64: allow"),
        (["write"], "write() on x86_64: errno 1"),
        (["bpf"], "bpf() on x86_64: errno 13"), (["socket", "ALG"], "socket(family=ALG) on x86_64: errno 1"),
        (["socket", "AF_INET", "SOCK_STREAM|CLOEXEC"], "socket(family=INET, type=STREAM|CLOEXEC) on x86_64: allow"),
        (["socket", "type=1", "family=38"], "socket(family=ALG, type=STREAM) on x86_64: errno 1"),
        (["socket(family=ALG, type=5)"], "socket(family=ALG, type=SEQPACKET) on x86_64: errno 1"),
        (["socket", "-1"], "socket(family=0xffffffffffffffff) on x86_64: errno 1"),
        (["socket", "arg2=7"], "socket(protocol=0x7) on x86_64: allow"),
        (["4000"], "call 0xfa0 of x86_64, which has no name on x86_64: errno 1"),
    ],
)  # fmt: skip
def test_run(run: Run, filter_: Path, words: list[str], answer: str) -> None:
    code, out, err = run("seccomp", "run", filter_, "--arch", "x86_64", *words)
    assert (code, err) == (0, "")
    said, _, count = out.strip().rpartition(", in ")
    assert said == answer
    assert count.endswith(" instructions") and int(count.split()[0]) > 2


def test_run_as_json(run: Run, filter_: Path) -> None:
    code, out, _ = run("seccomp", "run", filter_, "--arch", "i386", "write", "1", "--format", "json")
    said = json.loads(out)
    assert (code, said["action"], said["number"], said["arguments"][0]) == (0, "kill-thread", 4, 1)
    assert 1 < said["instructions"] < 10


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["socket", "INET7"], "'INET7' is no value of `family`"), (["socket", "famly=1"], "did you mean `family`?"),
        (["read", "x"], "argument 0 of `read` has no symbols"), (["read", *"1234567"], "at most six"),
        (["socket", "1", "family=2"], "argument 0 stands twice"), (["socket(family=1)", "2"], "its arguments already"),
        (["read", "0x1ffffffffffffffff"], "not a number"), (["99999999999"], "32 bits"),
        (["4000", "x=1"], "no argument 'x'"),
        (["read", "99999999999999999999"], "does not fit 64 bits"),
    ],
)  # fmt: skip
def test_calls_that_make_no_sense(words: list[str], message: str) -> None:
    with pytest.raises(CallError, match=message):
        read_call("x86_64", words[0], words[1:])


def test_explain(run: Run, filter_: Path) -> None:
    code, out, err = run("seccomp", "explain", filter_)
    assert (code, err) == (0, "")
    assert "x86_64: 1 call is allowed whatever the arguments\n    read\n  numbers: 0\n" in out
    assert "  socket: allow where family is 0x0 to 0x25 and the upper half of family is 0x0; errno 1 otherwise\n" in out
    assert "  errno 13, 1 call:\n    bpf\n" in out
    assert out.endswith("any other architecture: kill-thread\n")
    code, said, _ = run("seccomp", "explain", "f.json", "--arch", "x86_64")
    assert (code, said) == (0, out)


def test_explain_as_json_with_a_runtime(run: Run) -> None:
    path = write("p.json", entry("socket", "ALLOW", (0, "GE", 5), (0, "LE", 2)), entry("mseal"))
    words = ("seccomp", "explain", path, "--arch", "x86_64", "--runtime", "runc", "--libseccomp", "2.5.5")
    code, out, _ = run(*words, "--format", "json")
    said = json.loads(out)
    assert code == 0
    assert (said["kind"], said["runtime"], said["libseccomp"], said["foreign"]) == (
        "profile",
        "runc",
        "2.5.5",
        ["kill-thread"],
    )
    assert [(one["kind"], one["weight"]) for one in said["notHonoured"]] == [
        ("same-argument", "matters"), ("unknown-name", "matters"),
    ]  # fmt: skip
    (section,) = said["architectures"]
    assert section["allowed"] == ["mseal"] and section["allowedNumbers"] == [[numbers("x86_64")["mseal"]] * 2]
    code, out, _ = run(*words)
    assert code == 0 and "runc with libseccomp 2.5.5 would not honour 2 things\n" in out and "same-argument" in out


@pytest.fixture
def three(run: Run) -> None:
    write("a.json", entry("read socket"))
    write("b.json", entry("read"), entry("socket", "ALLOW", (0, "NE", 38)))
    assert run("seccomp", "compile", "b.json", "--arch", "x86_64", "-o", "b.bpf")[0] == 0


@pytest.mark.parametrize("new", ["b.json", "b.bpf"])
@pytest.mark.parametrize(
    ("fail_on", "forth", "back"), [([], 0, 0), (["--fail-on", "widen"], 0, 1), (["--fail-on", "any"], 1, 1)]
)
def test_diff(run: Run, three: None, new: str, fail_on: list[str], forth: int, back: int) -> None:
    code, out, err = run("diff", "a.json", new, "--arch", "x86_64", *fail_on)
    assert (code, err) == (forth, "")
    assert out.splitlines()[1].split() == "narrowed socket x86_64 allow errno 1 socket(family=ALG)".split()
    assert out.splitlines()[2:] == ["1 narrowed"]
    code, out, _ = run("diff", new, "a.json", "--arch", "x86_64", *fail_on)
    assert code == back and out.splitlines()[2:] == ["1 widened"]


def test_diff_of_the_same_and_as_json(run: Run, three: None) -> None:
    code, out, _ = run("diff", "b.json", "b.bpf", "--arch", "x86_64", "--fail-on", "any")
    assert (code, out) == (0, "b.json and b.bpf answer every call alike\n")
    code, out, _ = run("diff", "a.json", "b.bpf", "--arch", "x86_64", "--format", "json")
    said = json.loads(out)
    assert (code, said["same"], said["counts"]) == (0, False, {"widened": 0, "narrowed": 1, "errno": 0, "changed": 0})
    (one,) = said["differences"]
    assert one == {
        "kind": "narrowed", "call": "socket", "architectures": ["x86_64"], "old": {"action": "allow"},
        "new": {"action": "errno", "errno": 1}, "witness": "socket(family=ALG)",
    }  # fmt: skip
    code, out, _ = run("seccomp", "run", "b.bpf", "--arch", "x86_64", one["witness"])
    assert code == 0 and "errno 1" in out


@pytest.mark.parametrize(
    ("side", "message"),
    [
        ("bundle", "manifest.json"), ("kernel.policy", "have nothing in common"), ("none", "No such file"),
        ("bad.json", "not JSON"),
    ],
)  # fmt: skip
def test_what_diff_does_not_compare(run: Run, three: None, side: str, message: str) -> None:
    Path("bundle").mkdir()
    Path("bundle/manifest.json").write_text("{}")
    Path("kernel.policy").write_bytes(b"\x8c\xff\x7c\xf9" + b"\0" * 40)
    Path("bad.json").write_text("[")
    for pair in ((side, "a.json"), ("a.json", side)):
        code, out, err = run("diff", *pair, "--fail-on", "any")
        assert (code, out) == (3, "") and message in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["seccomp"],
        ["seccomp", "compile"],
        ["seccomp", "run"],
        ["seccomp", "explain"],
        ["diff"],
        ["import"],
        ["import", "seccomp"],
    ],
)
def test_help_has_an_example(run: Run, words: list[str]) -> None:
    code, out, _ = run(*words, "--help")
    assert code == 0 and f"stockade {words[0]}" in out.partition("Example:")[2]


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        ("stockade.seccomp.cbpf.compile_filter", lambda *_: b"\x06\0\0\0\0\0\xff\x7f"),
        ("stockade.seccomp.profile_rules.alternatives", lambda _: [()]),
    ],
    ids=["the filter", "the reading of the profile"],
)
def test_what_is_not_proven_is_not_written(run: Run, monkeypatch: pytest.MonkeyPatch, place: str, wrong: Any) -> None:
    path = write("p.json", entry("socket", "ALLOW", (0, "EQ", 1)))
    monkeypatch.setattr(place, wrong)
    code, out, err = run("seccomp", "compile", path, "--arch", "x86_64", "-o", "x.bpf")
    assert (code, out) == (1, "") and "nothing is written, the filter would be wrong" in err
    assert sorted(Path().iterdir()) == [path]


def test_a_negative_number_has_32_bits() -> None:
    assert read_call("x86_64", "-1", ())[:2] == (None, 0xFFFFFFFF)
