"""A real containerd 1.7 and its NRI socket: the plugin as a process of its own, pods and containers through CRI."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from stockade.enforce.nri.wire import Fields

from .cri import CallError
from .daemon import Containerd
from .live import COMPILER, NODE, RUNTIMES, V2, Pods, Process, memory_limit, most_processes


@pytest.fixture(scope="module")
def daemon(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    folder = tmp_path_factory.mktemp("c")
    with Containerd(programs, folder, RUNTIMES) as running:
        yield running


@pytest.fixture(scope="module")
def plugin(daemon: Containerd, within_reach: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    made = Process(tmp_path_factory.mktemp("p"), within_reach, daemon, "--accept-fail-open")
    made.wait("synchronized")
    yield made
    assert made.stop() == 0


@pytest.fixture
def pods(daemon: Containerd, plugin: Process) -> Iterator[Pods]:
    made = Pods(daemon)
    yield made
    with daemon.client() as client:
        for pod in made.made:
            client.call("StopPodSandbox", id=pod)
            client.call("RemovePodSandbox", id=pod)


def test_it_registers_and_says_how_far_it_reaches(plugin: Process, daemon: Containerd) -> None:
    said = plugin.wait("configured")
    assert re.fullmatch(r"containerd 1\.7\.\d+.*", said["runtime"]) and said["partial"]
    assert "pids" in said["not_in_this_version"] and "capabilities" in said["not_in_any_version"]
    assert any("default_validator.enable" in reason for reason in said["fails_open"])
    assert any("cannot be told otherwise" in reason for reason in said["fails_open"])
    assert plugin.wait("synchronized")["containers"] == 0
    assert 'registered as \\"90-stockade\\"' in daemon.log.read_text()


def test_it_does_not_start_where_containerd_fails_open(daemon: Containerd, bundle: Path, tmp_path: Path) -> None:
    refused = Process(tmp_path, bundle, daemon)
    _, said = refused.process.communicate(timeout=20)
    assert refused.process.returncode == 1
    assert "default_validator.enable is not true: set it to true" in said
    assert 'required_plugins does not name this plugin: add "stockade"' in said
    assert said.count("\n") == 1 and "--accept-fail-open" in said


def test_a_container_has_what_nri_gave_it(plugin: Process, pods: Pods, daemon: Containerd) -> None:
    container = pods.container(pods.run())
    created = plugin.events("created")[-1]
    assert created["id"] == container and created["type"] == "ordinary" and created["namespace"] == "shop"
    assert {"rlimits", "mounts", "annotations"} <= set(created["adjusted"])
    spec = json.loads(daemon.ctr("containers", "info", container))["Spec"]
    assert spec["annotations"]["io.stockade.type"] == "ordinary"
    assert spec["linux"]["resources"]["memory"] == {"limit": 64 << 20, "swap": 64 << 20}
    pid = pods.start(container)
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert re.search(r"Max open files\s+2000\s+2000 ", limits)
    assert re.search(r"Max core file size\s+0\s+0 ", limits)
    assert memory_limit(pid) == 64 << 20
    mounts = {
        line.split()[4]: line.split()[5].split(",") for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    }
    for place in ("/tmp", "/run"):
        assert {"nosuid", "nodev", "noexec"} <= set(mounts[place])
    assert {"nosuid", "nodev"} <= set(mounts["/etc/hosts"])
    # What is added to a running container is made of the same specification.
    added = daemon.ctr("tasks", "exec", "--exec-id", "x", container, "/bin/cat", "/proc/self/limits")
    assert re.search(r"Max open files\s+2000\s+2000 ", added)


def test_a_limit_on_memory_is_lowered_and_stays_so(plugin: Process, pods: Pods, daemon: Containerd) -> None:
    container = pods.container(pods.run(), linux={"resources": {"memory_limit_in_bytes": 1 << 40}})
    pid = pods.start(container)
    assert memory_limit(pid) == 2 << 30
    with daemon.client() as client:
        client.call("UpdateContainerResources", id=container, linux={"memory_limit_in_bytes": 64 << 20})
        assert memory_limit(pid) == 64 << 20
        client.call("UpdateContainerResources", id=container, linux={"memory_limit_in_bytes": 1 << 41})
    assert memory_limit(pid) == 2 << 30
    assert plugin.events("updated")[-1]["clamped"] == ["memory"]


REFUSED: dict[str, tuple[Fields, Fields, Fields, str]] = {
    "the host's network": (
        {"namespace_options": {"network": NODE}},
        {"namespace_options": {"network": NODE}},
        {},
        "no-host-namespaces",
    ),
    "the host's processes": (
        {"namespace_options": {"pid": NODE}},
        {"namespace_options": {"pid": NODE}},
        {},
        "no-host-namespaces",
    ),
    "privileged": ({"privileged": True}, {"privileged": True}, {}, "no-privileged-containers"),
    "a device": (
        {},
        {},
        {"devices": [{"container_path": "/dev/x", "host_path": "/dev/kmsg", "permissions": "rw"}]},
        "no-foreign-devices",
    ),
    "the host's folders": ({}, {}, {"mounts": [{"container_path": "/h", "host_path": "/usr"}]}, "no-host-paths"),
    "a link to them": ({}, {}, {"mounts": [{"container_path": "/h", "host_path": "LINK"}]}, "no-host-paths"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wider_is_not_created_and_the_user_is_told(
    plugin: Process, pods: Pods, daemon: Containerd, name: str, tmp_path: Path
) -> None:
    sandbox, security, config, promise = REFUSED[name]
    for mount in config.get("mounts", []):
        if mount["host_path"] == "LINK":
            (tmp_path / "link").symlink_to("/usr")
            config = {"mounts": [{**mount, "host_path": str(tmp_path / "link")}]}
    pod = pods.run(**sandbox)
    before = daemon.ctr("containers", "ls", "-q")
    with pytest.raises(CallError, match=f"stockade: container type ordinary: .*{promise}"):
        pods.container(pod, security, **config)
    assert daemon.ctr("containers", "ls", "-q") == before
    assert promise in plugin.events("refused")[-1]["reason"]


def test_what_this_version_cannot_give_is_not_left_out(
    daemon: Containerd, plugin: Process, bundle: Path, pods: Pods, tmp_path: Path
) -> None:
    """The types as they are: on cgroup v2 NRI in 1.7 can limit processes by the name of the file, on v1 it cannot."""
    with plugin.aside(), Process(tmp_path, bundle, daemon, "--accept-fail-open"):
        if V2:
            assert most_processes(pods.start(pods.container(pods.run()))) == 2048
        else:
            with pytest.raises(
                CallError, match=r"own namespaces: cgroup \(not with NRI in containerd 1\.7.*pids\.limit 2048"
            ):
                pods.container(pods.run())


def test_the_type_follows_the_handler(plugin: Process, pods: Pods, daemon: Containerd) -> None:
    container = pods.container(pods.run("stockade-batch"))
    assert plugin.events("created")[-1]["type"] == "batch"
    spec = json.loads(daemon.ctr("containers", "info", container))["Spec"]
    assert spec["annotations"]["io.stockade.type"] == "batch"


@pytest.mark.parametrize("answer", [0, 1])
def test_a_hook_that_is_given_to_containers_can_stop_them(
    daemon: Containerd, within_reach: Path, plugin: Process, pods: Pods, tmp_path: Path, answer: int
) -> None:
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ncat > {tmp_path}/state\necho refused by the hook >&2\nexit {answer}\n")
    hook.chmod(0o755)
    words = ("--accept-fail-open", "--name", "second", "--index", "08", "--verify-hook", f"{hook} verify")
    with plugin.aside(), Process(tmp_path, within_reach, daemon, *words):
        container = pods.container(pods.run())
        if answer:
            with pytest.raises(CallError, match="refused by the hook"):
                pods.start(container)
        else:
            assert pods.start(container)
        state = json.loads((tmp_path / "state").read_text())
        assert state["id"] == container and state["annotations"]["io.stockade.type"] == "ordinary"


def test_it_comes_back_with_containerd_and_finds_what_runs(programs: Path, within_reach: Path, tmp_path: Path) -> None:
    with Containerd(programs, tmp_path, RUNTIMES) as running:
        pods = Pods(running)
        with Process(tmp_path, within_reach, running, "--accept-fail-open") as plugin:
            pods.start(pods.container(pods.run()))
            assert plugin.stop() == 0
        # Without the plugin this version creates whatever it is asked for: that is what failing open means.
        wide = pods.container(pods.run())
        with Process(tmp_path, within_reach, running, "--accept-fail-open") as again:
            found = again.wait("synchronized")
            assert (found["containers"], found["wider"]) == (2, 1)
            (existing,) = again.events("existing")
            assert existing["id"] == wide and any(finding.startswith("mounts") for finding in existing["wider"])
            running.restart()
            again.wait("synchronized", 2)
            assert again.events("disconnected")
            assert pods.container(pods.run())
            assert again.events("created")
            assert again.stop() == 0


def test_containerd_can_launch_it(programs: Path, within_reach: Path, tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    launcher = tmp_path / "plugins/42-fence"
    log = tmp_path / "launched.log"
    launcher.write_text(
        f"#!/bin/sh\nexport PYTHONPATH={COMPILER}\nexec {sys.executable} -m stockade.enforce.nri "
        f"--bundle {within_reach} --containerd-config {tmp_path}/config.toml --log {log} --accept-fail-open\n"
    )
    launcher.chmod(0o755)
    with Containerd(programs, tmp_path, RUNTIMES) as running:
        deadline = time.monotonic() + 5
        while '"configured"' not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        assert 'registered as \\"42-fence\\"' in running.log.read_text()
        pods = Pods(running)
        assert pods.container(pods.run())
        with pytest.raises(CallError, match="no-privileged-containers"):
            pods.container(pods.run(privileged=True), {"privileged": True})
    deadline = time.monotonic() + 5
    while json.loads(log.read_text().splitlines()[-1])["event"] != "disconnected":
        assert time.monotonic() < deadline
        time.sleep(0.05)
