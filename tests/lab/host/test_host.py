"""The guest host: sealed, labelled, enforcing; what its tasks are told, and what nobody on it may do."""

from __future__ import annotations

import hashlib
from errno import EACCES, ENOENT, EPERM, EROFS

import pytest
from stockade.lab.host import HostRun, Image
from stockade.lab.tree import Tree

from .conftest import CONTAINER

DENIED = {
    "container weakens": ("security", "setenforce"),
    "container loads": ("security", "load_policy"),
    "runtime weakens": ("security", "setenforce"),
    "container remounts root": ("capability", "sys_admin"),
}


def test_it_enforces_from_the_first_task_to_the_last(told: HostRun) -> None:
    assert told.enforcing == (True, True)
    assert told.init_context == "system_u:system_r:init_t:s0"


def test_its_root_is_the_verity_device_of_this_image(told: HostRun, image: Image) -> None:
    words = told.verity.split()
    assert words[:3] == ["0", str(image.seal.sectors), "verity"]
    assert words[10:12] == ["sha256", image.seal.root_hash]
    assert words[-2:] == ["1", "restart_on_corruption"]
    mounts = dict(line.split()[1::-1] for line in told["mounts"].stdout.decode().splitlines())
    assert mounts["/"] == "/dev/dm-0"


def test_every_process_has_the_label_of_who_started_it(told: HostRun) -> None:
    labels = {
        name: told[f"{name} label"].stdout.rstrip(b"\0").decode().split(":", 2)[2]
        for name in ("kernel", "init", "system", "runtime", "container")
    }
    assert labels == {
        "kernel": "kernel_t:s0",
        "init": "init_t:s0",
        "system": "system_t:s0",
        "runtime": "runtime_t:s0",
        "container": "container_t:s0:c1,c2",
    }


def test_files_are_laid_byte_by_byte(told: HostRun) -> None:
    assert told["laid"].stdout == b"\x00\xffbytes"


@pytest.mark.parametrize("name", ["create on root", "container creates on root"])
def test_nobody_writes_to_the_root(told: HostRun, name: str) -> None:
    assert told[name].status == EROFS


def test_the_root_stays_read_only_even_for_the_runtime(told: HostRun) -> None:
    assert told["remount root"].status not in (0, None)


@pytest.mark.parametrize("name", DENIED)
def test_what_the_policy_denies(told: HostRun, name: str) -> None:
    result = told[name]
    tclass, permission = DENIED[name]
    assert result.status == (EPERM if tclass == "capability" else EACCES)
    assert [(d.tclass, d.permissions, d.permissive) for d in result.denials] == [
        (tclass, frozenset({permission}), False)
    ]
    if name.startswith("container"):
        assert result.denials[0].scontext == CONTAINER


def test_a_denial_belongs_to_its_own_task(told: HostRun) -> None:
    assert told["last"].denials == ()
    assert told["container label"].denials == ()


def test_how_tasks_end(told: HostRun) -> None:
    assert (told["absent"].status, told["absent"].fault, told["absent"].errno) == (None, "failed", ENOENT)
    assert (told["slow"].status, told["slow"].fault) == (None, "timeout")
    assert told["slow"].seconds < 5
    assert (told["background"].status, told["background"].fault) == (None, "stopped")


def test_output_comes_through_whole(told: HostRun, root: Tree) -> None:
    program = root.nodes["usr/bin/ctr"].data
    assert len(program) > 20e6
    assert hashlib.sha256(told["binary"].stdout).digest() == hashlib.sha256(program).digest()
