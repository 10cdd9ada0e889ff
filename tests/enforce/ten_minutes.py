"""Runs the manual's commands on a stock containerd, in a mount namespace that has its own /etc, /opt and /run.

Standard input is a JSON object: `programs`, the folder of containerd's programs, and `blocks`, the page's commands in
their order. What was seen between them is printed as JSON. Started by `unshare --mount`, as root.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "compiler")]

from tests.enforce.nri.cri import CallError, Client  # noqa: E402
from tests.enforce.nri.daemon import CNI, IMAGE, image  # noqa: E402
from tests.enforce.nri.live import NODE, Pods  # noqa: E402

SOCKET = Path("/run/containerd/containerd.sock")
CONFIG = Path("/etc/containerd/config.toml")
STOCK = f"""version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "{IMAGE}"
    restrict_oom_score_adj = true
    [plugins."io.containerd.grpc.v1.cri".containerd]
      snapshotter = "native"
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/opt/none"
      conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.internal.v1.opt"]
    path = "/var/lib/containerd/opt"
"""
"""As Debian ships it, and what an operator may have set."""
SYSTEMCTL = """#!/bin/sh
set -e
[ "$*" = "restart containerd" ]
if [ -e /run/pid ]; then
    kill "$(cat /run/pid)"
    while [ -e "/proc/$(cat /run/pid)" ]; do sleep 0.05; done
fi
containerd > /run/containerd.log 2>&1 < /dev/null &
echo $! > /run/pid
"""
"""The one thing that is asked of the service manager."""
STOCKADE = f"""#!/bin/sh
PYTHONPATH={ROOT}/compiler exec {sys.executable} -m stockade.cli.main "$@"
"""


def private(work: Path, programs: Path) -> None:
    """Folders of this namespace alone, in the place of the machine's."""
    subprocess.run(["cp", "-a", "/etc", work / "etc"], check=True)
    for place in ("/run", "/opt", "/var/log", "/var/lib"):
        (work / place.strip("/")).mkdir(parents=True)
    for place in ("/etc", "/run", "/opt", "/var/log", "/var/lib"):
        subprocess.run(["mount", "--bind", work / place.strip("/"), place], check=True)
    shutil.rmtree("/etc/containerd", ignore_errors=True)
    for folder in ("/etc/containerd", "/etc/cni/net.d", "/opt/none"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    CONFIG.write_text(STOCK)
    Path("/etc/cni/net.d/10-none.conf").write_text('{"cniVersion": "0.4.0", "name": "none", "type": "none"}')
    # The shipped policy, but for a limit that this machine may not be allowed to raise so far.
    shutil.copytree(ROOT / "policy", work / "policy")
    for path in (work / "policy/containers").iterdir():
        path.write_text(re.sub(r"nofile: \d+", "nofile: 4096", path.read_text()))
    tools = work / "bin"
    tools.mkdir()
    written = {"/opt/none/none": CNI, "/opt/none/loopback": CNI}
    written |= {str(tools / "systemctl"): SYSTEMCTL, str(tools / "stockade"): STOCKADE}
    for path, text in written.items():
        Path(path).write_text(text)
        Path(path).chmod(0o755)
    os.environ["PATH"] = f"{tools}:{programs}:/usr/sbin:/usr/bin:/sbin:/bin"


def shell(block: str, folder: Path = ROOT) -> str:
    """What the commands printed; SystemExit where one of them failed."""
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block], cwd=folder, capture_output=True, text=True, timeout=120
    )
    if ran.returncode:
        log = Path("/run/containerd.log").read_text()[-2000:] if Path("/run/containerd.log").exists() else ""
        raise SystemExit(f"{block}\nended with {ran.returncode}: {ran.stdout}{ran.stderr}\n{log}")
    return ran.stdout


def ready() -> None:
    """Wait until containerd answers for CRI, which it does last of all."""
    deadline = time.monotonic() + 30
    while True:
        try:
            with Client(SOCKET) as client:
                client.call("ListPodSandbox")
                return
        except (OSError, CallError) as error:
            if time.monotonic() > deadline:
                raise SystemExit(f"{error}\n{Path('/run/containerd.log').read_text()[-3000:]}") from None
        time.sleep(0.1)


def restarted(block: str) -> str:
    said = shell(block)
    ready()
    return said


def pids() -> dict[str, int]:
    rows = [line.split() for line in shell("ctr -n k8s.io tasks ls").splitlines()[1:]]
    return {row[0]: int(row[1]) for row in rows}


def refused(pods: Pods, handler: str, **asked: Any) -> str:
    """Why a pod by a runtime handler does not start."""
    try:
        return f"it starts: {pods.run(handler, **asked)}"
    except CallError as error:
        return str(error)


def seen(pods: Pods, handler: str) -> dict[str, Any]:
    """A pod by a runtime handler: its container's process, and which type the specification says that it is of."""
    pod = pods.run(handler)
    container = pods.container(pod, args=["600"], command=["/bin/sleep"])
    pid = pods.start(container)
    spec = json.loads(
        Path("/run/containerd/io.containerd.runtime.v2.task/k8s.io", container, "config.json").read_text()
    )
    return {
        "pod": pod[0],
        "pid": pid,
        "status": Path(f"/proc/{pid}/status").read_text(),
        "type": spec["annotations"].get("io.stockade.type", ""),
    }


def main() -> dict[str, Any]:
    given = json.load(sys.stdin)
    work = Path(tempfile.mkdtemp(dir=given["work"]))
    private(work, Path(given["programs"]))
    install, run, configure, default, back, remove = given["blocks"]
    found: dict[str, Any] = {}
    daemon = SimpleNamespace(folder=work, client=lambda: Client(SOCKET), pids=pids)
    pods = Pods(daemon)  # type: ignore[arg-type]
    try:
        restarted("systemctl restart containerd")
        (work / "image.tar").write_bytes(image(Path(str(shutil.which("busybox")))))
        for space in ("default", "k8s.io"):
            shell(f"ctr -n {space} images import {work}/image.tar")
        found["before"] = seen(pods, "")
        shell(install, work)
        found["run"] = shell(run.replace("IMAGE", IMAGE))
        found["told"] = restarted(configure)
        found["dump"] = shell("containerd config dump")
        found["plain"], found["web"] = seen(pods, ""), seen(pods, "stockade-web")
        # Its sandbox is what would have them; containerd gives that no standard error that can be written to.
        found["shared"] = refused(pods, "stockade-web", namespace_options={"network": NODE, "pid": NODE})
        restarted(default)
        found["ordinary"] = seen(pods, "")
        restarted(back)
        found["again"], found["gone"] = seen(pods, ""), refused(pods, "stockade-web")
        found["config"] = CONFIG.read_text() == STOCK
        found["alive"] = Path(f"/proc/{found['web']['pid']}").exists()
        shell(remove)
        found["kept"] = Path("/opt/stockade").exists()
        with daemon.client() as client:
            for name in ("web", "ordinary"):
                client.call("StopPodSandbox", id=found[name]["pod"])
                client.call("RemovePodSandbox", id=found[name]["pod"])
        shell(remove)
        found["removed"] = not Path("/opt/stockade").exists()
        left = {one["pod"] for one in (found["before"], found["plain"], found["again"])}
        with daemon.client() as client:
            for pod in left:
                client.call("StopPodSandbox", id=pod)
                client.call("RemovePodSandbox", id=pod)
    finally:
        subprocess.run(
            "for p in $(ctr -n k8s.io tasks ls -q); do ctr -n k8s.io tasks kill -s KILL $p; done",
            shell=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        subprocess.run(["sh", "-c", "kill $(cat /run/pid)"], check=False)
    return found


if __name__ == "__main__":
    result = main()
    json.dump(result, sys.stdout)
