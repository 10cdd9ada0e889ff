"""One outcome for each process and each container: what cannot be read is an error by name, the others are judged."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stockade.audit.facts import containers, processes
from stockade.audit.facts.fact import Fact, Facts, Outcome, from_json, missing
from stockade.audit.facts.host import Host
from stockade.audit.judge import judge, verdict
from stockade.audit.report.model import Status
from stockade.audit.report.text import lines
from stockade.audit.rules.cases import changed
from stockade.audit.rules.rule import Rule

from .test_inputs import STATUS
from .trees import file_system

A, B = "a" * 64, "b" * 64
LABEL = "system_u:system_r:container_t:s0:c1,c2"


def process(root: Path, pid: int, group: str, state: str = "S", thread: int = 0) -> Path:
    """A process, or one of its threads, as procfs shows it."""
    place = root / "proc" / str(pid) / (f"task/{thread}" if thread else "")
    for folder in ("attr", "ns", *([] if thread else [f"task/{pid}"])):
        (place / folder).mkdir(parents=True, exist_ok=True)
    files = {
        "stat": f"{thread or pid} (app) {state} 0 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 3 0 0\n",
        "status": f"State:\t{state}\n{STATUS}",
        "cgroup": f"0::{group}\n",
        "attr/current": f"{LABEL}\0",
        "attr/exec": "",
        "mountinfo": "1 0 253:0 / / ro,relatime - ext4 /dev/root ro\n",
        "limits": f"{'Limit':26}Soft Hard Units\n{'Max open files':26}64 64 files\n",
        "oom_score_adj": "0\n",
    }
    for name, content in files.items():
        (place / name).write_text(content)
    for kind in containers.NAMESPACES:
        with contextlib.suppress(FileExistsError):
            (place / "ns" / kind).symlink_to(f"{kind}:[{1 if pid == 1 else 2}]")
    return place


@pytest.fixture
def root(tmp_path: Path) -> Path:
    host = tmp_path / "host"
    process(host, 1, "/init.scope")
    process(host, 10, f"/pods/{A}")
    process(host, 11, f"/pods/{A}")
    process(host, 20, f"/pods/{B}")
    return host


def read(root: Path) -> tuple[dict[int, Any], dict[str, Any]]:
    with Host(str(root), "live", file_system) as host:
        said, members = processes.collect(host, {})
        found = containers.collect(host, members, Fact.of([]))["containers"]
    return {one["pid"]: one for one in said.value}, {one["id"]: one for one in found.value}


def test_what_can_be_read_is_read(root: Path) -> None:
    every, held = read(root)
    assert not any(map(missing, [*every.values(), *held.values()]))
    assert [one["pid"] for one in held[A]["processes"]] == [10, 11]
    assert held[A]["rlimits"] == {"Max open files": ["64", "64"]}


@pytest.mark.parametrize("file", ["attr/current", "cgroup", "stat"])
@pytest.mark.parametrize("content", ["", "\0\1\2", "x" * (1 << 17)])
def test_a_process_that_is_not_as_it_should_be_is_one_error(root: Path, file: str, content: str) -> None:
    (root / "proc/20" / file).write_text(content)
    every, held = read(root)
    assert missing(every[20]).startswith("process 20 is malformed: /proc/20: ")
    assert [pid for pid, one in every.items() if missing(one)] == [20]
    lost = [name for name, one in held.items() if missing(one)]
    assert lost == ([B] if file == "attr/current" else ["?process 20"])
    assert [one["pid"] for one in held[A]["processes"]] == [10, 11]


@pytest.mark.parametrize("file", ["status", "attr/exec", "cgroup", "limits", "oom_score_adj", "attr/current"])
def test_a_forbidden_file_is_its_containers_error_alone(root: Path, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = processes.Process.read

    def refused(self: processes.Process, name: str, limit: int = 1 << 16) -> bytes:
        if self.pid == 20 and name == file:
            raise PermissionError(errno.EACCES, "Permission denied", name)
        return plain(self, name, limit)

    monkeypatch.setattr(processes.Process, "read", refused)
    _, held = read(root)
    said = [missing(one) for one in held.values() if missing(one)]
    assert len(said) == 1
    assert said[0].endswith(f"is unreadable: /proc/20/{file}: Permission denied")
    assert len(held[A]["processes"]) == 2


def test_one_process_of_a_container_leaves_the_other(root: Path) -> None:
    (root / "proc/11/status").write_text("")
    one = read(root)[1][A]
    assert [missing(process) for process in one["processes"]] == ["", "process 11 is malformed: /proc/11: empty"]


def test_mounts_and_limits_have_their_own(root: Path) -> None:
    (root / "proc/20/mountinfo").write_text("x")
    group = root / f"sys/fs/cgroup/pods/{B}"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("9" * 5000)
    one = read(root)[1][B]
    assert [bool(missing(mounts)) for mounts in one["mounts"].values()] == [True]
    assert one["limits"]["memory.max"]["outcome"] == "malformed"
    assert one["processes"][0]["label"] == LABEL


def test_nothing_is_known_without_pid_1(root: Path) -> None:
    (root / "proc/1/stat").write_text("")
    with Host(str(root), "live", file_system) as host:
        assert processes.collect(host, {})[0].outcome is Outcome.MALFORMED


def test_living_threads_speak_for_a_process_whose_first_has_ended(root: Path) -> None:
    process(root, 20, f"/pods/{B}", "Z")
    for name in ("mountinfo", "limits", "cgroup"):
        (root / "proc/20" / name).write_text("")
    process(root, 20, f"/pods/{B}", thread=21)
    other = process(root, 20, f"/pods/{B}", thread=22)
    (other / "attr/current").write_text("system_u:system_r:super_t:s0\0")
    every, held = read(root)
    assert (every[20]["label"], every[20]["others"]) == (LABEL, ["system_u:system_r:super_t:s0"])
    told = [(one["pid"], one["thread_of"], one["label"]) for one in held[B]["processes"]]
    assert told == [(21, 20, LABEL), (22, 20, "system_u:system_r:super_t:s0")]
    assert not missing(held[B])


@contextlib.contextmanager
def headless() -> Iterator[int]:
    """A process of ours whose first thread has ended while another waits."""
    stay = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(stay[1])
        threading.Thread(target=lambda: (os.read(stay[0], 1), os._exit(0))).start()
        ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[os.uname().machine], 0)
    os.close(stay[0])
    try:
        for _ in range(200):
            if processes.statistics(Path(f"/proc/{pid}/stat").read_bytes())["state"] == "Z":
                break
            time.sleep(0.01)
        yield pid
    finally:
        os.close(stay[1])
        os.waitpid(pid, 0)


def test_this_kernels_processes_without_their_first_thread_are_read() -> None:
    folder = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    with headless() as pid, Host("/") as host:
        one: dict[str, Any] = {"pid": pid}
        processes._process(folder, pid, {}, one)
        os.close(folder)
        assert not missing(one)
        own = tuple(str(Path(f"/proc/self/{name}").readlink()) for name in ("exe", "ns/pid"))
        assert (one["program"], one["pid_namespace"]) == own
        assert pid not in host.threads(pid)
        assert host.threads(pid)


LOST = {"id": "d" * 64, "group": "/x", "outcome": "unreadable", "why": "/proc/9/status: Permission denied"}


def test_the_others_keep_their_verdicts(rules: tuple[Rule, ...], genuine: Facts) -> None:
    by_name = {one.name: one for one in rules}
    task = {**genuine.get("containerd.tasks").value[0], "id": LOST["id"]}
    deriver = changed(genuine, {"containers|+": LOST, "+containerd.tasks": [task]})
    said = verdict(by_name["container-label"], deriver)
    assert (said.status, said.message) == (
        Status.ERROR,
        "container dddddddddddd is unreadable: /proc/9/status: Permission denied",
    )
    assert verdict(by_name["container-known"], deriver).status is Status.ERROR
    wider = {"containers|0|processes|0|capabilities|bounding": 2199023255551}
    said = verdict(by_name["container-capabilities"], changed(genuine, {**wider, "containers|+": LOST}))
    assert said.status is Status.FAIL
    assert said.findings[0].startswith("cccccccccccc (ordinary)")
    assert said.findings[1].startswith("not known: container dddddddddddd is unreadable")
    # Who answers for the one finding has not answered for what nobody could read.
    assert said.digest != verdict(by_name["container-capabilities"], changed(genuine, wider)).digest


def test_a_report_says_how_many_were_judged(rules: tuple[Rule, ...], genuine: Facts) -> None:
    several = [*genuine.get("containers").value, LOST, {**LOST, "id": "e" * 64}]
    facts = Facts("live", {**genuine.facts, "containers": Fact.of(several, "/proc")})
    again = from_json(facts.to_json())
    assert again == facts
    said = [line for _, line in lines(judge(again, rules))]
    assert "1 of 3 containers judged" in said
    assert "could not be read: dddddddddddd, eeeeeeeeeeee" in said
    results = judge(again, rules, expected={"compiled.types": genuine.get("compiled.types")}).results
    label = next(one for one in results if one.rule == "container-label")
    assert len(label.findings) == 2


def test_documents_of_the_first_schema_are_still_read(genuine: Facts) -> None:
    first = genuine.to_json().replace('"schema": 2', '"schema": 1', 1)
    assert from_json(first) == genuine
