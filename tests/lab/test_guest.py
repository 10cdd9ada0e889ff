"""The guest's own programs, as far as they can be tried outside a guest."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from stockade.lab import image
from stockade.lab.probes import Operation
from stockade.lab.report import parse

PROGRAMS = ["stage1.pl", "init.pl", "launch.pl", "probe.pl"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_sound_and_needs_no_module(name: str) -> None:
    text = image.guest(name)
    checked = subprocess.run(["perl", "-Mstrict", "-wc", "-"], input=text, capture_output=True, check=False)
    assert checked.stderr.decode() == "- syntax OK\n"
    assert not [line for line in text.decode().splitlines() if line.split()[:1] in (["use"], ["require"])]


def _probe(tmp_path: Path, *arguments: str) -> int:
    program = tmp_path / "probe"
    program.write_bytes(image.guest("probe.pl"))
    return subprocess.run(["perl", str(program), *arguments], capture_output=True, check=False).returncode


def test_a_probe_outside_its_context_gives_no_answer(tmp_path: Path) -> None:
    assert _probe(tmp_path, "system_u:system_r:nowhere_t:s0", "read", "/etc/hostname", "") == 201


def test_a_probe_without_a_plan_answers_that_it_ran(tmp_path: Path) -> None:
    assert _probe(tmp_path) == 64


def test_the_guest_knows_every_operation() -> None:
    text = image.guest("probe.pl").decode()
    assert [operation for operation in Operation if f"\n    '{operation}' => sub" not in text] == []


def test_a_probe_that_never_ran_has_no_answer() -> None:
    report = (
        "stockade-lab 1\npolicy 1\nkernel 6\nenforcing 1\ninit a:b:c:s0\nruntime a:b:c:s0\n"
        "probe 0 0 lost 0\nlauncher 0\nenforcing 1\nend\n"
    )
    assert parse(report, 1).attempts[0].errno is None
