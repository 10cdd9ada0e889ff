"""The parts of a trial without a guest: what a setting takes away, what a report means, programs that stay the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stockade.bundle.actions import catalogue
from stockade.bundle.read import Bundle, read
from stockade.lab.host import HostRun, Task, TaskResult
from stockade.lab.trial import programs
from stockade.lab.trial.judge import Attempt, Outcome, TrialError, judge, outcomes
from stockade.lab.trial.plan import HOST, Case, cases, specification
from stockade.lab.trial.settings import ALL, FULL, NOTHING, SECOND, Setting
from stockade.model.action import ActionCase, Aim, Layer, Trial
from stockade.model.position import Position


@pytest.fixture(scope="module")
def shipped(bundle: Path) -> Bundle:
    return read(bundle)


def test_the_full_setting_is_the_bundles_own(shipped: Bundle) -> None:
    known = catalogue(shipped)
    for name in shipped.types:
        parts = json.loads(shipped.bytes(f"containers/{name}/oci.json"))
        spec = specification(shipped, known, Case(name, FULL))
        for key in ("capabilities", "noNewPrivileges", "rlimits"):
            assert spec["process"][key] == parts["process"][key]
        for key in ("maskedPaths", "readonlyPaths", "namespaces", "resources", "devices", "sysctl"):
            assert spec["linux"][key] == parts["linux"][key]
        assert spec["linux"]["seccomp"] == json.loads(shipped.bytes(f"containers/{name}/seccomp.json"))
        assert spec["root"]["readonly"] == parts["root"]["readonly"]
        assert all(mount in spec["mounts"] for mount in parts["mounts"])
        assert spec["process"]["selinuxLabel"].startswith(parts["process"]["selinuxLabel"].rsplit(":", 1)[0])


def test_a_setting_takes_away_its_layer_and_no_other(shipped: Bundle) -> None:
    known = catalogue(shipped)
    whole = specification(shipped, known, Case("ordinary", FULL))
    touched = {
        Layer.SECCOMP: {"linux.seccomp"},
        Layer.CAPABILITIES: {"process.capabilities"},
        Layer.SELINUX: set[str](),
        Layer.NAMESPACES: {"linux.namespaces"},
        Layer.DEVICES: {"linux.resources"},
        Layer.MOUNTS: {"linux.maskedPaths", "linux.readonlyPaths", "root.readonly", "mounts", "process.env"},
        Layer.PRIVILEGES: {"process.noNewPrivileges"},
        Layer.LIMITS: {"linux.resources"},
    }
    for layer, keys in touched.items():
        spec = specification(shipped, known, Case("ordinary", Setting("one", frozenset({layer}))))
        assert differences(whole, spec) == keys | {"linux.cgroupsPath"}, layer


def differences(one: dict[str, object], other: dict[str, object]) -> set[str]:
    found = set()
    for key in one.keys() | other.keys():
        a, b = one.get(key), other.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found |= {f"{key}.{inner}" for inner in a.keys() | b.keys() if a.get(inner) != b.get(inner)}
        elif a != b:
            found.add(key)
    return found


def test_a_type_that_cannot_be_started_so_keeps_what_it_needs(shipped: Bundle) -> None:
    """The filter of `batch` refuses setgroups, and runc calls it after installing the filter of such a container."""
    found = {case.name: case for case in cases(shipped, shipped.types, ALL)}
    assert "batch.without-no-new-privileges" not in found
    assert found["batch.only-seccomp"].without == frozenset(Layer) - {Layer.SECCOMP, Layer.PRIVILEGES}
    assert found["ordinary.only-seccomp"].without == frozenset(Layer) - {Layer.SECCOMP}
    assert len(found) == len(ALL) * len(shipped.types) - 1


def test_programs_are_the_same_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = programs.host()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert programs.host() == host


def test_there_is_a_probe_for_every_action(shipped: Bundle) -> None:
    probe = programs.probe()
    for name in catalogue(shipped).actions:
        assert name.encode() + b"\0" in probe, name


ACTION = ActionCase(
    name="a",
    aim=Aim.HOST,
    seen_in=("here",),
    ways=(),
    trial=Trial("tries", ("EINVAL",), {"ENOSYS": "no such call"}),
    why="because",
    at=Position("f", 1, 1),
)
CASES = [Case("t", FULL), Case("t", NOTHING)]


def ended(name: str, said: str, status: int | None = 0) -> TaskResult:
    """A task that printed `said`."""
    fault = "" if status is not None else "timeout"
    return TaskResult(Task(("x",), name=name), status, fault, 0, 2, said.encode(), b"", "", (), 0.1)


def host(*tasks: TaskResult, enforcing: tuple[bool, bool] = (True, True), ready: int = 0) -> HostRun:
    """A host that came to its end."""
    first = ended(HOST, "lacks /proc/sys/x: no", ready)
    return HostRun((first, *tasks), "", enforcing, "", (), "", "", "", 1.0)


def found_of(full: str, bare: str) -> dict[tuple[Case, str], Outcome]:
    loose = host(ended("t.nothing", f"a\t{bare}\n"), enforcing=(False, False))
    return outcomes(host(ended("t.full", f"a\t{full}\n")), CASES[:1], ["a"]) | outcomes(loose, CASES[1:], ["a"])


def test_what_a_host_said_means() -> None:
    found = found_of("one=1\ttwo=killed:31", "one=22")
    assert found[CASES[0], "a"].attempts == (Attempt("one", "EPERM"), Attempt("two", "killed:31"))
    assert not found[CASES[0], "a"].passed(ACTION)
    assert found[CASES[1], "a"].passed(ACTION)
    judged = judge(found, {"a": ACTION}, lambda *_: False)
    assert (judged.compared, judged.mismatches, judged.problems, judged.untried) == (1, (), (), {})


@pytest.mark.parametrize(
    ("full", "bare", "foreseen", "mismatches", "problems", "untried"),
    [
        ("one=0", "one=0", False, 1, 0, 0),
        ("one=1", "one=0", True, 1, 0, 0),
        ("one=1", "one=38", False, 0, 0, 1),  # the kernel has no such call
        ("one=0", "one=38", False, 0, 0, 1),
        ("one=1", "one=1", False, 0, 1, 1),  # a probe that never goes through proves nothing
        ("one=1", "one=38\ttwo=1", False, 0, 1, 1),
        ("one=1", "", False, 0, 1, 1),
    ],
)
def test_a_disagreement_is_never_taken_for_agreement(
    full: str, bare: str, foreseen: bool, mismatches: int, problems: int, untried: int
) -> None:
    found = found_of(full, bare or "one=0")
    if not bare:
        found[CASES[1], "a"] = Outcome(())
    judged = judge(found, {"a": ACTION}, lambda *_: foreseen)
    assert (len(judged.mismatches), len(judged.problems), len(judged.untried)) == (mismatches, problems, untried)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (host(ended("t.full", "a\tone=1"), ready=70), "could not be set up: lacks"),
        (host(ended("t.full", "a\tone=1"), enforcing=(True, False)), "enforcing before the first task"),
        (host(ended("t.full", "a\tone=1"), enforcing=(False, True)), "enforcing before the first task"),
        (host(ended("t.full", "a\tone=1", 1)), "did not run as it should .status 1; 0 actions"),
        (host(ended("t.full", "a\tone=1", None)), "did not run as it should .timeout"),
        (host(ended("t.full", "b\tone=1")), "1 actions not tried"),
        (host(ended("t.full", "a\tone=maybe")), "not an answer of a probe"),
    ],
)
def test_a_host_that_says_less_is_refused(told: HostRun, said: str) -> None:
    with pytest.raises(TrialError, match=said):
        outcomes(told, CASES[:1], ["a"])


def test_what_was_not_tried_is_no_agreement() -> None:
    """Nobody hands a descriptor over through containerd; a probe that tries nothing anywhere else is a problem."""
    by_containerd = Case("t", SECOND)
    tried = found_of("one=1", "one=0")
    skipped = judge({**tried, (by_containerd, "a"): Outcome(())}, {"a": ACTION}, lambda *_: False)
    assert (skipped.compared, skipped.mismatches, skipped.problems) == (1, (), ())
    silent = judge({**tried, (CASES[0], "a"): Outcome(())}, {"a": ACTION}, lambda *_: False)
    assert (silent.compared, silent.problems) == (0, ("`a` was not tried in t, full",))


def test_an_action_that_nobody_tried_is_a_problem() -> None:
    found = found_of("one=1", "one=0")
    judged = judge(found, {"a": ACTION, "b": ACTION}, lambda *_: False)
    assert judged.problems == ("`b` was never tried",)
