"""The plugin as a host container: an image made of this machine's own Python, run beside those that it confines."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from pathlib import Path

import pytest

from .cri import CallError
from .daemon import Containerd
from .live import RUNTIMES, Pods

TOOL = Path(__file__).resolve().parents[3] / "tools/nri_image.py"
NAME = "localhost/stockade-nri:test"


def made(path: Path, bundle: Path) -> Path:
    command = ["/usr/bin/python3", TOOL, "-o", path, "--bundle", bundle, "--name", NAME]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return path


@pytest.fixture(scope="module")
def image(within_reach: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("image") / "image.tar", within_reach)


def test_a_host_container_confines_the_others(programs: Path, image: Path, tmp_path: Path) -> None:
    with Containerd(programs, tmp_path, RUNTIMES) as running:
        running.ctr("images", "import", "-", data=image.read_bytes(), namespace="host")
        words = ["run", "--detach", "--snapshotter", "native"]
        words += ["--mount", f"type=bind,src={tmp_path},dst={tmp_path},options=rbind:ro"]
        started = ["/usr/lib/stockade/start", "--bundle", "/etc/stockade/bundle", "--accept-fail-open"]
        started += ["--socket", str(running.nri), "--containerd-config", str(running.config)]
        running.ctr(*words, NAME, "stockade-nri", *started, namespace="host")
        try:
            deadline = time.monotonic() + 10
            while 'registered as \\"90-stockade\\"' not in running.log.read_text():
                assert time.monotonic() < deadline, running.log.read_text()[-2000:]
                time.sleep(0.05)
            pods = Pods(running)
            container = pods.container(pods.run())
            spec = json.loads(running.ctr("containers", "info", container))["Spec"]
            assert spec["annotations"]["io.stockade.type"] == "ordinary"
            node = {"namespace_options": {"network": 2}}
            with pytest.raises(CallError, match="no-host-namespaces"):
                pods.container(pods.run(**node), node)
            with pytest.raises(CallError, match="no-privileged-containers"):
                pods.container(pods.run(privileged=True), {"privileged": True})
        finally:
            running.ctr("tasks", "kill", "-s", "TERM", "stockade-nri", namespace="host")
            deadline = time.monotonic() + 10
            while "RUNNING" in running.ctr("tasks", "ls", namespace="host") and time.monotonic() < deadline:
                time.sleep(0.05)
            # Fails where the plugin has not ended with 0.
            running.ctr("tasks", "delete", "stockade-nri", namespace="host")


def test_the_same_machine_gives_the_same_image(image: Path, within_reach: Path, tmp_path: Path) -> None:
    again = made(tmp_path / "again", within_reach)
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(image.read_bytes()).digest()
    assert [path.name for path in tmp_path.iterdir()] == ["again"]
    assert [path.name for path in image.parent.iterdir()] == ["image.tar"]
