"""Compiling CIL and asking a policy, by libsepol."""

from __future__ import annotations

import resource
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from stockade.selinux.binary import Binary
from stockade.selinux.libsepol import (
    CilError,
    Compiled,
    Decisions,
    Reason,
    SepolError,
    UnknownName,
    available,
    compile_cil,
)

CONTAINER = "system_u:system_r:container_t:s0:c1,c2"
OTHERS_FILE = "system_u:object_r:data_t:s0:c3"
SUBJECT, OBJECT = "user_u:proc_r:subject_t:s0", "user_u:object_r:object_t:s0"


def secilc(folder: Path, files: list[tuple[str, bytes]], *options: str) -> tuple[bytes, str]:
    """What the real compiler makes of the same files."""
    for name, text in files:
        (folder / name).write_bytes(text)
    command = ["secilc", *options, "-o", "policy", "-f", "contexts", *(name for name, _ in files)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return (folder / "policy").read_bytes(), (folder / "contexts").read_text()


def test_it_is_here() -> None:
    assert available() is None


@pytest.mark.parametrize("version", [30, 31, 32, 33])
def test_the_reference_policy_is_byte_identical_with_secilc(tmp_path: Path, reference_cil: bytes, version: int) -> None:
    files = [("reference.cil", reference_cil)]
    ours = compile_cil(files, policy_version=version)
    assert (ours.policy, ours.file_contexts) == secilc(tmp_path, files, "-c", str(version))
    assert len(ours.policy) > 50_000 and ours.file_contexts.count("\n") > 60


@pytest.mark.parametrize("unknown", ["deny", "reject", "allow"])
@pytest.mark.parametrize(
    "extra",
    [
        "",
        "(allow subject_t object_t (file (read)))",
        "(typeattribute any)(typeattributeset any (all))(allow any any (file (read)))(allow any self (dir (search)))",
        "(boolean b true)(booleanif b (true (allow subject_t object_t (file (read)))))",
        '(filecon "/é(/.*)?" any (user_u object_r object_t ((s0) (s0))))',
    ],
)
def test_small_policies_are_byte_identical_with_secilc(tmp_path: Path, small: str, extra: str, unknown: Any) -> None:
    files = [("base.cil", small.encode()), ("extra.cil", extra.encode())]
    ours = compile_cil(files, handle_unknown=unknown)
    assert (ours.policy, ours.file_contexts) == secilc(tmp_path, files, "-c", "31", "-U", unknown)
    assert Binary(ours.policy).handle_unknown == unknown


def test_optimizing_is_secilcs(tmp_path: Path, small: str) -> None:
    group = b"(typeattribute a)(typeattributeset a (subject_t third_t))(allow a a (file (read)))"
    files = [("base.cil", small.encode()), ("extra.cil", group + b"(allow subject_t subject_t (file (read)))")]
    ours = compile_cil(files, optimize=True)
    assert ours.policy == secilc(tmp_path, files, "-O", "-c", "31")[0]
    assert ours.policy != compile_cil(files).policy


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\n(allow subject_t nobody_t (file (read)))", 2),
        ("\n\n(allow subject_t object_t (file (reed)))", 3),
        ("(type x_t", 1),
        ("\n)", 2),
        ('\n(type "x_t)', 2),
        ("\n(type subject_t)", 2),
    ],
)
def test_broken_cil_gives_file_and_line(small: str, text: str, line: int, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CilError) as error:
        compile_cil([("base.cil", small.encode()), ("my own.cil", text.encode())])
    assert ("my own.cil", line) in error.value.places
    assert error.value.messages
    assert capfd.readouterr() == ("", "")


def test_a_neverallow_violation_names_both_lines(small: str, capfd: pytest.CaptureFixture[str]) -> None:
    promise = "\n;;* lms 40 promises.yaml\n(neverallow subject_t object_t (file (write)))\n;;* lme\n"
    rule = "\n\n(allow subject_t object_t (file (read write)))"
    files = [("base.cil", small.encode()), ("promise.cil", promise.encode()), ("rule.cil", rule.encode())]
    with pytest.raises(CilError, match="neverallow") as error:
        compile_cil(files)
    assert error.value.places == (("promise.cil", 3), ("rule.cil", 3))
    assert (error.value.file, error.value.line) == ("promise.cil", 3)
    assert error.value.sources == (("promises.yaml", 40),)
    assert capfd.readouterr() == ("", "")
    assert compile_cil([*files[:2], ("rule.cil", rule.replace(" write", "").encode())]).policy


@pytest.mark.parametrize(
    ("version", "extra", "message"),
    [
        (31, "(defaultrange file glblub)", "version 31 cannot hold this: .defaultrange file glblub.* .version 32 can."),
        (27, "(defaulttype file source)", "defaulttype file source"),
        (24, '(typetransition subject_t object_t file "x" third_t)', "filename"),
        (14, "", "version 14"),
        (99, "", "version 99"),
    ],
)
def test_what_a_version_cannot_hold_is_not_dropped(small: str, version: int, extra: str, message: str) -> None:
    with pytest.raises(CilError, match=message):
        compile_cil([("base.cil", (small + extra).encode())], policy_version=version)


def test_compiling_fifty_times_keeps_memory(reference_cil: bytes, small: str) -> None:
    def resident_kib() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024

    def work() -> None:
        compile_cil([("reference.cil", reference_cil)])
        with pytest.raises(CilError):
            compile_cil([("base.cil", small.encode()), ("bad.cil", b"(allow a b (c (d)))")])

    for _ in range(5):
        work()
    before = resident_kib()
    for _ in range(50):
        work()
    assert resident_kib() - before < 10 * 1024


def test_threads_do_not_mix_their_messages(small: str) -> None:
    heard: dict[int, set[tuple[tuple[str, int], ...]]] = {n: set() for n in range(8)}
    together = threading.Barrier(8)

    def work(n: int) -> None:
        for _ in range(10):
            together.wait()
            with pytest.raises(CilError) as error:
                compile_cil([("base.cil", small.encode()), (f"{n}.cil", b"\n" * n + b"(allow a b (c (d)))")])
            heard[n].add(error.value.places)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == {n: {((f"{n}.cil", n + 1),)} for n in range(8)}


def test_categories_separate_containers(reference_policy: Compiled) -> None:
    with Decisions(reference_policy.policy) as policy:
        denied = policy.access(CONTAINER, OTHERS_FILE, "file", "read")
        assert (denied.allowed, denied.reason) == (False, Reason.CONS)
        assert "h1 dom h2 -Fail-" in denied.text and denied.text.count("\n") == 0
        for own in ("s0", "s0:c1", "s0:c1,c2"):
            granted = policy.access(CONTAINER, f"system_u:object_r:data_t:{own}", "file", "read")
            assert (granted.allowed, granted.reason, granted.text) == (True, Reason(0), "")
        no_rule = policy.access(CONTAINER, "system_u:object_r:private_t:s0", "file", "read")
        assert (no_rule.allowed, no_rule.reason, no_rule.text) == (False, Reason.TE, "")
        assert "read" not in policy.allowed(CONTAINER, OTHERS_FILE, "file")
        assert "getattr" in policy.allowed(CONTAINER, OTHERS_FILE, "file")


@pytest.mark.parametrize(
    ("task", "new", "allowed"),
    [
        (CONTAINER, "system_u:object_r:data_t:s0:c4", False),
        (CONTAINER, OTHERS_FILE, True),
        ("system_u:system_r:runtime_t:s0", "system_u:object_r:data_t:s0:c4", True),
    ],
)
def test_relabelling(reference_policy: Compiled, task: str, new: str, allowed: bool) -> None:
    with Decisions(reference_policy.policy) as policy:
        answer = policy.relabel(OTHERS_FILE, new, task, "file")
    assert answer.allowed == allowed
    assert ("mlsvalidatetrans" in answer.text) != allowed


@pytest.mark.parametrize(
    ("rules", "target", "tclass", "perm", "reason"),
    [
        ("", OBJECT, "file", "read", Reason.TE),
        ("(allow subject_t object_t (file (read)))", OBJECT, "file", "read", Reason(0)),
        (
            "(allow subject_t object_t (file (read)))(constrain (file (read)) (and (eq u1 u2) (eq t1 t2)))",
            OBJECT,
            "file",
            "read",
            Reason.CONS,
        ),
        (
            "(allow subject_t third_t (process (transition)))",
            "user_u:other_r:third_t:s0",
            "process",
            "transition",
            Reason.RBAC,
        ),
        (
            "(allow subject_t third_t (process (transition)))(roleallow proc_r other_r)",
            "user_u:other_r:third_t:s0",
            "process",
            "transition",
            Reason(0),
        ),
    ],
)
def test_reasons(small: str, rules: str, target: str, tclass: str, perm: str, reason: Reason) -> None:
    with Decisions(compile_cil([("base.cil", (small + rules).encode())]).policy) as policy:
        answer = policy.access(SUBJECT, target, tclass, perm)
    assert (answer.allowed, answer.reason) == (not reason, reason)
    assert bool(answer.text) == (reason == Reason.CONS)


@pytest.mark.parametrize(
    ("question", "name"),
    [
        (("nobody", OBJECT, "file", "read"), "context 'nobody'"),
        ((SUBJECT, OBJECT + "\0", "file", "read"), "context"),
        ((SUBJECT, "user_u:object_r:object_t:s0:c9", "file", "read"), "c9"),
        ((SUBJECT, "user_u:object_r:object_t", "file", "read"), "object_t'"),
        ((SUBJECT, OBJECT, "fil", "read"), "class 'fil'"),
        ((SUBJECT, OBJECT, "file", "reed"), "permission 'reed'"),
        ((SUBJECT, OBJECT, "file", "search"), "permission 'search'"),
    ],
)
def test_unknown_names(
    small: str, question: tuple[str, str, str, str], name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with (
        Decisions(compile_cil([("base.cil", small.encode())]).policy) as policy,
        pytest.raises(UnknownName, match=name),
    ):
        policy.access(*question)
    assert capfd.readouterr() == ("", "")


def test_one_policy_at_a_time(small: str) -> None:
    first = compile_cil([("base.cil", small.encode())]).policy
    second = compile_cil([("base.cil", (small + "(allow subject_t object_t (file (read)))").encode())]).policy
    with Decisions(first) as policy:
        with pytest.raises(SepolError, match="one active policy"), Decisions(second):
            pass
        assert not policy.access(SUBJECT, OBJECT, "file", "read").allowed
    with pytest.raises(SepolError, match="not open"):
        policy.access(SUBJECT, OBJECT, "file", "read")
    with Decisions(second) as policy:
        assert policy.access(SUBJECT, OBJECT, "file", "read").allowed
    with Decisions(first) as policy:
        assert not policy.access(SUBJECT, OBJECT, "file", "read").allowed


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda policy: b"", "magic"),
        (lambda policy: b"\x8d" + policy[1:], "magic"),
        (lambda policy: policy[:-9000], "cannot|can read"),
        (lambda policy: policy[:16] + b"\x63" + policy[17:], "version 99"),
    ],
)
def test_a_spoilt_policy_is_refused_and_a_good_one_works_after(
    reference_policy: Compiled, spoil: Any, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SepolError, match=message), Decisions(spoil(reference_policy.policy)):
        pass
    with Decisions(reference_policy.policy) as policy:
        assert policy.access(CONTAINER, CONTAINER, "process", "fork").allowed
    assert capfd.readouterr() == ("", "")
