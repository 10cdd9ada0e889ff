"""Runs in the enforcing guest: starts containers through launchers, tries to widen them, says what the kernel says.

Standard input is a JSON array of cases, each with the launcher, the container's name, the folder of its OCI bundle and
`attempts`. Containers of the namespace `default` are containerd's, others nobody's but the launcher's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

LOOK = ["/bin/busybox", "cat", "/proc/self/status", "/proc/self/attr/current", "/proc/self/limits"]
SPACES = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
LIMITS = ("memory.max", "memory.swap.max", "pids.max", "cpu.max")
SHIMS = "/run/containerd/io.containerd.runtime.v2.task/default"


def called(*words: str) -> dict[str, Any]:
    """How a command ended, and what it said."""
    # To files: what lives on, as a container's process does, would hold a pipe open.
    with Path("/run/out").open("w+") as out, Path("/run/err").open("w+") as err:
        ran = subprocess.run(words, stdout=out, stderr=err, stdin=subprocess.DEVNULL, timeout=60)
        out.seek(0)
        err.seek(0)
        return {"status": ran.returncode, "out": out.read(), "err": err.read()}


def seen(pid: str) -> dict[str, Any]:
    """What the kernel says of a process."""
    proc = Path("/proc", pid)
    # Until the runtime's own process has become the container's, it shows what is only asked for.
    while (proc / "comm").read_text() != "busybox\n":
        time.sleep(0.02)
    return {
        "out": "".join((proc / path.removeprefix("/proc/self/")).read_text() for path in LOOK[2:]),
        "exec": (proc / "attr/exec").read_text(),
        "own": [kind for kind in SPACES if (proc / "ns" / kind).readlink() != Path("/proc/self/ns", kind).readlink()],
        "limits": limits(pid),
    }


def limits(pid: str) -> dict[str, str]:
    """The limits of a process's control group."""
    group = Path("/sys/fs/cgroup" + Path("/proc", pid, "cgroup").read_text().strip().split(":", 2)[2])
    return {name: (group / name).read_text().strip() for name in LIMITS}


def tried(case: dict[str, Any]) -> dict[str, Any]:
    """One container's life."""
    name, launcher, folder = case["name"], case["launcher"], case["folder"]
    found: dict[str, Any] = {}
    state = f"/run/containerd/runc/{case['namespace']}"
    ours = [launcher, "--root", state]
    if case["namespace"] == "default":
        found["run"] = called(
            "/usr/bin/ctr", "run", "-d", "--runc-binary", launcher, "--config", f"{folder}/config.json", name
        )
        pid_file = f"{SHIMS}/{name}/init.pid"
        add = ["/usr/bin/ctr", "tasks", "exec", "--exec-id", "x", name, *LOOK]
    else:
        pid_file = f"{folder}/pid"
        found["run"] = called(*ours, "run", "--detach", "--bundle", folder, "--pid-file", pid_file, name)
        process = {**json.loads(case["process"]), "args": LOOK}
        Path(folder, "process.json").write_text(json.dumps(process))
        add = [*ours, "exec", "--process", f"{folder}/process.json", name]
    if found["run"]["status"]:
        return found
    pid = Path(pid_file).read_text()
    found["first"] = seen(pid)
    found["added"] = called(*add)
    for what, words in case["attempts"].items():
        said = {"NAME": [name], "LOOK": LOOK}
        found[what] = called(*ours, *(w for word in words for w in said.get(word, [word])))
    found["after"] = limits(pid)
    Path(
        "/sys/fs/cgroup" + Path("/proc", pid, "cgroup").read_text().strip().split(":", 2)[2], "cgroup.kill"
    ).write_text("1")
    return found


if __name__ == "__main__":
    json.dump({case["name"]: tried(case) for case in json.load(sys.stdin)}, sys.stdout)
