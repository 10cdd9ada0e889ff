"""One boot of the guest host for all of enforcement: launchers that containerd calls, and the NRI plugin beside it."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

from stockade.enforce.install import Installation, install
from stockade.lab.host import By, File, HostRun, Task, build, extras, run
from stockade.lab.host.containers import Container, container
from stockade.lab.host.image import Extra
from stockade.lab.tools import find
from stockade.lab.tree import Tree
from stockade.model.names import CAPABILITIES

from tests.enforce.nri.daemon import CNI, image

HERE = Path(__file__).parent
AT = "usr/lib/nri-test"
RUNTIMES = {"runc": "/usr/sbin/runc", "crun": "/usr/bin/crun"}
CASES = {
    **{f"{kind}-runc": "default" for kind in ("admin", "batch", "bootstrap", "control", "database", "ordinary", "web")},
    "web-crun": "default",
    "batch-crun": "k8s",
}
"""Containers by type and runtime. Those of the namespace `default` containerd starts, the other the launcher alone."""

TRIED = ("control-runc", "web-runc", "web-crun")
ATTEMPTS = {
    "capability": ["exec", "--cap", "CAP_SYS_RAWIO", "NAME", "LOOK"],
    "label": ["exec", "--process-label=system_u:system_r:super_t:s0", "NAME", "LOOK"],
    "level": ["exec", "--process-label", "system_u:system_r:container_t:s0:c8,c9", "NAME", "LOOK"],
    "restore": ["restore", "--bundle", "/run", "other"],
    "checkpoint": ["checkpoint", "--leave-running", "--image-path", "/run/saved", "NAME"],
    "plain": ["exec", "NAME", "LOOK"],
    "update": ["update", "--pids-limit", "1000000", "--memory", str(1 << 42), "NAME"],
}
"""Ways to widen a container that runs, as somebody would type them; of those not `TRIED` only the last is."""
CONFIG = f"""
version = 2
[plugins."io.containerd.grpc.v1.cri"]
enable_selinux = true
sandbox_image = "localhost/busybox:1"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/{AT}/cnibin"
conf_dir = "/{AT}/cni"
[plugins."io.containerd.nri.v1.nri"]
disable = false
"""
HOOK = """#!/usr/bin/python3
import sys
from pathlib import Path
from stockade.enforce.core import Profile
from stockade.enforce.refusal import Refused
from stockade.enforce.verify import findings

def profile_of(name):
    folder = Path("/usr/share/stockade/containers", name)
    files = [(folder / file).read_bytes() for file in ("oci.json", "seccomp.json")]
    return Profile.from_files(*files, defaults=("container_t", "data_t"))

try:
    found = findings(sys.stdin.buffer.read(), profile_of, (), None)
except Refused as refused:
    found = refused.reasons
for place, why in found:
    sys.stderr.write(f"stockade: {place}: {why}\\n")
sys.exit(bool(found))
"""
"""The verify hook with nothing but the standard library: the guest's Python has no more."""


def boot(bundle: Path, work: Path) -> HostRun:
    """Boot, let `launched.py` try every case, then the plugin start and `asked.py` see what becomes of pods."""
    labels = work / "labels"
    labels.mkdir()
    # Where containerd looks for the labels of containers when a host has no configuration of its own for SELinux.
    shutil.copy(bundle / "host/lxc_contexts", labels / "contexts")
    more = [extras.python(), extras.folder(_tools(work / "tools"), AT)]
    more += [extras.folder(labels, "usr/share/containers/selinux"), *_launchers(bundle, work / "staged")]
    plugin = ["/usr/bin/python3", "-m", "stockade.enforce.nri", "--bundle", "/usr/share/stockade"]
    plugin += ["--accept-fail-open", "--log", "/run/stockade-nri.log", "--verify-hook", f"/{AT}/hook"]
    containers = {name: asked(bundle, *name.split("-")) for name in CASES}
    cases = [
        {
            "name": name,
            "launcher": launcher(*name.split("-")),
            "namespace": CASES[name],
            "folder": one.folder,
            "process": json.dumps(one.spec["process"]),
            "attempts": ATTEMPTS if name in TRIED else dict([*ATTEMPTS.items()][-1:]),
        }
        for name, one in containers.items()
    ]
    tasks = [
        Task(
            ("/usr/bin/python3", f"/{AT}/launched.py"), stdin=json.dumps(cases).encode(), name="launched", timeout=240
        ),
        Task(("/usr/bin/ctr", "-n", "k8s.io", "images", "import", f"/{AT}/image.tar"), name="import"),
        Task(tuple(plugin), by=By.RUNTIME, name="plugin", background=True, timeout=200),
        Task(("/usr/bin/python3", f"/{AT}/asked.py"), by=By.RUNTIME, name="asked", timeout=150),
    ]
    files = [
        File("/etc/containerd/config.toml", CONFIG.encode()),
        File("/etc/hosts", b"127.0.0.1 localhost\n"),
        File("/etc/resolv.conf", b""),
        File("/run/api.sock", label="system_u:object_r:api_socket_t:s0", kind="socket"),
        *(file for one in containers.values() for file in one.files()),
    ]
    return run(build(bundle, extras=more), tasks, files=files, containerd=True, timeout=500)


def launcher(kind: str, runtime: str) -> str:
    """The path of a type's launcher in the guest."""
    return f"/usr/lib/enforce-{runtime}/bin/stockade-{kind}"


def asked(bundle: Path, kind: str, runtime: str) -> Container:
    """A container that asks for more than its type has in whatever is not refused outright but taken away."""
    root = Tree()
    root.file("bin/busybox", find().busybox.read_bytes(), 0o755)
    for place in ("proc", "sys", "dev", "run", "tmp"):
        root.folder(place)
    one = container(bundle, kind, ["/bin/busybox", "sleep", "600"], root, name=f"{kind}-{runtime}")
    spec: dict[str, Any] = one.spec
    every = [f"CAP_{name}" for name in sorted(CAPABILITIES)]
    spec["process"] |= {"capabilities": dict.fromkeys(("bounding", "effective", "permitted"), every)}
    spec["process"] |= {"noNewPrivileges": False, "rlimits": []}
    if spec["annotations"]["io.stockade.level"] == "pair":
        # What the runtime gives to whomever it is told nothing of: the type is replaced, the categories stay.
        spec["process"]["selinuxLabel"] = "system_u:system_r:container_t:s0:c1,c2"
    else:
        del spec["process"]["selinuxLabel"]
    spec["root"]["readonly"] = False
    del spec["annotations"], spec["linux"]["seccomp"], spec["linux"]["maskedPaths"], spec["linux"]["readonlyPaths"]
    spec["linux"]["resources"] = {"pids": {"limit": -1}, "memory": {"limit": 1 << 41}}
    return one


def _launchers(bundle: Path, staged: Path) -> list[Extra]:
    """Installations as for a host whose root is mounted elsewhere, one for each runtime."""
    shutil.copytree(bundle, staged / "usr/share/stockade")
    for path in (staged / "usr/share/stockade").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    made = []
    for name, runtime in RUNTIMES.items():
        at = f"usr/lib/enforce-{name}"
        install(
            Installation(
                bundle="/usr/share/stockade",
                prefix=f"/{at}",
                runtime=runtime,
                python="/usr/bin/python3",
                log="/run/stockade",
                root=str(staged),
            )
        )
        made.append(extras.folder(staged / at, at))
    return made


def _tools(folder: Path) -> Path:
    """What the guest's Python needs to ask questions, an image, and network plugins that only answer."""
    folder.mkdir()
    for path in (HERE / "launched.py", HERE / "nri/asked.py", HERE / "nri/cri.py"):
        shutil.copy(path, folder)
    for name in ("h2", "hpack", "hyperframe"):
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.origin is not None
        shutil.copytree(Path(spec.origin).parent, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "image.tar").write_bytes(image(find().busybox))
    (folder / "hook").write_text(HOOK)
    (folder / "hook").chmod(0o755)
    (folder / "cni").mkdir()
    (folder / "cni/10-none.conf").write_text('{"cniVersion": "0.4.0", "name": "none", "type": "none"}')
    (folder / "cnibin").mkdir()
    answer = CNI.splitlines()[1].removeprefix("echo ").strip("'")
    for name in ("none", "loopback"):
        (folder / "cnibin" / name).write_text(f"#!/usr/bin/python3 -IS\nprint('{answer}')\n")
        (folder / "cnibin" / name).chmod(0o755)
    return folder
