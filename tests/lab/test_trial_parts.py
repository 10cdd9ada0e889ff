"""The parts of a trial without a guest: what a setting takes away, what a report means, programs that stay the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stockade.bundle.actions import catalogue
from stockade.bundle.read import Bundle, read
from stockade.lab.trial import programs
from stockade.lab.trial.judge import Attempt, Outcome, TrialError, judge, parse
from stockade.lab.trial.plan import Case, cases, specification
from stockade.lab.trial.settings import ALL, FULL, NOTHING, Setting
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


def test_programs_are_the_same_each_time() -> None:
    probe, host = programs.probe(), programs.host()
    programs._compiled.cache_clear()
    assert (programs.probe(), programs.host()) == (probe, host)


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


def report(full: str, bare: str, tail: str = "end", mode: str = "1") -> str:
    return "\n".join(
        [
            "stockade-trial 1",
            f"said\tt.full\ta\t{full}",
            f"ended\tt.full\t0\t{mode}\t{mode}",
            f"said\tt.nothing\ta\t{bare}",
            "ended\tt.nothing\t0\t0\t0",
            tail,
            "",
        ]
    )


def test_what_a_report_means() -> None:
    found = parse(report("one=1\ttwo=killed:31", "one=22"), CASES, ["a"])
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
    found = (
        parse(report(full, bare), CASES, ["a"])
        if bare
        else {(CASES[0], "a"): _first(full), (CASES[1], "a"): Outcome(())}
    )
    judged = judge(found, {"a": ACTION}, lambda *_: foreseen)
    assert (len(judged.mismatches), len(judged.problems), len(judged.untried)) == (mismatches, problems, untried)


def _first(full: str) -> Outcome:
    return parse(report(full, "one=0"), CASES, ["a"])[CASES[0], "a"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "nothing that can be read"),
        ("stockade-trial 1\nfailed\tmount /proc: no\nend\n", "could not be set up: mount /proc"),
        (report("one=1", "one=0", tail="said\tt.full\tran\t1"), "ended early"),
        (report("one=1", "one=0", mode="0"), "did not run as it should"),
        (report("one=1", "one=0").replace("ended\tt.full\t0", "ended\tt.full\t256"), "did not run as it should"),
        (report("one=1", "one=0").replace("\ta\tone=1", "\tb\tone=1"), "1 actions not tried"),
        (report("one=maybe", "one=0"), "not an answer of a probe"),
    ],
)
def test_a_report_that_says_less_is_refused(text: str, said: str) -> None:
    with pytest.raises(TrialError, match=said):
        parse(text, CASES, ["a"])


def test_an_action_that_nobody_tried_is_a_problem() -> None:
    found = parse(report("one=1", "one=0"), CASES, ["a"])
    judged = judge(found, {"a": ACTION, "b": ACTION}, lambda *_: False)
    assert judged.problems == ("`b` was never tried",)
