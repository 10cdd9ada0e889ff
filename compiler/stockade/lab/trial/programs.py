"""A trial's two programs: what stands for the rest of the host, and the probes."""

from __future__ import annotations

from stockade.lab.host.programs import compiled

PROBES = ("control", "devices", "host", "kernel", "main", "mounts", "namespaces", "sockets")


def probe() -> bytes:
    """The program with every probe."""
    return compiled(*(f"probes/{name}.c" for name in PROBES), headers=("probes/probe.h",))


def host() -> bytes:
    """The program that puts the host's files and processes in place."""
    return compiled("trial.c", headers=("common.h",))
