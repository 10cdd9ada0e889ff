"""Containers on this machine, started by an installed launcher: bundles, verbs, and what the kernel says of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Any

from tests.enforce.specs import pod

LOOK = "grep -E '^(Cap|NoNew|Seccomp:)' /proc/self/status; cat /proc/self/limits | grep -E 'open files|core'"
LIMIT = 60


class Site:
    """An installation below a folder, and containers that its launchers start with a private state folder."""

    def __init__(self, folder: Path, bundle: Path, runtime: str) -> None:
        self.folder, self.bundle, self.runtime = folder, bundle, runtime
        self.state = folder / "state"
        self.log = folder / "log"

    def launcher(self, name: str = "web") -> str:
        """The launcher of a type; without a name, the one that chooses."""
        return str(self.folder / f"prefix/bin/{'-'.join(filter(None, ['stockade', name]))}")

    def oci(self, spec: dict[str, Any] | bytes | None = None, *, command: str = LOOK) -> Path:
        """A container's bundle in a folder of its own; `spec` None is a pod's, as this machine can run it."""
        place = self.folder / f"oci-{uuid.uuid4().hex[:8]}"
        (place / "rootfs/bin").mkdir(parents=True)
        shutil.copy(str(shutil.which("busybox")), place / "rootfs/bin/busybox")
        for applet in ("sh", "grep", "cat", "sleep", "true"):
            (place / "rootfs/bin" / applet).symlink_to("busybox")
        for name in ("proc", "sys", "dev", "tmp", "run"):
            (place / "rootfs" / name).mkdir()
        content = spec if isinstance(spec, bytes) else json.dumps(spec or runnable(command)).encode()
        (place / "config.json").write_bytes(content)
        return place

    def call(self, *arguments: str, name: str = "web", **more: Any) -> subprocess.CompletedProcess[str]:
        """The launcher with the options that containerd gives, and these arguments."""
        common = ["--root", str(self.state), "--log", str(self.folder / "runtime.log"), "--log-format", "json"]
        return self.bare(*common, *arguments, name=name, **more)

    def bare(self, *arguments: str, name: str = "web", **more: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.launcher(name), *arguments], **{"capture_output": True, "text": True, "timeout": LIMIT, **more}
        )

    def reasons(self) -> str:
        """The last line that the launcher left in the runtime's log; taken out, so that the next is the next's."""
        path = self.folder / "runtime.log"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return str(json.loads(lines[-1])["msg"]) if lines else ""


def runnable(command: str = LOOK) -> dict[str, Any]:
    """A pod's specification without the rest of the pod, whose limits this machine can set."""
    spec = pod()
    spec["process"]["args"] = ["/bin/sh", "-c", command]
    spec["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 512, "hard": 1024}]
    spec["mounts"] = spec["mounts"][:6]
    spec["linux"]["namespaces"] = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network")]
    del spec["linux"]["cgroupsPath"], spec["linux"]["seccomp"]
    spec["linux"]["resources"].pop("cpu")
    return spec


def identity() -> str:
    return f"stockade-{uuid.uuid4().hex[:12]}"


def seen(output: str) -> dict[str, str]:
    """What a process saw of itself, by the kernel's own names."""
    pairs = (line.split(None, 1) for line in output.splitlines() if ":" in line.split()[0])
    return {key.rstrip(":"): value.strip() for key, value in pairs}


def limits(name: str) -> dict[str, int]:
    """The limits that the kernel holds a container to, in whichever version of cgroup it has; -1 for none."""
    found = {}
    files = {"pids": ("pids.max",), "memory": ("memory.limit_in_bytes", "memory.max")}
    # The group may lie beneath that of this process, in every hierarchy another.
    for folder, _, names in os.walk("/sys/fs/cgroup"):
        if folder.rsplit("/", 1)[1] == name:
            for key, listed in files.items():
                for file in names:
                    if file in listed:
                        text = Path(folder, file).read_text().strip()
                        found[key] = -1 if text == "max" or int(text) > 1 << 60 else int(text)
    return found


def able() -> list[str]:
    """What is missing here for starting containers."""
    missing = [program for program in ("runc", "crun", "busybox", "cc") if not shutil.which(program)]
    return missing + (["root"] if os.geteuid() else [])


CAPS = 0x480  # NET_BIND_SERVICE and SETUID: what `web` has of what a pod asks for
REFUSED, HARMLESS = "refused", "harmless"


def judge(site: Site, done: subprocess.CompletedProcess[str], expected: str) -> None:
    if expected == REFUSED:
        assert done.returncode == 1 and "Cap" not in done.stdout
        assert site.reasons().startswith("stockade: policy denied: type web: ")
        return
    assert done.returncode == 0, done.stderr
    found = seen(done.stdout)
    assert all(int(found[key], 16) & ~CAPS == 0 for key in ("CapEff", "CapBnd", "CapPrm", "CapInh", "CapAmb"))
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")
    assert re.search(r"Max core file size +0 +0 ", done.stdout)
