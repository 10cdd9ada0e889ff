"""A real containerd starts containers through the launchers, as `ctr` asks, and the kernel says what they have."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from stockade.model.names import CAPABILITIES

from tests.enforce.conftest import TYPES, containerd, profile_of
from tests.enforce.containers import Site, identity, limits, seen
from tests.enforce.nri.daemon import IMAGE, Containerd

# What containerd asks for when nobody says more: of these a type keeps what it has.
ASKED = {
    f"CAP_{name}"
    for name in (
        "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL "
        "AUDIT_WRITE"
    ).split()
}
ADDED = ["CAP_SYS_ADMIN", "CAP_NET_ADMIN"]
LINES = {"bounding": "CapBnd", "effective": "CapEff", "permitted": "CapPrm", "inheritable": "CapInh"}
SPACES = {"pid": "pid", "ipc": "ipc", "uts": "uts", "mount": "mnt", "network": "net", "cgroup": "cgroup"}
STATUS = ["/bin/busybox", "cat", "/proc/self/status"]


@pytest.fixture(scope="module", params=["1.6", "1.7"])
def daemon(
    request: pytest.FixtureRequest, programs: Path, runc: Site, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Containerd]:
    """Debian 12's own containerd and the one after it."""
    if request.param == "1.6":
        programs = containerd(tmp_path_factory.mktemp("debian12"), "bookworm")
    with Containerd(programs, tmp_path_factory.mktemp("containerd")) as running:
        assert re.search(rf"Server:\n +Version: +{re.escape(request.param)}\.", running.ctr("version"))
        yield running


def ran(daemon: Containerd, site: Site, kind: str, name: str, flags: Iterable[str], *command: str) -> str:
    return daemon.ctr("run", *flags, "--runc-binary", site.launcher(kind), IMAGE, name, *command)


def told(daemon: Containerd, name: str) -> str:
    """What an added process says of itself. containerd may lose the last lines of one that ends at once: ask again."""
    for attempt in range(5):
        said = daemon.ctr("tasks", "exec", "--exec-id", f"x{attempt}", name, *STATUS)
        if "ctxt_switches" in said:  # the kernel's last lines
            break
    return said


def mask(names: Iterable[str]) -> int:
    return sum(1 << CAPABILITIES[name.removeprefix("CAP_")] for name in names)


@pytest.mark.parametrize("kind", TYPES)
def test_a_container_has_what_its_type_has(kind: str, daemon: Containerd, runc: Site) -> None:
    """Its first process, and one that is added with every capability; and a limit that is raised stays."""
    name, profile = identity(), profile_of(kind)
    flags = ["-d", "--allow-new-privs", *(word for added in ADDED for word in ("--cap-add", added))]
    ran(daemon, runc, kind, name, flags, "/bin/sleep", "600")
    try:
        pid = daemon.pids()[name]
        first = seen(Path(f"/proc/{pid}/status").read_text())
        added = seen(told(daemon, name))
        for status in (first, added):
            for key, line in LINES.items():
                wanted = set() if key == "inheritable" else {*ASKED, *ADDED} & profile.capabilities[key]
                assert int(status[line], 16) == mask(wanted), (key, status[line])
            assert int(status["CapAmb"], 16) == 0
            assert status["NoNewPrivs"] == str(int(profile.spec["process"]["noNewPrivileges"]))
            assert status["Seccomp"] == "2"
        for space in profile.namespaces:
            own, host = (Path(f"/proc/{who}/ns/{SPACES[space]}").readlink() for who in (pid, "self"))
            assert own != host, space
        assert re.search(r"Max core file size +0 +0 ", Path(f"/proc/{pid}/limits").read_text())
        wanted_limits = {key: profile.resources[key]["limit"] for key in ("pids", "memory")}
        assert limits(name) == wanted_limits
        root = next(str(path) for path in Path("/run/containerd/runc").iterdir() if (path / name).exists())
        raised = runc.bare(
            "--root", root, "update", "--pids-limit", "1000000", "--memory", str(1 << 40), name, name=kind
        )
        assert raised.returncode == 0, raised.stderr
        assert limits(name) == wanted_limits
    finally:
        daemon.ctr("tasks", "delete", "--force", name)
        daemon.ctr("containers", "delete", name)


ATTEMPTS = [
    ("no-host-namespaces", ["--net-host"]),
    ("no-host-namespaces", ["--with-ns", f"pid:/proc/{os.getpid()}/ns/pid"]),
    ("no-host-namespaces", ["--with-ns", f"network:/proc/{os.getpid()}/ns/net"]),
    ("no-privileged-containers", ["--privileged"]),
    ("no-runtime-sockets", ["--mount", "type=bind,src=/run,dst=/x,options=rbind"]),
    ("no-host-paths", ["--mount", "type=bind,src=/etc,dst=/x,options=rbind:ro"]),
    ("no-runtime-sockets", ["--mount", "type=bind,src=/,dst=/x,options=rbind:ro"]),
    ("no-foreign-devices", ["--device", "/dev/loop-control"]),
]


@pytest.mark.parametrize(("promise", "flags"), ATTEMPTS, ids=[flags[-1].split(":/proc")[0] for _, flags in ATTEMPTS])
def test_a_refusal_is_told_by_ctr_and_leaves_nothing(
    promise: str, flags: list[str], daemon: Containerd, runc: Site
) -> None:
    name = identity()
    with pytest.raises(RuntimeError, match=rf"policy denied: type web: .*\[{promise}\]"):
        ran(daemon, runc, "web", name, ["--rm", *flags], "/bin/busybox", "true")
    assert name not in daemon.ctr("tasks", "ls") + daemon.ctr("containers", "ls")
    assert not list(Path("/run/containerd/runc").glob(f"*/{name}"))


def test_an_ordinary_life_is_undisturbed(daemon: Containerd, runc: Site) -> None:
    name = identity()
    assert "NoNewPrivs:\t1" in ran(daemon, runc, "web", name, ["--rm"], *STATUS)
    assert name not in daemon.ctr("tasks", "ls") + daemon.ctr("containers", "ls")
