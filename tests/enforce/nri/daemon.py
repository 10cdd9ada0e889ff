"""A containerd of one's own: root, state and sockets in one folder, an image of busybox, NRI on, and no network."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from .cri import CallError, Client

IMAGE = "localhost/busybox:1"
CNI = """#!/bin/sh
echo '{"cniVersion": "0.4.0", "interfaces": [], "ips": [{"version": "4", "address": "10.9.0.2/24"}]}'
"""
"""A network plugin that gives an address out and nothing else: what is tested needs no packets."""


def image(busybox: Path) -> bytes:
    """An OCI image as one tar: a root with busybox as its only program, under every name that is needed."""

    def blob(data: bytes) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = data
        return {"digest": f"sha256:{digest}", "size": len(data)}

    blobs: dict[str, bytes] = {}
    root = io.BytesIO()
    with tarfile.open(fileobj=root, mode="w") as tar:
        for folder in ("bin", "etc", "tmp", "run", "proc", "sys", "dev"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        program = busybox.read_bytes()
        entry = tarfile.TarInfo("bin/busybox")
        entry.size, entry.mode = len(program), 0o755
        tar.addfile(entry, io.BytesIO(program))
        for name in ("sh", "sleep", "cat", "grep"):
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    layer = blob(root.getvalue())
    config = blob(
        json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Cmd": ["/bin/sleep", "600"], "Env": ["PATH=/bin"]},
                "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
            }
        ).encode()
    )
    kind = "application/vnd.oci.image"
    manifest = blob(
        json.dumps(
            {
                "schemaVersion": 2,
                "config": {"mediaType": f"{kind}.config.v1+json", **config},
                "layers": [{"mediaType": f"{kind}.layer.v1.tar", **layer}],
            }
        ).encode()
    )
    named = {"mediaType": f"{kind}.manifest.v1+json", **manifest, "annotations": {"io.containerd.image.name": IMAGE}}
    blobs["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [named]}).encode()
    blobs["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in sorted(blobs):
            entry = tarfile.TarInfo(name)
            entry.size = len(blobs[name])
            tar.addfile(entry, io.BytesIO(blobs[name]))
    return packed.getvalue()


class Containerd:
    """A running containerd; `folder` holds all that is its own."""

    def __init__(self, programs: Path, folder: Path, nri: str = "", environment: Mapping[str, str] = {}) -> None:
        self.folder = folder
        self.programs = programs
        self.socket = folder / "c.sock"
        self.nri = folder / "nri.sock"
        self.config = folder / "config.toml"
        self.log = folder / "containerd.log"
        self._environment = {**os.environ, "PATH": f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin", **environment}
        for name in ("cni", "cnibin", "plugins", "conf.d"):
            (folder / name).mkdir(exist_ok=True)
        (folder / "cni/10-none.conf").write_text('{"cniVersion": "0.4.0", "name": "none", "type": "none"}')
        for name in ("none", "loopback"):
            (folder / "cnibin" / name).write_text(CNI)
            (folder / "cnibin" / name).chmod(0o755)
        self.config.write_text(f"""
version = 2
root = "{folder}/root"
state = "{folder}/state"
[grpc]
address = "{self.socket}"
[ttrpc]
address = "{folder}/t.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{IMAGE}"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{folder}/cnibin"
conf_dir = "{folder}/cni"
[plugins."io.containerd.nri.v1.nri"]
disable = false
socket_path = "{self.nri}"
plugin_path = "{folder}/plugins"
plugin_config_path = "{folder}/conf.d"
{nri}
""")

    def __enter__(self) -> Containerd:
        self._start()
        try:
            self.ctr("images", "import", "-", data=image(Path(shutil.which("busybox") or "/bin/busybox")))
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self.programs / "containerd", "-c", self.config, "-l", "info"],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=self._environment,
                start_new_session=True,
            )
        try:
            self._ready()
        except BaseException:
            self.__exit__()
            raise

    def restart(self) -> None:
        """End the daemon, as its containers go on, and start it again."""
        self._process.terminate()
        self._process.wait(20)
        self._start()

    def _ready(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"containerd did not start:\n{self.log.read_text()[-3000:]}")
            # The socket is there before CRI is, and CRI before it has looked for what runs.
            with suppress(OSError, CallError), self.client() as client:
                client.call("ListPodSandbox")
                return
            time.sleep(0.1)

    def client(self) -> Client:
        return Client(self.socket)

    def ctr(self, *words: str, data: bytes | None = None, namespace: str = "k8s.io") -> str:
        """What a command of `ctr` answers; RuntimeError where it fails."""
        ran = subprocess.run(
            [self.programs / "ctr", "-a", self.socket, "-n", namespace, *words],
            input=data,
            capture_output=True,
            env=self._environment,
            timeout=60,
        )
        if ran.returncode:
            raise RuntimeError(f"ctr {' '.join(words)}: {ran.stderr.decode()}")
        return ran.stdout.decode()

    def pids(self) -> dict[str, int]:
        """Container to the process that runs in it."""
        rows = [line.split() for line in self.ctr("tasks", "ls").splitlines()[1:]]
        return {row[0]: int(row[1]) for row in rows}

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            with suppress(Exception):
                for container in self.pids():
                    with suppress(Exception):
                        self.ctr("tasks", "kill", "-s", "KILL", container)
                with self.client() as client:
                    for pod in self.ctr("containers", "ls", "-q").split():
                        for method in ("StopPodSandbox", "RemovePodSandbox"):
                            with suppress(CallError):
                                client.call(method, id=pod)
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(20)
        self._process.kill()
        self._process.wait()
        for line in Path("/proc/self/mounts").read_text().splitlines():
            if str(self.folder) in (place := line.split()[1]):
                subprocess.run(["umount", "-l", place], capture_output=True)
