"""What the tests with a real containerd share: the plugin as a process, pods and containers, the kernel's answer."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stockade.enforce.nri.wire import Fields

from .daemon import IMAGE, Containerd

COMPILER = Path(__file__).resolve().parents[3] / "compiler"
V2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
UNCONFINED, NODE = 1, 2


class Process:
    """The plugin, started as a user would, and the events in its log."""

    def __init__(self, folder: Path, bundle: Path, daemon: Containerd, *words: str) -> None:
        self.path = folder / f"plugin-{time.monotonic_ns()}.log"
        command = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(COMPILER)!r}); "]
        command[-1] += "from stockade.enforce.nri.__main__ import main; sys.exit(main(sys.argv[1:]))"
        command += ["--bundle", str(bundle), "--containerd-config", str(daemon.config), "--log", str(self.path), *words]
        self._command = command
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Ended meanwhile: two of this plugin would not agree on what each of them sets."""
        assert self.stop() == 0
        count = len(self.events("synchronized"))
        yield
        self.start()
        self.wait("synchronized", count + 1)

    def __enter__(self) -> Process:
        self.wait("synchronized")
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()

    def events(self, name: str = "") -> list[Fields]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [said for line in lines if (said := json.loads(line))["event"] == name or not name]

    def wait(self, name: str, count: int = 1) -> Fields:
        """The event of that name that is the `count`th."""
        deadline = time.monotonic() + 20
        while len(found := self.events(name)) < count:
            assert self.process.poll() is None, self.process.communicate()[1]
            assert time.monotonic() < deadline, self.path.read_text()
            time.sleep(0.02)
        return found[count - 1]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=10)
        return self.process.returncode


RUNTIMES = "".join(
    f"""
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}]
runtime_type = "io.containerd.runc.v2"
"""
    for name in ("runc", "stockade-batch")
)


class Pods:
    """Makes pods, and ends them."""

    def __init__(self, daemon: Containerd) -> None:
        self.daemon = daemon
        self.made: list[str] = []

    def run(self, handler: str = "", **linux: Any) -> tuple[str, Fields]:
        name = f"pod-{time.monotonic_ns()}"
        config = {
            "metadata": {"name": name, "uid": name, "namespace": "shop"},
            "hostname": "" if linux.get("namespace_options", {}).get("network") == NODE else "h",
            "log_directory": str(self.daemon.folder / "logs"),
            "linux": {"security_context": linux},
        }
        with self.daemon.client() as client:
            pod = client.call("RunPodSandbox", config=config, runtime_handler=handler)["id"]
        self.made.append(pod)
        return pod, config

    def container(self, pod: tuple[str, Fields], security: Fields = {}, **config: Any) -> str:  # noqa: B006
        """The id of a container that was created in a pod."""
        whole = {
            "metadata": {"name": f"c-{time.monotonic_ns()}"},
            "image": {"image": IMAGE},
            "log_path": "c.log",
            "linux": {
                "resources": {"memory_limit_in_bytes": 64 << 20},
                "security_context": {"seccomp": {"profile_type": UNCONFINED}, **security},
            },
            **config,
        }
        with self.daemon.client() as client:
            return str(client.call("CreateContainer", pod=pod[0], config=whole, sandbox_config=pod[1])["id"])

    def start(self, container: str) -> int:
        """The process of a container that was started."""
        with self.daemon.client() as client:
            client.call("StartContainer", id=container)
        return self.daemon.pids()[container]


def memory_limit(pid: int) -> int:
    """Bytes, as the kernel has them for a process."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    if V2:
        return int(Path(f"/sys/fs/cgroup{lines[0].split(':', 2)[2]}/memory.max").read_text())
    (place,) = (line.split(":", 2)[2] for line in lines if line.split(":")[1] == "memory")
    return int(Path(f"/sys/fs/cgroup/memory{place}/memory.limit_in_bytes").read_text())


def most_processes(pid: int) -> int:
    """`pids.max` on a host with cgroup v2, as the kernel has it for a process."""
    place = Path(f"/proc/{pid}/cgroup").read_text().splitlines()[0].split(":", 2)[2]
    return int(Path(f"/sys/fs/cgroup{place}/pids.max").read_text())
