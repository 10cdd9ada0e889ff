"""Attempts to get around the wrapper, on real containers: each is refused, or does no harm.

An attempt to add a process is harmless when that process has no more than the type; one to change limits when the
kernel's are no higher than before. Which of the two it must be is part of each entry.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.enforce.containers import LOOK, Site, identity, limits, runnable, seen
from tests.enforce.specs import SETS

CAPS = "0000000000000480"  # NET_BIND_SERVICE and SETUID: what `web` has of what a pod asks for
ALL = ["CAP_SYS_ADMIN", "CAP_NET_RAW", "CAP_NET_BIND_SERVICE", "CAP_SYS_MODULE", "CAP_SETUID"]
REFUSED, HARMLESS = "refused", "harmless"


def process(**more: Any) -> dict[str, Any]:
    """A process as containerd hands it to `exec`, with all that it may ask for."""
    return {
        "user": {"uid": 0, "gid": 0},
        "args": ["/bin/sh", "-c", LOOK],
        "env": ["PATH=/bin"],
        "cwd": "/",
        "capabilities": dict.fromkeys(SETS, ALL),
        "noNewPrivileges": False,
        "rlimits": [
            {"type": "RLIMIT_CORE", "soft": 512, "hard": 512},
            {"type": "RLIMIT_NOFILE", "soft": 600, "hard": 600},
        ],
        **more,
    }


def _deep() -> bytes:
    return b'{"x":' * 100_000 + b"1" + b"}" * 100_000


PROCESSES: list[tuple[str, bytes, str]] = [
    ("all capabilities", json.dumps(process()).encode(), HARMLESS),
    ("another label", json.dumps(process(selinuxLabel="system_u:system_r:super_t:s0")).encode(), HARMLESS),
    (
        "no capabilities said",
        json.dumps({k: v for k, v in process().items() if k != "capabilities"}).encode(),
        HARMLESS,
    ),
    ("a key twice", b'{"args": ["/bin/true"], "noNewPrivileges": true, "noNewPrivileges": false}', REFUSED),
    ("a capability list twice", b'{"capabilities": {"bounding": [], "bounding": ["CAP_SYS_ADMIN"]}}', REFUSED),
    ("a number that is none", b'{"args": [], "oomScoreAdj": NaN}', REFUSED),
    ("a number beyond 64 bits", b'{"args": [], "oomScoreAdj": 18446744073709551617}', REFUSED),
    ("nested deeply", _deep(), REFUSED),
    ("huge", b'{"args": ["' + b"x" * (17 << 20) + b'"]}', REFUSED),
    ("empty", b"", REFUSED),
    ("cut off", json.dumps(process()).encode()[:-30], REFUSED),
    ("not UTF-8", b'{"args": ["\xff\xfe"]}', REFUSED),
    ("a byte order mark", b"\xef\xbb\xbf" + json.dumps(process()).encode(), REFUSED),
    ("a list", b"[]", REFUSED),
    ("capabilities as text", json.dumps(process(capabilities={"bounding": "all"})).encode(), REFUSED),
    ("real-time scheduler", json.dumps(process(scheduler={"policy": "SCHED_FIFO", "priority": 9})).encode(), REFUSED),
    ("input before others", json.dumps(process(ioPriority={"class": "IOPRIO_CLASS_RT"})).encode(), REFUSED),
]


@pytest.mark.parametrize(("content", "expected"), [(c, e) for _, c, e in PROCESSES], ids=[n for n, _, _ in PROCESSES])
def test_a_process_from_a_file(content: bytes, expected: str, runc: Site, victim: str, tmp_path: Path) -> None:
    path = tmp_path / "process.json"
    path.write_bytes(content)
    judge(runc, runc.call("exec", "--process", str(path), victim), expected)


FILE, NAME = "@file@", "@name@"
EXECS: list[tuple[list[str], str]] = [
    (["--process={FILE}", NAME], HARMLESS),
    (["-process", FILE, NAME], HARMLESS),
    (["-p", FILE, NAME], HARMLESS),
    (["-p={FILE}", NAME], HARMLESS),
    (["--process", "/nonexistent", "--process", FILE, NAME], HARMLESS),
    (["--process", "@link@", NAME], HARMLESS),
    (["--process", "@pipe@", NAME], REFUSED),
    (["--process", "/dev/zero", NAME], REFUSED),
    (["--process", "/nonexistent", NAME], REFUSED),
    (["--proc", FILE, NAME], REFUSED),
    (["---process", FILE, NAME], REFUSED),
    (["--cap", "CAP_SYS_ADMIN", NAME, "true"], REFUSED),
    (["--cap=CAP_SYS_ADMIN", NAME, "true"], REFUSED),
    (["-cap", "CAP_SYS_ADMIN", NAME, "true"], REFUSED),
    (["-c", "CAP_SYS_ADMIN", NAME, "true"], REFUSED),
    (["-c=cap_sys_admin", NAME, "true"], REFUSED),
    (["--cap", "CAP_SETUID", "--cap", "CAP_NET_RAW", NAME, "true"], REFUSED),
    (["--apparmor", "unconfined", NAME, "true"], REFUSED),
    (["--apparmor=", NAME, "true"], REFUSED),
    (["--process-label", "system_u:system_r:super_t:s0", NAME, "sh", "-c", LOOK], HARMLESS),
    (["--process-label=x", NAME, "sh", "-c", LOOK], HARMLESS),
    (["--no-new-privs=false", NAME, "sh", "-c", LOOK], HARMLESS),
    (["--no-new-privs=maybe", NAME, "true"], REFUSED),
    (["--user", "0:0", NAME, "sh", "-c", LOOK], HARMLESS),
    (["--cgroup", "../../..", NAME, "true"], REFUSED),
    (["--preserve-fds", "1000000", NAME, "true"], REFUSED),
    (["--preserve-fds=-1", NAME, "true"], REFUSED),
    (["--", NAME, "true"], REFUSED),
    (["--unknown", NAME, "true"], REFUSED),
    (["--cap"], REFUSED),
]


@pytest.mark.parametrize(("arguments", "expected"), EXECS, ids=[" ".join(a)[:50] for a, _ in EXECS])
def test_an_added_process(arguments: list[str], expected: str, runc: Site, victim: str, tmp_path: Path) -> None:
    path, link, pipe = tmp_path / "process.json", tmp_path / "link", tmp_path / "pipe"
    path.write_text(json.dumps(process()))
    link.symlink_to(path)
    os.mkfifo(pipe)
    words = {FILE: str(path), NAME: victim, "@link@": str(link), "@pipe@": str(pipe)}
    given = [words.get(word, word).replace("{FILE}", str(path)) for word in arguments]
    judge(runc, runc.call("exec", *given), expected)


def judge(site: Site, done: subprocess.CompletedProcess[str], expected: str) -> None:
    if expected == REFUSED:
        assert done.returncode == 1 and "Cap" not in done.stdout
        assert site.reasons().startswith("stockade: policy denied: type web: ")
        return
    assert done.returncode == 0, done.stderr
    found = seen(done.stdout)
    assert all(int(found[key], 16) & ~int(CAPS, 16) == 0 for key in ("CapEff", "CapBnd", "CapPrm", "CapInh", "CapAmb"))
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")
    assert re.search(r"Max core file size +0 +0 ", done.stdout)


UPDATES: list[tuple[list[str], bytes, str]] = [
    (["--pids-limit", "100000", NAME], b"", HARMLESS),
    (["--pids-limit=100000", NAME], b"", HARMLESS),
    (["-pids-limit", "100000", NAME], b"", HARMLESS),
    (["--pids-limit=-1", NAME], b"", HARMLESS),
    (["--pids-limit=0", NAME], b"", HARMLESS),
    ([NAME, "--pids-limit", "100000"], b"", HARMLESS),
    (["--pids-limit", "9223372036854775807", NAME], b"", HARMLESS),
    (["--pids-limit", "1e9", NAME], b"", REFUSED),
    (["--memory", "8g", NAME], b"", HARMLESS),
    (["--memory=8589934592", NAME], b"", HARMLESS),
    (["--memory", "-1", "--memory-swap", "-1", NAME], b"", HARMLESS),
    (["--l3-cache-schema", "L3:0=f", NAME], b"", REFUSED),
    (["--resources", FILE, NAME], b'{"pids": {"limit": 100000}}', HARMLESS),
    (["--resources={FILE}", NAME], b'{"pids": {"limit": -1}}', HARMLESS),
    (["-r", FILE, NAME], b'{"pids": {"limit": 100000}, "memory": {"limit": 17179869184}}', HARMLESS),
    (["-r", "-", NAME], b'{"pids": {"limit": 100000}}', HARMLESS),
    (["--resources=-", NAME], b'{"memory": {"limit": 17179869184}}', HARMLESS),
    (["--resources", "-", NAME], b'{"pids": {"limit": 1, "limit": 100000}}', REFUSED),
    (["--resources", "-", NAME], b'{"pids": {"limit": 1e400}}', REFUSED),
    (["--resources", "-", NAME], b'{"pids": {"limit": "100000"}}', REFUSED),
    (["--resources", "-", NAME], b'{"pids": {"limit": 100000', REFUSED),
    (["--resources", "-", NAME], b'{"unified": {"../../pids.max": "max"}}', REFUSED),
    (["--resources", "/dev/zero", NAME], b"", REFUSED),
    (["--resource", FILE, NAME], b'{"pids": {"limit": 100000}}', REFUSED),
]


@pytest.mark.parametrize(
    ("arguments", "content", "expected"), UPDATES, ids=[" ".join(a)[:45] + c.decode()[:30] for a, c, _ in UPDATES]
)
def test_a_changed_limit(
    arguments: list[str], content: bytes, expected: str, runc: Site, victim: str, tmp_path: Path
) -> None:
    path = tmp_path / "resources.json"
    path.write_bytes(content)
    words = {FILE: str(path), NAME: victim}
    given = [words.get(word, word).replace("{FILE}", str(path)) for word in arguments]
    done = runc.call("update", *given, input=content.decode())
    if expected == REFUSED:
        assert done.returncode == 1 and "policy denied" in runc.reasons()
    found = limits(victim)
    assert found.keys() == {"pids", "memory"}
    assert 0 < found["pids"] <= 512 and 0 < found["memory"] <= 1 << 30


def test_a_limit_may_be_lowered(runc: Site, victim: str) -> None:
    assert runc.call("update", "--pids-limit", "77", victim).returncode == 0
    assert limits(victim)["pids"] == 77
    assert runc.call("update", "--pids-limit", "100", victim).returncode == 0


def _changed(change: Callable[[dict[str, Any]], Any]) -> bytes:
    spec = runnable()
    change(spec)
    return json.dumps(spec).encode()


CONFIGS: list[tuple[str, bytes]] = [
    ("a key twice", json.dumps(runnable()).encode()[:-1] + b', "process": {"capabilities": {}}}'),
    ("a number that is none", _changed(lambda s: s.update(x=float("nan")))),
    ("a number beyond 64 bits", json.dumps(runnable()).encode()[:-1] + b', "x": 18446744073709551616}'),
    ("nested deeply", b'{"x":' * 100_000 + b"1" + b"}" * 100_000),
    ("huge", json.dumps(runnable()).encode() + b" " * (17 << 20)),
    ("empty", b""),
    ("two documents", json.dumps(runnable()).encode() * 2),
    ("a byte order mark", b"\xef\xbb\xbf" + json.dumps(runnable()).encode()),
    (
        "a raw filter that allows all",
        _changed(lambda s: s["annotations"].update({"run.oci.seccomp_bpf_data": "BgAAAAAA/38="})),
    ),
    ("another handler", _changed(lambda s: s["annotations"].update({"run.oci.handler": "krun"}))),
    (
        "host network",
        _changed(
            lambda s: s["linux"].update(namespaces=[n for n in s["linux"]["namespaces"] if n["type"] != "network"])
        ),
    ),
    ("host PIDs by a path", _changed(lambda s: s["linux"]["namespaces"][0].update(path="/proc/1/ns/pid"))),
    (
        "the runtime's own network by a path",
        _changed(lambda s: s["linux"]["namespaces"][4].update(path="/proc/self/ns/net")),
    ),
    ("a namespace that is not there", _changed(lambda s: s["linux"]["namespaces"][4].update(path="/proc/0/ns/net"))),
    (
        "the root",
        _changed(
            lambda s: s["mounts"].append({"destination": "/h", "type": "bind", "source": "/", "options": ["rbind"]})
        ),
    ),
    ("all devices", _changed(lambda s: s["linux"]["resources"].update(devices=[{"allow": True, "access": "rwm"}]))),
    (
        "a block device",
        _changed(lambda s: s["linux"].update(devices=[{"path": "/dev/x", "type": "b", "major": 254, "minor": 0}])),
    ),
    ("process is no object", _changed(lambda s: s.update(process="x"))),
]


@pytest.mark.parametrize("content", [c for _, c in CONFIGS], ids=[n for n, _ in CONFIGS])
@pytest.mark.parametrize("which", ["runc", "crun"])
def test_a_specification(which: str, content: bytes, request: pytest.FixtureRequest) -> None:
    site: Site = request.getfixturevalue(which)
    folder = site.oci(content)
    done = site.call("run", "--bundle", str(folder), identity())
    assert done.returncode == 1 and done.stdout == ""
    assert site.reasons().startswith("stockade: policy denied: type web: ")
    assert (folder / "config.json").read_bytes() == content
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "rootfs"]


SPELLINGS = [
    ["run", "--bundle", FILE, NAME],
    ["run", "--bundle={FILE}", NAME],
    ["run", "-bundle", FILE, NAME],
    ["run", "-b", FILE, NAME],
    ["run", "-b={FILE}", NAME],
    ["run", NAME, "--bundle", FILE],
    ["run", "--bundle", "/nonexistent", "--bundle", FILE, NAME],
    ["run", "--bundle", "@link@", NAME],
    ["run", "--no-pivot=false", "--bundle", FILE, NAME],
    ["run", NAME],
]


@pytest.mark.parametrize("arguments", SPELLINGS, ids=[" ".join(a) for a in SPELLINGS])
def test_a_container_is_confined_however_its_bundle_is_named(arguments: list[str], runc: Site, tmp_path: Path) -> None:
    folder = runc.oci()
    (tmp_path / "link").symlink_to(folder)
    words = {FILE: str(folder), NAME: identity(), "@link@": str(tmp_path / "link")}
    given = [words.get(word, word).replace("{FILE}", str(folder)) for word in arguments]
    judge(runc, runc.call(*given, cwd=folder), HARMLESS)


BAD_CALLS = [
    ["restore", "--bundle", FILE, NAME],
    ["restore", "-b", FILE, "--image-path", "/tmp", NAME],
    ["run", "--config", "/tmp/other.json", "--bundle", FILE, NAME],
    ["run", "-f", "/tmp/other.json", "--bundle", FILE, NAME],
    ["run", "--bund", FILE, NAME],
    ["run", "--bundle", FILE, NAME, "another"],
    ["run", "--bundle"],
    ["run", "--bundle", "/nonexistent", NAME],
    ["run", "--bundle", "/proc/self/fd/0", NAME],
    ["--unknown", "run", "--bundle", FILE, NAME],
    ["--", "run", "--bundle", FILE, NAME],
    ["mount", NAME],
    ["RUN", "--bundle", FILE, NAME],
    ["", "--bundle", FILE, NAME],
]


@pytest.mark.parametrize("arguments", BAD_CALLS, ids=[" ".join(a) for a in BAD_CALLS])
@pytest.mark.parametrize("which", ["runc", "crun"])
def test_what_is_not_understood_is_not_run(which: str, arguments: list[str], request: pytest.FixtureRequest) -> None:
    site: Site = request.getfixturevalue(which)
    folder = site.oci()
    words = {FILE: str(folder), NAME: identity()}
    done = site.call(*[words.get(word, word) for word in arguments])
    assert done.returncode == 1 and "policy denied" in site.reasons()


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_a_specification_that_is_no_file(kind: str, runc: Site) -> None:
    folder = runc.oci()
    path = folder / "config.json"
    path.rename(folder / "other.json")
    if kind == "link":
        path.symlink_to("other.json")
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    done = runc.call("run", "--bundle", str(folder), identity())
    assert done.returncode == 1 and "policy denied" in runc.reasons()


ENVIRONMENTS = {
    "PYTHONPATH": "{}",
    "PYTHONHOME": "{}",
    "PYTHONSTARTUP": "{}/evil.py",
    "PYTHONINSPECT": "1",
    "PYTHONWARNINGS": "error",
    "PYTHONDEVMODE": "1",
    "LD_PRELOAD": "{}/evil.so",
    "LD_LIBRARY_PATH": "{}",
    "LD_AUDIT": "{}/evil.so",
    "GCONV_PATH": "{}",
    "GLIBC_TUNABLES": "glibc.malloc.check=3",
    "PATH": "{}",
    "HOME": "{}",
    "TMPDIR": "/nonexistent",
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_that_would_mislead(name: str, runc: Site, tmp_path: Path) -> None:
    for module in ("sitecustomize.py", "usercustomize.py", "stockade.py", "_json.py", "os.py", "evil.py"):
        (tmp_path / module).write_text("open('/proc/self/cwd/was-here', 'w')\n")
    source = tmp_path / "evil.c"
    source.write_text(
        "#include <fcntl.h>\n#include <unistd.h>\n"
        "__attribute__((constructor)) void here(void) {\n"
        f'  close(open("{tmp_path}/was-here", O_CREAT | O_WRONLY, 0600)); }}\n'
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(tmp_path / "evil.so"), str(source)], check=True)
    folder = runc.oci()
    given = {**os.environ, name: ENVIRONMENTS[name].format(tmp_path)}
    judge(runc, runc.call("run", "--bundle", str(folder), identity(), env=given, cwd=tmp_path), HARMLESS)
    assert not (tmp_path / "was-here").exists()


Spoil = Callable[[Path], Any]
SPOILS: list[tuple[str, Spoil]] = [
    ("changed", lambda b: (b / "containers/web/oci.json").write_text("{}")),
    (
        "of another type",
        lambda b: (b / "containers/web/oci.json").write_bytes((b / "containers/admin/oci.json").read_bytes()),
    ),
    (
        "another filter",
        lambda b: (b / "containers/web/seccomp.json").write_bytes((b / "containers/admin/seccomp.json").read_bytes()),
    ),
    ("missing", lambda b: (b / "containers/web/seccomp.json").unlink()),
    ("gone", lambda b: b.rename(b.with_name("elsewhere"))),
    ("writable by all", lambda b: (b / "containers/web").chmod(0o777)),
    ("a file writable by all", lambda b: (b / "containers/web/oci.json").chmod(0o666)),
    ("another's", lambda b: os.chown(b / "containers/web/oci.json", 1000, 1000)),
    ("another's folder", lambda b: os.chown(b / "containers", 1000, 1000)),
    (
        "a link",
        lambda b: (
            (b / "containers/web/oci.json").rename(b / "o"),
            (b / "containers/web/oci.json").symlink_to(b / "o"),
        ),
    ),
    (
        "a link to a folder",
        lambda b: ((b / "containers/web").rename(b / "w"), (b / "containers/web").symlink_to(b / "w")),
    ),
    ("a pipe", lambda b: ((b / "containers/web/oci.json").unlink(), os.mkfifo(b / "containers/web/oci.json"))),
]


@pytest.mark.parametrize("spoil", [s for _, s in SPOILS], ids=[n for n, _ in SPOILS])
def test_a_bundle_that_cannot_be_trusted(spoil: Spoil, place: Path, bundle: Path, runc: Site, tmp_path: Path) -> None:
    import shutil

    from stockade.enforce.install import Installation, install

    copy = tmp_path / "bundle"
    shutil.copytree(runc.bundle, copy)
    install(
        Installation(
            str(copy),
            str(tmp_path / "prefix"),
            "/usr/sbin/runc",
            "/usr/bin/python3",
            str(tmp_path / "log"),
            ("selinux",),
        )
    )
    site = Site(tmp_path, copy, "runc")
    site.state.mkdir()
    spoil(copy)
    done = site.call("run", "--bundle", str(site.oci()), identity())
    assert done.returncode == 1 and "Cap" not in done.stdout
    assert "always-confined" in site.reasons()


def test_a_full_disk_leaves_the_old_specification_and_starts_nothing(runc: Site, tmp_path: Path) -> None:
    folder = runc.oci()
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "small", str(small)], check=True)
    try:
        before = (folder / "config.json").read_bytes()
        (small / "config.json").write_bytes(before)
        (small / "rootfs").symlink_to(folder / "rootfs")
        filler = os.open(small / "filler", os.O_WRONLY | os.O_CREAT)
        with pytest.raises(OSError, match="No space"):
            while True:
                os.write(filler, b"x" * 4096)
        os.close(filler)
        done = runc.call("run", "--bundle", str(small), identity())
        assert done.returncode == 1 and "cannot be written" in runc.reasons()
        assert (small / "config.json").read_bytes() == before
        assert sorted(path.name for path in small.iterdir()) == ["config.json", "filler", "rootfs"]
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_killed_at_any_moment_the_specification_is_whole(runc: Site) -> None:
    folder = runc.oci()
    before = (folder / "config.json").read_bytes()
    found = set()
    for step in range(25):
        (folder / "config.json").write_bytes(before)
        started = subprocess.Popen(
            [
                runc.launcher(),
                "--root",
                str(runc.state),
                "create",
                "--bundle",
                str(folder),
                "--console-socket",
                "/nonexistent",
                identity(),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(step * 0.0015)
        started.send_signal(signal.SIGKILL)
        started.wait()
        content = json.loads((folder / "config.json").read_bytes())
        found.add(content["process"].get("noNewPrivileges", False))
        assert content["process"]["args"] == json.loads(before)["process"]["args"]
    assert found == {False, True}, "the moments did not fall on both sides of the change"


def test_many_at_once(runc: Site) -> None:
    folders = [runc.oci() for _ in range(50)]
    with ThreadPoolExecutor(16) as pool:
        done = list(pool.map(lambda folder: runc.call("run", "--bundle", str(folder), identity()), folders))
    for one in done:
        judge(runc, one, HARMLESS)


def test_what_ends_a_container_needs_no_interpreter(place: Path, runc: Site, tmp_path: Path) -> None:
    from stockade.enforce.install import Installation, install

    install(
        Installation(
            str(runc.bundle),
            str(tmp_path / "prefix"),
            "/usr/sbin/runc",
            "/nonexistent/python",
            str(tmp_path / "log"),
            ("selinux",),
        )
    )
    site = Site(tmp_path, runc.bundle, "runc")
    site.state = runc.state
    name = identity()
    with Path(os.devnull).open("r+b") as nothing:
        quiet = {"capture_output": False, "stdin": nothing, "stdout": nothing, "stderr": nothing}
        assert (
            runc.call("run", "--detach", "--bundle", str(runc.oci(command="exec sleep 600")), name, **quiet).returncode
            == 0
        )
    assert json.loads(site.call("state", name).stdout)["status"] == "running"
    assert site.call("kill", name, "KILL").returncode == 0
    assert site.call("delete", "--force", name).returncode == 0
    assert site.call("--version").returncode == 0
    refused = site.call("run", "--bundle", str(runc.oci()), identity())
    assert refused.returncode == 1 and "does not start" in site.reasons()


def test_there_are_sixty_attempts_and_more() -> None:
    lists = (PROCESSES, EXECS, UPDATES, CONFIGS, SPELLINGS, BAD_CALLS, ENVIRONMENTS, SPOILS)
    assert sum(map(len, lists)) >= 60
