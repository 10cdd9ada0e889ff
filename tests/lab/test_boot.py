"""The real thing: a kernel boots the policy, enforces it, and says what the plan foretold, or what it did not."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from stockade.lab import image, tools, uml
from stockade.lab.boot import BootFailed, BootResult, boot, host_policy, judge
from stockade.lab.probes import DEFAULT, FIXTURES, Fixture, Kind, Operation, Verdict

BY_NAME = {probe.name: probe for probe in DEFAULT}


@pytest.fixture(scope="module")
def booted(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[BootResult, Path]:
    keep = tmp_path_factory.mktemp("kept") / "boot"
    return boot(bundle, keep=keep), keep


@pytest.mark.parametrize("name", BY_NAME)
def test_every_probe(booted: tuple[BootResult, Path], name: str) -> None:
    (outcome,) = (outcome for outcome in booted[0].outcomes if outcome.probe.name == name)
    assert outcome.verdict is BY_NAME[name].expect, outcome.text
    assert outcome.problem is None
    assert bool(outcome.denials) == (outcome.verdict is Verdict.DENIED)
    assert not any(denial.permissive for denial in outcome.denials)


def test_the_guest(booted: tuple[BootResult, Path], bundle: Path) -> None:
    result, keep = booted
    assert result.problems == ()
    assert result.enforcing == (True, True)
    assert result.init_context == "system_u:system_r:init_t:s0"
    assert result.runtime_context == "system_u:system_r:runtime_t:s0"
    assert result.kernel == tools.find().release
    assert result.policy_bytes == len(host_policy(bundle)[0])
    assert [outcome.probe for outcome in result.outcomes] == list(DEFAULT)
    assert {path.name for path in keep.iterdir()} == {"root.erofs", "initramfs.cpio", "console.log", "report.txt"}
    assert (keep / "console.log").read_text() == result.console


def test_a_weaker_policy_is_found_out(patched: Callable[..., Path]) -> None:
    weaker = patched(
        "(allow container_t private_t (file (read open getattr)))"
        "(dontaudit container_t os_t (file (write)))"
        "(typepermissive control_t)"
    )
    result = boot(weaker)
    outcomes = {outcome.probe.name: outcome for outcome in result.outcomes}
    assert outcomes["private-read"].verdict is Verdict.ALLOWED
    assert outcomes["private-read"].denials == ()
    assert outcomes["os-write"].verdict is Verdict.DENIED
    assert outcomes["control-private-write"].verdict is Verdict.ALLOWED
    assert all(denial.permissive for denial in outcomes["control-private-write"].denials)
    assert sorted(problem.split(":")[0] for problem in result.problems) == [
        "control-private-write",
        "os-write",
        "private-read",
    ]


def test_a_policy_without_the_transition_to_init_is_found_out(patched: Callable[..., Path], bundle: Path) -> None:
    probes = (BY_NAME["own-data-read"],)
    broken = patched("", without="(typetransition kernel_t init_exec_t process init_t)")
    result = boot(broken, probes)
    assert result.init_context == result.runtime_context == "system_u:system_r:kernel_t:s0"
    assert [problem.split(",")[0] for problem in result.problems[:2]] == [
        "PID 1 is system_u:system_r:kernel_t:s0",
        "the launcher is system_u:system_r:kernel_t:s0",
    ]


def test_answers_that_are_none(bundle: Path) -> None:
    read = BY_NAME["own-data-read"]
    probes = (
        replace(read, name="missing", target="/lab/nothing"),
        replace(read, name="no-entry", entry="/lab/private"),
        replace(read, name="no-context", context="system_u:system_r:no_such_t:s0"),
        replace(read, name="own-pair", context="system_u:system_r:container_t:s0:c3,c4"),
        replace(read, name="replaced", operation=Operation.EXECUTE, target="/usr/bin/busybox"),
        read,
    )
    result = boot(bundle, probes)
    assert [outcome.verdict for outcome in result.outcomes] == [None] * 5 + [Verdict.ALLOWED]
    for outcome, text in zip(
        result.outcomes, ("ENOENT", "EACCES", "EINVAL", "entrypoint", "says nothing"), strict=False
    ):
        assert text in outcome.text, outcome.probe.name
    assert len(result.problems) == 5


@pytest.mark.parametrize("damage", [lambda policy: policy[:-100], lambda policy: bytes(len(policy))])
def test_a_damaged_policy_never_boots(bundle: Path, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    policy, contexts = host_policy(bundle)
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "policy.31").write_bytes(damage(policy))
    (tmp_path / "host" / "file_contexts").write_text(contexts)
    with pytest.raises(BootFailed, match="stage1: write /sys/fs/selinux/load: Invalid argument"):
        boot(tmp_path)


def test_a_fixture_the_policy_does_not_know_is_an_error(bundle: Path) -> None:
    fixtures = (*FIXTURES, Fixture(Kind.FILE, "/lab/new", "system_u:object_r:no_such_t:s0"))
    with pytest.raises(BootFailed, match="stage1: write /sys/fs/selinux/context: Invalid argument"):
        boot(bundle, fixtures=fixtures)


def test_a_guest_that_takes_too_long_is_stopped_and_leaves_nothing(tmp_path: Path) -> None:
    found, drop = tools.find(), tools.drop()
    tmp_path.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    tree = image.root_tree(found)
    tree.file("init", b"#!/usr/bin/perl\nsleep 20;\n", 0o755)
    initrd = tmp_path / "initrd"
    initrd.write_bytes(tree.archive())
    for path in (work, initrd):
        drop.own(path)
    for parent in tmp_path.parents[:2]:
        parent.chmod(parent.stat().st_mode | 0o011)
    ran = uml.run(found, work, drop, initrd=initrd, disks=[], timeout=2)
    assert ran.status is None and 2 <= ran.seconds < 15
    assert "Checking" in ran.console
    owners = {path.stat().st_uid for path in work.rglob("*")}
    assert owners == {os.geteuid() if drop.uid is None else drop.uid}
    with pytest.raises(BootFailed, match="stopped after 2 s"):
        judge(ran, DEFAULT, 0, 2)
    until = time.monotonic() + 20  # those that the signal met while the kernel was at work for them
    while left := [at.name for at in Path("/proc").glob("[0-9]*") if str(work) in _command(at)]:
        assert time.monotonic() < until, left
        time.sleep(0.05)


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


@pytest.mark.parametrize("names", [[], ["policy.31"], ["file_contexts"], ["policy.31", "policy.33", "file_contexts"]])
def test_a_bundle_that_is_not_whole(names: list[str], tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    for name in names:
        (tmp_path / "host" / name).write_bytes(b"")
    with pytest.raises(BootFailed, match="host"):
        boot(tmp_path)
