"""The guest's report: a whole one is read, and nothing less than a whole one is."""

from __future__ import annotations

import pytest
from stockade.lab.report import ReportError, parse

LINES = [
    "stockade-lab 1",
    "policy 84596",
    "kernel 6.1.176",
    "enforcing 1",
    "init system_u:system_r:init_t:s0",
    "runtime system_u:system_r:runtime_t:s0",
    "probe 0 681 exit 64",
    "probe 1 682 exit 77",
    "launcher 0",
    "enforcing 1",
    "end",
]
WHOLE = "".join(f"{line}\n" for line in LINES)


def test_a_whole_report() -> None:
    report = parse(WHOLE, 2)
    assert (report.policy_bytes, report.kernel, report.enforcing) == (84596, "6.1.176", (True, True))
    assert (report.init, report.runtime) == ("system_u:system_r:init_t:s0", "system_u:system_r:runtime_t:s0")
    assert [(a.pid, a.errno) for a in report.attempts] == [(681, 0), (682, 13)]


def test_every_truncation_is_an_error() -> None:
    for length in range(len(WHOLE)):
        with pytest.raises(ReportError):
            parse(WHOLE[:length], 2)


@pytest.mark.parametrize("number", range(len(LINES)))
def test_a_line_missing_twice_or_damaged_is_an_error(number: int) -> None:
    for lines in (
        LINES[:number] + LINES[number + 1 :],
        LINES[: number + 1] + LINES[number:],
        [*LINES[:number], LINES[number] + "?", *LINES[number + 1 :]],
    ):
        with pytest.raises(ReportError):
            parse("".join(f"{line}\n" for line in lines), 2)


@pytest.mark.parametrize("probes", [0, 1, 3])
def test_another_number_of_probes_is_an_error(probes: int) -> None:
    with pytest.raises(ReportError):
        parse(WHOLE, probes)


def test_a_launcher_that_failed_is_an_error() -> None:
    with pytest.raises(ReportError):
        parse(WHOLE.replace("launcher 0", "launcher 3328"), 2)


def test_a_permissive_kernel_is_reported_as_one() -> None:
    assert parse(WHOLE.replace("enforcing 1\nend", "enforcing 0\nend"), 2).enforcing == (True, False)


@pytest.mark.parametrize(
    ("ending", "fault"),
    [
        ("exit 0", "says nothing"),
        ("exit 13", "says nothing"),
        ("exit 255", "says nothing"),
        ("exit 200", "says nothing"),
        ("exit 201", "another context"),
        ("exit 202", "does not know"),
        ("exit 203", "fork"),
        ("signal 9", "signal 9"),
        ("exec 13", "EACCES"),
        ("lost 0", "never ran"),
    ],
)
def test_an_ending_that_is_no_answer(ending: str, fault: str) -> None:
    attempt = parse(WHOLE.replace("exit 77", ending), 2).attempts[1]
    assert attempt.errno is None
    assert fault in attempt.fault
