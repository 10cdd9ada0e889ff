"""Runs in the enforcing guest, beside the plugin and containerd: makes pods and containers and says what came of it."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

IMAGE = "localhost/busybox:1"
BUNDLE = Path("/usr/share/stockade/containers/ordinary")
LOG = Path("/run/stockade-nri.log")


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parent))
    from cri import CallError, Client  # type: ignore[import-not-found]

    def until(event: str) -> None:
        while not LOG.exists() or f'"event":"{event}"' not in LOG.read_text():
            time.sleep(0.05)

    until("synchronized")
    client = Client(Path("/run/containerd/containerd.sock"))
    while True:
        try:
            client.call("ListPodSandbox")
            break
        except CallError:
            time.sleep(0.1)
    found: dict[str, object] = {}

    def pod(name: str, network: int = 0) -> tuple[str, dict[str, object]]:
        config = {
            "metadata": {"name": name, "uid": name, "namespace": "shop"},
            "hostname": "" if network else "h",
            "log_directory": "/run/logs",
            "linux": {"security_context": {"namespace_options": {"network": network}}},
        }
        return client.call("RunPodSandbox", config=config)["id"], config

    whole = json.loads((BUNDLE / "oci.json").read_text())
    # What NRI does not reach, and CRI lets a pod say of itself.
    confined = {
        "capabilities": {
            "drop_capabilities": ["ALL"],
            "add_capabilities": [name.removeprefix("CAP_") for name in whole["process"]["capabilities"]["bounding"]],
        },
        "no_new_privs": True,
        "readonly_rootfs": True,
        "masked_paths": whole["linux"]["maskedPaths"],
        "readonly_paths": whole["linux"]["readonlyPaths"],
        "seccomp": {"profile_type": 2, "localhost_ref": str(BUNDLE / "seccomp.json")},
    }

    def container(pod: tuple[str, dict[str, object]], security: dict[str, object], memory: int = 64 << 20) -> str:
        config = {
            "metadata": {"name": f"c{time.monotonic_ns()}"},
            "image": {"image": IMAGE},
            "log_path": "c.log",
            "linux": {"resources": {"memory_limit_in_bytes": memory}, "security_context": security},
        }
        return str(client.call("CreateContainer", pod=pod[0], config=config, sandbox_config=pod[1])["id"])

    def answer(call: str, **request: object) -> str:
        try:
            client.call(call, **request)
        except CallError as error:
            return str(error)
        return "done"

    first = pod("a")
    made = container(first, confined, 1 << 40)
    client.call("StartContainer", id=made)
    (pid,) = (
        int(folder.name)
        for folder in Path("/proc").iterdir()
        if folder.name.isdecimal() and made in (folder / "cgroup").read_text() and folder.name != "self"
    )
    proc = Path(f"/proc/{pid}")
    place = Path("/sys/fs/cgroup") / (proc / "cgroup").read_text().strip().split(":", 2)[2].lstrip("/")
    found["label"] = (proc / "attr/current").read_text().rstrip("\0\n")
    found["limits"] = (proc / "limits").read_text()
    found["memory.max"], found["pids.max"] = ((place / name).read_text().strip() for name in ("memory.max", "pids.max"))
    client.call("UpdateContainerResources", id=made, linux={"memory_limit_in_bytes": 1 << 41})
    found["after the update"] = (place / "memory.max").read_text().strip()
    found["status"] = (proc / "status").read_text()
    plain = {"seccomp": {"profile_type": 1}}
    found["plain"] = answer("StartContainer", id=container(first, plain))
    for part in ("no_new_privs", "seccomp"):
        less = {key: value for key, value in confined.items() if key != part}
        found[f"without {part}"] = answer("StartContainer", id=container(first, less))
    try:
        container(pod("b", 2), {**plain, "namespace_options": {"network": 2}})
    except CallError as error:
        found["host network"] = str(error)
    found["events"] = [json.loads(line)["event"] for line in LOG.read_text().splitlines()]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
