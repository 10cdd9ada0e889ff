"""Probes as data: what can be said to the guest, and what is refused before it boots."""

from __future__ import annotations

from dataclasses import replace

import pytest
from stockade.lab.probes import DEFAULT, FIXTURES, Fixture, Kind, Probe, Verdict, encode

PROBE = DEFAULT[0]
SOCKET = next(fixture for fixture in FIXTURES if fixture.kind is Kind.SOCKET)


def test_the_default_plan_is_one_line_for_each() -> None:
    lines = encode(FIXTURES, DEFAULT).decode().splitlines()
    assert len(lines) == len(FIXTURES) + len(DEFAULT)
    assert lines[0] == "tmpfs\t/lab/own\tsystem_u:object_r:data_t:s0:c1,c2\t"
    assert all(line.count("\t") == (5 if line.startswith("probe\t") else 3) for line in lines)


def test_the_default_plan_has_every_refusal_a_host_lives_by() -> None:
    denied = {(p.operation, p.target, p.tclass) for p in DEFAULT if p.expect is Verdict.DENIED}
    assert denied >= {
        ("read", "/lab/private", "file"),
        ("connect", "/lab/api.sock", "sock_file"),
        ("write", "/lab/api.sock", "sock_file"),
        ("write", "/lab/os", "file"),
        ("read", "/lab/other-pair", "file"),
        ("write", "/lab/other-pair", "file"),
        ("write", "/sys/fs/selinux/enforce", "security"),
    }


@pytest.mark.parametrize(
    "probe",
    [
        replace(PROBE, name="two words"),
        replace(PROBE, context="container_t"),
        replace(PROBE, context="system_u:system_r:container_t:s0:c1,c2 "),
        replace(PROBE, entry="probe"),
        replace(PROBE, target="/lab/a\tb"),
        replace(PROBE, argument="a\nprobe"),
        replace(PROBE, expect=Verdict.DENIED, tclass="file"),
        replace(PROBE, tclass="file", permission="read"),
    ],
)
def test_a_probe_that_cannot_be_said(probe: Probe) -> None:
    with pytest.raises(ValueError, match="not a"):
        encode((), (probe,))


def test_two_probes_of_one_name() -> None:
    with pytest.raises(ValueError, match="own-data-read"):
        encode((), (PROBE, PROBE))


@pytest.mark.parametrize(
    "fixture",
    [
        replace(SOCKET, path="/etc/passwd"),
        replace(SOCKET, path="/lab/../etc"),
        replace(SOCKET, label=None),
        replace(SOCKET, label="api_socket_t"),
        replace(SOCKET, detail="a\tb"),
    ],
)
def test_a_fixture_that_cannot_be_said(fixture: Fixture) -> None:
    with pytest.raises(ValueError, match="not a"):
        encode((fixture,), ())
