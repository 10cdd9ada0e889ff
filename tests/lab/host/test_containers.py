"""Containers of every shipped type on the guest host, by runc, by crun, and through containerd, as the bundle says."""

from __future__ import annotations

from pathlib import Path

import pytest
from stockade.lab.host import File, HostRun, Image, extras, run
from stockade.lab.host.containers import Container, container

TYPES = ("admin", "batch", "bootstrap", "control", "database", "ordinary", "web")
BY_RUNC = ("admin", "ordinary")
"""A trial starts all of them by runc; it takes four times as long as crun."""
NAMES = (
    *(f"{kind} crun" for kind in TYPES),
    *(f"{kind} runc" for kind in BY_RUNC),
    "ordinary containerd runc",
    "ordinary containerd crun",
)
LOOK = "cat /proc/self/attr/current; echo; cat /proc/self/status; : > /new"
API = File("/run/api.sock", label="system_u:object_r:api_socket_t:s0", kind="socket")


@pytest.fixture(scope="module")
def containers(bundle: Path) -> dict[str, Container]:
    root = extras.busybox("bin").tree
    for place in ("proc", "sys", "dev", "run", "tmp"):
        root.folder(place)
    return {kind: container(bundle, kind, ["/bin/sh", "-c", LOOK], root) for kind in TYPES}


@pytest.fixture(scope="module")
def told(image: Image, containers: dict[str, Container]) -> HostRun:
    files = [API, *(file for one in containers.values() for file in one.files())]
    tasks = [
        *(one.run("/usr/bin/crun", name=f"{kind} crun") for kind, one in containers.items()),
        *(containers[kind].run(name=f"{kind} runc") for kind in BY_RUNC),
        containers["ordinary"].run_by_containerd(name="ordinary containerd runc"),
        containers["ordinary"].run_by_containerd("/usr/bin/crun", name="ordinary containerd crun"),
    ]
    return run(image, tasks, files=files, containerd=True, timeout=200)


def seen(told: HostRun, name: str) -> tuple[str, dict[str, str]]:
    """The context and the fields of /proc/self/status that the container printed."""
    result = told[name]
    label, _, status = result.stdout.decode().partition("\n")
    assert status, result.stderr.decode()
    return label.rstrip("\0"), dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)


@pytest.mark.parametrize("name", NAMES)
def test_a_container_is_what_its_type_says(told: HostRun, containers: dict[str, Container], name: str) -> None:
    label, status = seen(told, name)
    process = containers[name.split()[0]].spec["process"]
    assert label == process["selinuxLabel"]
    assert status["NoNewPrivs"] == str(int(process["noNewPrivileges"]))
    assert status["Seccomp"] == "2"
    assert int(status["CapBnd"], 16).bit_count() == len(process["capabilities"]["bounding"])


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_a_runtime_needs_is_denied_it(told: HostRun, name: str) -> None:
    assert [str(denial) for denial in told[name].denials if ":runtime_t:" in denial.scontext] == []


def test_containerd_was_there(told: HostRun) -> None:
    assert "containerd successfully booted" in told.containerd_log
    assert told["ordinary containerd crun"].status == told["ordinary crun"].status


def test_an_unknown_type_is_no_container(bundle: Path) -> None:
    with pytest.raises(KeyError, match="no container type spare"):
        container(bundle, "spare", ["/x"], extras.busybox("bin").tree)
