"""The plugin beside containerd 1.7 on the guest host: SELinux enforcing, cgroup v2, a sealed root, and a CRI call."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from stockade.lab.host import By, File, HostRun, Task, build, extras, run
from stockade.lab.tools import find

from .daemon import CNI, image

HERE = Path(__file__).parent
AT = "usr/lib/nri-test"
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
    found = findings(sys.stdin.buffer.read(), profile_of, ())
except Refused as refused:
    found = refused.reasons
for place, why in found:
    sys.stderr.write(f"stockade: {place}: {why}\\n")
sys.exit(bool(found))
"""
"""The verify hook with nothing but the standard library: the guest's Python has no more."""


@pytest.fixture(scope="module")
def told(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> HostRun:
    """One boot: an image imported, the plugin beside containerd, and what `asked.py` found."""
    folder = tmp_path_factory.mktemp("guest")
    for name in ("asked.py", "cri.py"):
        shutil.copy(HERE / name, folder)
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
    # Where containerd looks for the labels of containers when a host has no configuration of its own for SELinux.
    labels = tmp_path_factory.mktemp("labels")
    shutil.copy(bundle / "host/lxc_contexts", labels / "contexts")
    more = [extras.python(), extras.folder(folder, AT), extras.folder(labels, "usr/share/containers/selinux")]
    host = build(bundle, extras=more)
    plugin = ["/usr/bin/python3", "-m", "stockade.enforce.nri", "--bundle", "/usr/share/stockade"]
    plugin += ["--accept-fail-open", "--log", "/run/stockade-nri.log", "--verify-hook", f"/{AT}/hook"]
    return run(
        host,
        [
            Task(
                ("/usr/bin/ctr", "-n", "k8s.io", "images", "import", f"/{AT}/image.tar"), by=By.RUNTIME, name="import"
            ),
            Task(tuple(plugin), by=By.RUNTIME, name="plugin", background=True, timeout=200),
            Task(("/usr/bin/python3", f"/{AT}/asked.py"), by=By.RUNTIME, name="asked", timeout=150),
        ],
        files=[
            File("/etc/containerd/config.toml", CONFIG.encode()),
            File("/etc/hosts", b"127.0.0.1 localhost\n"),
            File("/etc/resolv.conf", b""),
        ],
        containerd=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def found(told: HostRun) -> dict[str, Any]:
    assert told.enforcing == (True, True)
    assert told["import"].status == 0, told["import"].stderr
    asked = told["asked"]
    assert asked.status == 0, (asked.stderr.decode()[-3000:], told["plugin"].stderr, told.containerd_log[-3000:])
    return dict(json.loads(asked.stdout))


def test_it_registers_with_containerd_s_own_socket(told: HostRun, found: dict[str, Any]) -> None:
    assert 'registered as \\"90-stockade\\"' in told.containerd_log
    assert found["events"][:3] == ["connected", "configured", "synchronized"]


def test_a_container_is_labelled_and_limited(found: dict[str, Any]) -> None:
    assert re.fullmatch(r"system_u:system_r:container_t:s0:c\d+,c\d+", found["label"])
    assert re.search(r"Max open files\s+65536\s+65536 ", found["limits"])
    assert (found["memory.max"], found["pids.max"]) == (str(2 << 30), "2048")
    assert found["after the update"] == str(2 << 30)


def test_what_nri_does_not_reach_the_hook_holds(found: dict[str, Any]) -> None:
    status = dict(re.findall(r"^(\w+):\t(.+)$", found["status"], re.MULTILINE))
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
    assert status["CapBnd"] == status["CapEff"] and int(status["CapBnd"], 16).bit_count() == 9
    assert "stockade: process.capabilities.bounding: has CAP_" in found["plain"]
    assert "stockade: process.noNewPrivileges: is absent, the type has True" in found["without no_new_privs"]
    assert "stockade: linux.maskedPaths: lacks /proc/acpi" in found["plain"]
    assert "stockade: linux.seccomp: is absent" in found["without seccomp"]


def test_the_host_s_network_is_refused_by_name(found: dict[str, Any]) -> None:
    assert "stockade: container type ordinary: no-host-namespaces" in found["host network"]


def test_the_policy_denies_the_plugin_nothing(told: HostRun) -> None:
    assert told["plugin"].denials == () and told["plugin"].stderr == b""
