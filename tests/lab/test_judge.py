"""From a finished run to its meaning: agreement takes a verdict, a denial by SELinux, and the one that was foretold."""

from __future__ import annotations

from functools import partial

import pytest
from stockade.lab.boot import BootFailed, BootResult, judge
from stockade.lab.probes import Operation, Probe, Verdict
from stockade.lab.uml import Ran

CONTEXT = "system_u:system_r:container_t:s0:c1,c2"
READ = Probe(
    "private-read",
    CONTEXT,
    "/lab/own/probe",
    Operation.READ,
    "/lab/private",
    Verdict.DENIED,
    tclass="file",
    permission="read",
)
OWN = Probe("own-read", CONTEXT, "/lab/own/probe", Operation.READ, "/lab/own/data", Verdict.ALLOWED)
REPORT = (
    "stockade-lab 1\npolicy 9\nkernel 6.1\nenforcing 1\ninit system_u:system_r:init_t:s0\n"
    "runtime system_u:system_r:runtime_t:s0\nprobe 0 5 exit 77\nprobe 1 6 exit 64\nlauncher 0\nenforcing 1\nend\n"
)
CONSOLE = (
    'audit: type=1400 audit(1.000:15): avc:  denied  { read } for  pid=5 comm="probe" '
    f"scontext={CONTEXT} tcontext=system_u:object_r:private_t:s0 tclass=file permissive=0\n"
)


def result(*, report: str = REPORT, console: str = CONSOLE, status: int | None = 0, size: int = 9) -> BootResult:
    return judge(Ran(console, report, status, 1.0), (READ, OWN), size, 60)


def test_agreement() -> None:
    found = result()
    assert found.problems == ()
    assert [outcome.verdict for outcome in found.outcomes] == [Verdict.DENIED, Verdict.ALLOWED]
    assert [len(outcome.denials) for outcome in found.outcomes] == [1, 0]
    assert found.as_dict()["problems"] == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("0 5 exit 77", "0 5 exit 64", "private-read: expected denied, the kernel allowed it"),
        ("1 6 exit 64", "1 6 exit 77", "own-read: expected allowed, the kernel denied it"),
        ("1 6 exit 64", "1 6 exit 66", "own-read: ENOENT"),
        ("1 6 exit 64", "1 6 signal 11", "own-read: ended by signal 11"),
        ("enforcing 1\nend", "enforcing 0\nend", "not enforcing after the last"),
        ("6.1\nenforcing 1", "6.1\nenforcing 0", "not enforcing before the first"),
        ("init_t", "kernel_t", "PID 1 is system_u:system_r:kernel_t:s0"),
        ("runtime_t", "init_t", "the launcher is system_u:system_r:init_t:s0"),
    ],
)
def test_disagreement(old: str, new: str, problem: str) -> None:
    (said,) = result(report=REPORT.replace(old, new)).problems
    assert problem in said


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("pid=5", "pid=6"),
        ("permissive=0", "permissive=1"),
        ("scontext=system_u:system_r:container_t", "scontext=system_u:system_r:kernel_t"),
        ("{ read }", "{ write }"),
        ("tclass=file", "tclass=dir"),
    ],
)
def test_a_refusal_that_is_not_the_one_foretold(old: str, new: str) -> None:
    (said,) = result(console=CONSOLE.replace(old, new)).problems
    assert said.startswith("private-read: ")


def test_no_verdict_from_a_run_that_was_stopped_failed_or_lied() -> None:
    for failed in (
        partial(result, status=None),
        partial(result, status=-6),
        partial(result, size=10),
        partial(result, report=REPORT.replace("1 6 exit", "1 5 exit")),
        partial(result, console=CONSOLE.replace("tclass=file ", "")),
        partial(result, report=""),
    ):
        with pytest.raises(BootFailed):
            failed()
