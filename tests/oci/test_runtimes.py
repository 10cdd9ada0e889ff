"""Real runtimes do with a compiled document what the type says, as a process in the container sees it.

Needs root, runc, crun and a static busybox; without them these tests fail, unless deselected with -m 'not runtime'.
On a host without cgroup v2 `unified` and `hugepageLimits` are left out: no runtime takes them there. Without SELinux
so are the two labels.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stockade.model.container import (
    ContainerType,
    Device,
    Level,
    Mount,
    Namespaces,
    Quota,
    Rlimit,
    Tmpfs,
    UserNamespace,
)
from stockade.model.names import CAPABILITIES
from stockade.oci.build import to_runtime_spec

from .samples import AT, KINDS, capability_sets, container

pytestmark = pytest.mark.runtime

CGROUP = Path("/sys/fs/cgroup")
UNIFIED = (CGROUP / "cgroup.controllers").exists()

LOOK = r"""
try() { if said=$("$@" 2>&1); then echo yes; else echo "no: $said"; fi; }
echo "[status]"; cat /proc/self/status
echo "[limits]"; cat /proc/self/limits
echo "[mounts]"; cat /proc/self/mountinfo
echo "[kcore]"; head -c 9 /proc/kcore | wc -c
echo "[firmware]"; ls -A /sys/firmware | wc -l
echo "[somaxconn]"; cat /proc/sys/net/core/somaxconn
echo "[set]"; try sh -c 'echo 7 > /proc/sys/net/core/somaxconn'
echo "[root]"; try sh -c ': > /probe'
echo "[pages]"; try sh -c ': > /srv/probe'; cat /srv/page
echo "[tmp]"; try sh -c ': > /tmp/probe'
echo "[full]"; try dd if=/dev/zero of=/tmp/big bs=1M count=9
echo "[run]"; cp /bin/busybox /tmp/true; try /tmp/true
echo "[kmsg]"; try sh -c ': > /dev/kmsg'
echo "[letters]"; try sh -c 'head -c 9 /dev/letters > /dev/null'
echo "[processes]"; cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max
echo "[memory]"; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max
echo "[pid]"; echo $$
"""

LETTERS = Device("/dev/letters", "c", 1, 9, "r")
KMSG = Device("/dev/kmsg", "c", 1, 11, "rw")


def strict() -> ContainerType:
    return container(
        level=Level.NONE,
        tmpfs=(Tmpfs("/tmp", 8 << 20),),
        devices=(LETTERS,),
        rlimits={"core": Rlimit(0, 0), "nofile": Rlimit(128, 256), "stack": Rlimit(1 << 20, None)},
        cgroup=container().cgroup | {"cpu.max": Quota(80_000)},
    )


def wide() -> ContainerType:
    return replace(
        strict(),
        capabilities=capability_sets(held()),
        read_only_root=False,
        no_new_privileges=False,
        masked=(),
        read_only=(),
        devices=(LETTERS, KMSG),
        cgroup={"memory.max": None, "pids.max": None},
        rlimits={},
        sysctls={},
        namespaces=Namespaces(frozenset(KINDS) - {"pid"}, frozenset(["pid"]), UserNamespace.OPTIONAL),
    )


def held() -> set[str]:
    """The capabilities that this machine has to give."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd:"))
    return {name for name, number in CAPABILITIES.items() if int(line.split()[1], 16) >> number & 1}


@pytest.fixture(scope="module", autouse=True)
def able() -> None:
    missing = [program for program in ("runc", "crun", "busybox", "unshare") if not shutil.which(program)]
    if os.geteuid() != 0 or missing:
        what = f"missing: {', '.join(missing)}" if missing else "not root"
        pytest.fail(f"containers cannot be started here ({what}); deselect with -m 'not runtime'", pytrace=False)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("bundle")
    for folder in ("bin", "proc", "sys", "dev", "tmp", "run", "srv"):
        (place / "rootfs" / folder).mkdir(parents=True)
    shutil.copy(str(shutil.which("busybox")), place / "rootfs/bin/busybox")
    for applet in "sh cat ls wc head dd cp mount".split():
        (place / "rootfs/bin" / applet).symlink_to("busybox")
    # A mount that the host shares: what a careless propagation would give to the container.
    (place / "shared").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "shared", place / "shared"], check=True)
    subprocess.run(["mount", "--make-shared", place / "shared"], check=True)
    (place / "shared/page").write_text("a page\n")
    subprocess.run(["runc", "spec", "--bundle", place], check=True)
    (place / "config.json").rename(place / "base.json")
    yield place
    subprocess.run(["umount", place / "shared"], check=True)


def merged(base: dict[str, Any], kind: ContainerType, uid: int) -> dict[str, Any]:
    """A runtime's own configuration with the parts that the type fixes."""
    spec: Any = json.loads(json.dumps(to_runtime_spec(kind)))
    if not Path("/sys/fs/selinux/enforce").exists():
        del spec["process"]["selinuxLabel"], spec["linux"]["mountLabel"]
    if not UNIFIED:
        for key in ("unified", "hugepageLimits"):
            spec["linux"]["resources"].pop(key, None)
    process = {"terminal": False, "args": ["/bin/sh", "-c", LOOK], "user": {"uid": uid, "gid": uid}}
    ours = {mount["destination"] for mount in spec["mounts"]}
    return base | {
        "process": base["process"] | process | spec["process"],
        "root": base["root"] | spec["root"],
        "mounts": [mount for mount in base["mounts"] if mount["destination"] not in ours] + spec["mounts"],
        "linux": spec["linux"],
        "annotations": spec["annotations"],
    }


def run(
    runtime: str, bundle: Path, kind: ContainerType, *, uid: int = 0, mount: dict[str, Any] | None = None, **linux: str
) -> dict[str, str]:
    """What the container saw: section -> text; with a mount of the runtime's own, or members of `linux`, changed."""
    config = json.loads((bundle / "base.json").read_text())
    if mount is None:
        kind = replace(kind, mounts=(Mount(str(bundle / "shared"), "/srv", ("ro",), "Pages.", AT),))
    else:
        kind = replace(kind, mounts=())
        config["mounts"].append(mount)
    config = merged(config, kind, uid)
    # The node is there in every container; whether it opens is for the device rules to say.
    nodes = [node for node in config["linux"]["devices"] if node["path"] != "/dev/kmsg"]
    config["linux"]["devices"] = [*nodes, {"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}]
    (bundle / "config.json").write_text(json.dumps(config | {"linux": config["linux"] | linux}))
    name = f"stockade-{uuid.uuid4().hex[:12]}"
    command = [runtime, "--root", str(bundle / runtime), "run", "--bundle", str(bundle), name]
    if runtime == "crun" and not UNIFIED:
        command = ["unshare", "--mount", "sh", "-c", HYBRID, "sh", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    parts = [part.partition("]\n") for part in ("\n" + done.stdout).split("\n[")[1:]]
    return {name: text.strip() for name, _, text in parts}


# crun refuses a host that has controllers in both versions of cgroup, so it is not shown the second. Taking the
# controllers off version 2 by a mount of version 1 is no way: the kernel gives them back some time after the unmount,
# and a container that starts meanwhile finds them there or not.
HYBRID = r"""
if [ -e /sys/fs/cgroup/unified/cgroup.controllers ]; then umount -l /sys/fs/cgroup/unified || exit 97; fi
exec "$@"
"""


def bits(names: frozenset[str]) -> int:
    return sum(1 << CAPABILITIES[name] for name in names)


def status(seen: dict[str, str]) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in seen["status"].splitlines() if ":\t" in line)


def mount_line(seen: dict[str, str], place: str) -> str:
    return [line for line in seen["mounts"].splitlines() if line.split()[4] == place][-1]


RUNTIMES = pytest.mark.parametrize("runtime", ["runc", "crun"])


@RUNTIMES
def test_strict(runtime: str, bundle: Path) -> None:
    kind = strict()
    seen = run(runtime, bundle, kind)
    process = status(seen)
    sets = kind.capabilities
    assert int(process["CapEff"], 16) == bits(sets["effective"])
    assert int(process["CapPrm"], 16) == bits(sets["permitted"])
    assert int(process["CapBnd"], 16) == bits(sets["bounding"])
    assert int(process["CapInh"], 16) == bits(sets["inheritable"])
    assert int(process["CapAmb"], 16) == bits(sets["ambient"])
    assert process["NoNewPrivs"].strip() == "1"
    limits = {line[:26].strip(): line[26:].split() for line in seen["limits"].splitlines()}
    assert limits["Max core file size"][:2] == ["0", "0"]
    assert limits["Max open files"][:2] == ["128", "256"]
    assert limits["Max stack size"][:2] == ["1048576", "unlimited"]
    assert seen["root"].startswith("no: ") and "Read-only file system" in seen["root"]
    assert "Read-only file system" in seen["pages"] and seen["pages"].endswith("a page")
    assert seen["tmp"] == "yes"
    assert "No space left" in seen["full"]
    assert "Permission denied" in seen["run"], "a tmpfs of the type executes nothing"
    assert seen["kcore"] == "0"
    assert seen["firmware"] == "0"
    assert seen["somaxconn"] == "1024"
    assert "Read-only file system" in seen["set"]
    assert "Operation not permitted" in seen["kmsg"]
    assert seen["letters"] == "yes"
    assert seen["processes"] == "64"
    assert seen["memory"] == str(512 << 20)
    assert seen["pid"] == "1"
    for place in ("/srv", "/tmp"):
        assert {"nosuid", "nodev"} <= set(mount_line(seen, place).split()[5].split(","))
        assert "shared:" not in mount_line(seen, place) and "master:" not in mount_line(seen, place)


@RUNTIMES
def test_ambient_is_what_another_user_keeps(runtime: str, bundle: Path) -> None:
    kind = strict()
    process = status(run(runtime, bundle, kind, uid=1000))
    for name in ("CapEff", "CapPrm", "CapAmb", "CapInh"):
        assert int(process[name], 16) == bits(kind.capabilities["ambient"])
    assert int(process["CapBnd"], 16) == bits(kind.capabilities["bounding"])


@RUNTIMES
def test_wide(runtime: str, bundle: Path) -> None:
    """The same questions have other answers where the type allows it: the test above sees the type, not the machine."""
    seen = run(runtime, bundle, wide())
    process = status(seen)
    assert int(process["CapEff"], 16) == bits(frozenset(held()))
    assert process["NoNewPrivs"].strip() == "0"
    assert seen["root"] == "yes"
    (bundle / "rootfs/probe").unlink()
    assert seen["kmsg"] == "yes"
    assert seen["somaxconn"] != "1024"
    assert seen["processes"] == "max"
    assert seen["memory"] != str(512 << 20)
    assert seen["pid"] != "1"
    assert seen["set"] == "yes"


@pytest.mark.parametrize(("propagation", "leaks"), [("private", True), ("rprivate", False)])
def test_why_the_propagation_is_recursive(bundle: Path, propagation: str, leaks: bool) -> None:
    """runc, told the specification's `private`, hands out a bind mount that is shared with the host."""
    mount = {"destination": "/srv", "type": "bind", "source": str(bundle / "shared"), "options": ["bind"]}
    seen = run("runc", bundle, strict(), mount=mount, rootfsPropagation=propagation)
    assert ("shared:" in mount_line(seen, "/srv")) == leaks


@RUNTIMES
def test_a_mount_of_the_runtime_stays_private(runtime: str, bundle: Path) -> None:
    mount = {"destination": "/srv", "type": "bind", "source": str(bundle / "shared"), "options": ["bind"]}
    line = mount_line(run(runtime, bundle, strict(), mount=mount), "/srv")
    assert "shared:" not in line and "master:" not in line
