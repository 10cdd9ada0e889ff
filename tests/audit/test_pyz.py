"""stockade.pyz: one file that audits where nothing is installed; the same bytes each time; in a container too."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = [str(Path(sys.executable).resolve()), "-I", "-S"]
"""Outside the environment that the tests run in, and without the packages of the machine."""


def make(target: Path, **environment: str) -> bytes:
    words = [sys.executable, str(ROOT / "tools/pyz.py"), str(target)]
    subprocess.run(words, cwd=target.parent, check=True, capture_output=True, env={**os.environ, **environment})
    return target.read_bytes()


@pytest.fixture(scope="module")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pyz") / "stockade.pyz"
    make(path)
    return path


def alone(pyz: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs it from an empty folder, without any variable."""
    return subprocess.run(
        [*PYTHON, str(pyz), *words], cwd=folder, env={}, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_same_bytes_each_time(pyz: Path, tmp_path: Path) -> None:
    assert make(tmp_path / "again.pyz", TZ="Asia/Tokyo", LC_ALL="C", PYTHONHASHSEED="7") == pyz.read_bytes()
    with zipfile.ZipFile(pyz) as archive:
        names = archive.namelist()
    assert names == sorted(names) and len(set(names)) == len(names)
    assert not [name for name in names if name.endswith((".pyc", ".so"))]
    assert {name.split("/")[1] for name in names if name.startswith("licenses/")} == {
        "stockade", "click", "PyYAML", "pyelftools",
    }  # fmt: skip


def test_it_judges_as_the_installed_one_does(pyz: Path, tmp_path: Path) -> None:
    facts = str(ROOT / "policy/audit/genuine.json")
    waivers = tmp_path / "waivers.yaml"
    waivers.write_text("[]\n")
    words = ["audit", "--facts", facts, "--profile", "all", "--format", "json", "--waivers", str(waivers)]
    (tmp_path / "empty").mkdir()
    got = alone(pyz, tmp_path / "empty", *words)
    installed = subprocess.run(
        [sys.executable, "-m", "stockade.cli.main", *words], capture_output=True, text=True, check=False
    )
    report, wanted = json.loads(got.stdout), json.loads(installed.stdout)
    assert got.returncode == installed.returncode and len(report["results"]) > 100
    assert {**report, "judged": 0} == {**wanted, "judged": 0}
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.parametrize("form", ["junit", "sarif", "oscal", "html", "prometheus", "openreports", "text"])
def test_every_format_is_in_it(pyz: Path, tmp_path: Path, form: str) -> None:
    words = ["--facts", str(ROOT / "policy/audit/genuine.json"), "--rule", "kernel-lockdown", "--format", form]
    done = alone(pyz, tmp_path, "audit", *words)
    assert (done.returncode, done.stderr) == (0, "") and {"node-1", "kernel-lockdown"} & set(
        re.findall(r"[\w-]+", done.stdout)
    )


def test_a_terminal_needs_no_more(pyz: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    words = ["audit", "--facts", str(ROOT / "policy/audit/genuine.json"), "--rule", "kernel-lockdown"]
    done = subprocess.run([*PYTHON, str(pyz), *words], stdout=theirs, env={"TERM": "xterm"}, timeout=60, check=False)
    os.close(theirs)
    assert done.returncode == 0 and b"node-1" in os.read(ours, 1 << 16)
    os.close(ours)


def test_what_it_lacks_is_named(pyz: Path, tmp_path: Path) -> None:
    done = alone(pyz, tmp_path, "check", str(ROOT / "policy"))
    assert done.returncode == 3 and done.stderr.startswith("stockade: the Python package ")
    assert "is missing" in done.stderr and done.stderr.count("\n") == 1


CONTAINER = """
set -e
mount --make-rprivate /
mount -t tmpfs none "$1"
mkdir -p "$1"/usr "$1"/etc "$1"/proc "$1"/tmp
for link in bin lib lib64; do ln -s usr/$link "$1"/$link; done
mount --rbind /usr "$1"/usr
mount --rbind /proc "$1"/proc
cp "$2" "$1"/stockade.pyz
echo ID=auditor > "$1"/etc/os-release
shift 2
exec chroot "$0" "$@"
"""


def test_in_a_container_it_reads_the_host(pyz: Path, tmp_path: Path) -> None:
    """A namespace of processes stands for the host, and a root of its own for the container that audits it."""
    facts = ["-I", "-S", "/stockade.pyz", "audit", "--collect", "--no-walk", "--root"]
    root = tmp_path / "root"
    root.mkdir()
    words = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c"]
    inside = ["unshare", "--mount", "sh", "-c", CONTAINER.replace("$0", str(root)), "sh", str(root), str(pyz)]
    both = "\n".join(
        " ".join(f"'{word}'" for word in [*inside, PYTHON[0], *facts, where, "-o", f"/proc/1/root{tmp_path}/{name}"])
        for where, name in (("/proc/1/root", "host"), ("/", "container"))
    )
    done = subprocess.run([*words, both], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    host, container = (json.loads((tmp_path / name).read_bytes())["facts"] for name in ("host", "container"))
    assert host["host.release"]["value"]["ID"] != "auditor" == container["host.release"]["value"]["ID"]
    assert host["mounts"]["value"][0]["point"] == "/"
    assert str(root) not in {one["point"] for one in host["mounts"]["value"]}


BUNDLE = """
set -e
mount --make-rprivate /
umount --recursive --lazy /proc
mount -t proc proc /proc
cd "$1"
"$2" -I -S rootfs/stockade.pyz audit --collect --no-walk -o "$1"/out/host.json
exec runc --root "$1"/state run "$3"
"""


@pytest.mark.parametrize("devices", [True, False])
def test_a_host_container_of_runc_reads_what_the_host_does(pyz: Path, tmp_path: Path, devices: bool) -> None:
    """Facts from within a container with the host's PID namespace are those from the host, but for what passes by. One
    that may use no device cannot ask for the table of the root's, and says so."""
    for folder in ("usr", "etc", "proc", "tmp", "out", "dev", "sys"):
        (tmp_path / "rootfs" / folder).mkdir(parents=True)
    for link in ("bin", "lib", "lib64"):
        (tmp_path / "rootfs" / link).symlink_to(f"usr/{link}")
    (tmp_path / "rootfs/etc/os-release").write_text("ID=auditor\n")
    (tmp_path / "rootfs/stockade.pyz").write_bytes(pyz.read_bytes())
    (tmp_path / "out").mkdir()
    collect = ["audit", "--collect", "--no-walk", "--root", "/proc/1/root", "-o", "/out/container.json"]
    held = [f"CAP_{name}" for name in ("SYS_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH", "DAC_OVERRIDE", "NET_ADMIN")]
    shared = [("/proc", ["rbind"], "/proc"), ("/usr", ["rbind", "ro"], "/usr"), ("/out", ["bind"], f"{tmp_path}/out")]
    spec = {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs", "readonly": True},
        "process": {
            "args": ["/usr/bin/python3", *PYTHON[1:], "/stockade.pyz", *collect],
            "cwd": "/",
            "user": {"uid": 0, "gid": 0},
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), held),
        },
        "mounts": [{"destination": to, "type": "bind", "source": of, "options": how} for to, how, of in shared],
        "linux": {
            "namespaces": [{"type": "mount"}, {"type": "ipc"}, {"type": "uts"}],
            "resources": {"devices": [{"allow": devices, "access": "rwm"}]},
        },
    }
    (tmp_path / "config.json").write_text(json.dumps(spec))
    words = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", BUNDLE, "sh"]
    name = f"stockade-{os.getpid()}-{devices}"
    done = subprocess.run(
        [*words, str(tmp_path), "/usr/bin/python3", name], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    host, inside = (
        json.loads((tmp_path / "out" / f"{one}.json").read_bytes())["facts"] for one in ("host", "container")
    )
    # Who reads has fewer capabilities there; processes come and go.
    passing = {"ground.auditor", "processes"}
    other = {fact for fact in host if host[fact] != inside[fact]} - passing
    assert set(host) == set(inside) and len(host) > 80
    assert all("value" in inside[fact] for fact in (*passing, "mounts", "containers", "kernel.release"))
    assert other == (set() if devices else {"root.table"})
    assert inside["root.table"]["outcome"] in (("malformed", "absent", "unreadable") if devices else ("unreadable",))
