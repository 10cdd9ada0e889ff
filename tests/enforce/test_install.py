"""What `hook install` writes, what a launcher imports, and what it records."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from stockade.enforce.core import Host, Profile, apply, check
from stockade.enforce.install import Installation, InstallError, install
from stockade.enforce.refusal import PROMISES
from stockade.enforce.snippets import containerd

from tests.enforce.conftest import TYPES, installed, profile_of
from tests.enforce.containers import Site, identity, runnable, seen
from tests.enforce.specs import LEVEL

ROOT = Path(__file__).resolve().parents[2]


def plan(site: Site, folder: Path, **changed: object) -> Installation:
    fixed = {
        "bundle": str(site.bundle),
        "prefix": str(folder / "prefix"),
        "runtime": "/usr/sbin/runc",
        "python": "/usr/bin/python3",
        "log": str(folder / "log"),
    }
    return Installation(**{**fixed, **changed})  # type: ignore[arg-type]


def test_a_host_without_selinux_starts_nothing(runc: Site, tmp_path: Path) -> None:
    if Path("/sys/fs/selinux/enforce").exists():
        pytest.fail("this machine has SELinux: the guest tests cover it", pytrace=False)
    install(plan(runc, tmp_path))
    site = Site(tmp_path, runc.bundle, "runc")
    assert site.call("run", "--bundle", str(site.oci()), identity()).returncode == 1
    assert "this host has no SELinux" in site.reasons()


def test_a_dry_run_changes_nothing_and_says_what_it_would(place: Path, bundle: Path, tmp_path: Path) -> None:
    site = installed(tmp_path, bundle, "runc", dry_run=True)
    spec = runnable()
    del spec["process"]["selinuxLabel"], spec["linux"]["mountLabel"]  # which runc itself refuses here
    folder = site.oci(spec)
    before = (folder / "config.json").read_bytes()
    done = site.call("run", "--bundle", str(folder), identity())
    assert done.returncode == 0 and int(seen(done.stdout)["CapBnd"], 16) & 1 << 21  # SYS_ADMIN, as the pod asked
    assert (folder / "config.json").read_bytes() == before
    spec["linux"]["namespaces"] = spec["linux"]["namespaces"][:4]
    assert site.call("run", "--bundle", str(site.oci(spec)), identity()).returncode == 0
    decisions = [json.loads(line) for line in (site.log / "decisions.jsonl").read_text().splitlines()]
    assert [entry["decision"] for entry in decisions] == ["would-confine", "would-refuse"]
    assert decisions[1]["reasons"][0]["promise"] == "no-host-namespaces"


def test_decisions_are_recorded_and_counted(place: Path, bundle: Path, tmp_path: Path) -> None:
    site = installed(tmp_path, bundle, "runc")
    name = identity()
    assert site.call("run", "--bundle", str(site.oci()), name).returncode == 0
    for _ in range(2):
        assert site.call("restore", "--bundle", str(site.oci()), name).returncode == 1
    decisions = [json.loads(line) for line in (site.log / "decisions.jsonl").read_text().splitlines()]
    assert [entry["decision"] for entry in decisions] == ["confined", "refused", "refused"]
    assert decisions[0]["container"] == name and decisions[0]["without"] == ["selinux"]
    counters = (site.log / "stockade.prom").read_text()
    assert 'stockade_decisions_total{type="web",verb="run",decision="confined"} 1\n' in counters
    assert 'stockade_decisions_total{type="web",verb="other",decision="refused"} 2\n' in counters
    assert counters.startswith("# HELP stockade_decisions_total ")


def test_a_record_that_cannot_be_written_stops_nothing(place: Path, bundle: Path, tmp_path: Path) -> None:
    site = installed(tmp_path, bundle, "runc")
    site.log.write_text("a file in the place of the folder")
    done = site.call("run", "--bundle", str(site.oci()), identity())
    assert done.returncode == 0 and "the decision is not recorded" in done.stderr


def test_decisions_are_in_the_journal_where_that_is_asked_for(place: Path, bundle: Path, tmp_path: Path) -> None:
    """By the journal's own protocol, with the length of each value before it: no name of a container is a field."""
    (tmp_path / "j").mkdir()
    path = f"{tmp_path}/j/s"
    site = installed(tmp_path, bundle, "runc", journal=path)
    name = "x\nMESSAGE=nothing"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        server.settimeout(10)
        assert site.call("run", "--bundle", str(site.oci()), "plain").returncode == 0
        assert site.call("restore", "--bundle", "/x", name).returncode == 1
        assert site.call("exec", "--cap", "CAP_SYS_ADMIN", "--apparmor", "x", name, "true").returncode == 1
        confined, restored, added = (_fields(server.recv(1 << 20)) for _ in range(3))
    assert confined["PRIORITY"] == ["6"] and confined["MESSAGE"] == ["confined: type web: run plain"]
    assert restored["MESSAGE"][0].startswith("refused: type web: other : a restored process has")
    assert added["MESSAGE"][0].startswith(f"refused: type web: exec {name}: ")
    assert added["SYSLOG_IDENTIFIER"] == ["stockade"] and added["PRIORITY"] == ["4"]
    assert added["STOCKADE_CONTAINER"] == [name] and added["STOCKADE_WITHOUT"] == ["selinux"]
    assert added["STOCKADE_PROMISE"] == ["no-privileged-containers", "no-foreign-labels"]
    # Nobody there: said, and no reason not to start.
    done = site.call("run", "--bundle", str(site.oci()), identity())
    assert done.returncode == 0 and f"the decision is not in the journal: {path}: Connection refused" in done.stderr


def _fields(message: bytes) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    while message:
        name, _, rest = message.partition(b"\n")
        end = 8 + int.from_bytes(rest[:8], "little")
        assert rest[end : end + 1] == b"\n"
        found.setdefault(name.decode(), []).append(rest[8:end].decode())
        message = rest[end + 1 :]
    return found


def test_the_start_of_a_container_imports_almost_nothing(runc: Site) -> None:
    """No third-party module, and of the standard library only what is listed here."""
    (modules,) = (runc.folder / "prefix/lib/stockade").iterdir()
    program = (
        f"import sys; sys.path.insert(0, {str(modules)!r}); before = set(sys.modules); import stockade.enforce.wrapper;"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(["/usr/bin/python3", "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    ours = {name for name in loaded if name.split(".")[0] == "stockade"}
    assert loaded - ours <= {
        *("__future__", "_json", "_sha256", "os", "os.path", "posixpath", "genericpath", "stat", "_stat"),
        "_collections_abc",
    }
    assert "stockade.enforce.core" in ours


def test_the_modules_that_start_a_container_are_all_there_are(runc: Site) -> None:
    """Each is compiled, so that none is compiled when a container starts, and found where it was put."""
    (modules,) = (runc.folder / "prefix/lib/stockade").iterdir()
    sources = {path.relative_to(modules) for path in modules.rglob("*.py") if path.parent != modules}
    compiled = {
        path.parent.parent.relative_to(modules) / f"{path.name.split('.')[0]}.py" for path in modules.rglob("*.pyc")
    }
    assert sources == compiled


@pytest.mark.parametrize("version", [2, 3])
def test_containerd_s_configuration_names_launchers_that_are_there(version: int, runc: Site) -> None:
    share = runc.folder / "prefix/share/stockade"
    found = tomllib.loads((share / f"containerd-{version}.toml").read_text())
    assert found["version"] == version
    (plugin,) = found["plugins"].values()
    runtimes = plugin["containerd"]["runtimes"]
    assert sorted(runtimes) == [f"stockade-{name}" for name in TYPES]
    assert {runtime["options"].get("SystemdCgroup") for runtime in runtimes.values()} == {None}
    text = containerd(runtimes, "/opt", version, systemd_cgroup=True)
    ((_, told),) = tomllib.loads(text)["plugins"].items()
    assert {one["options"]["SystemdCgroup"] for one in told["containerd"]["runtimes"].values()} == {True}
    for runtime in runtimes.values():
        assert os.access(runtime["options"]["BinaryName"], os.X_OK) and Path(runtime["base_runtime_spec"]).is_file()


def test_each_type_has_a_runtime_class(runc: Site) -> None:
    text = (runc.folder / "prefix/share/stockade/runtimeclasses.yaml").read_text()
    classes = list(yaml.safe_load_all(text))
    assert [entry["handler"] for entry in classes] == [f"stockade-{name}" for name in TYPES]
    assert {entry["kind"] for entry in classes} == {"RuntimeClass"}


@pytest.mark.parametrize("name", TYPES)
def test_a_base_specification_is_within_its_type_and_complete(name: str, runc: Site) -> None:
    spec = json.loads((runc.folder / f"prefix/share/stockade/cri-base-{name}.json").read_text())
    profile = profile_of(name)
    level = LEVEL if profile.level == "pair" else profile.own_range
    spec["process"]["selinuxLabel"] = f"system_u:system_r:container_t:{level}"
    spec["linux"]["mountLabel"] = f"system_u:object_r:data_t:{level}"
    confined = apply(spec, profile, Host())
    for key in ("capabilities", "rlimits", "noNewPrivileges"):
        assert confined["process"].get(key) == spec["process"].get(key), key
    assert confined["linux"]["seccomp"] == spec["linux"]["seccomp"]
    assert confined["linux"]["resources"] == spec["linux"]["resources"]
    assert {"/proc", "/dev", "/dev/pts", "/sys"} <= {mount["destination"] for mount in spec["mounts"]}


def test_verify_refuses_what_was_widened_after_the_launcher(runc: Site, web: Profile) -> None:
    folder = runc.oci()
    name = identity()
    runc.call("create", "--bundle", str(folder), "--console-socket", "/nonexistent", name)
    hook = json.loads((runc.folder / "prefix/share/stockade/verify-hook.json").read_text())["createRuntime"][0]

    def verdict() -> subprocess.CompletedProcess[str]:
        state = json.dumps({"ociVersion": "1.0.2", "id": name, "status": "creating", "pid": 1, "bundle": str(folder)})
        command = [hook["path"], *hook["args"][1:]]
        return subprocess.run(command, input=state, capture_output=True, text=True, timeout=30)

    config = folder / "config.json"
    confined = json.loads(config.read_text())
    assert check(confined, web, Host(selinux=False, without=["selinux"], cgroup2=False)) == []
    assert verdict().returncode == 0, verdict().stderr
    confined["process"]["capabilities"]["effective"].append("CAP_SYS_ADMIN")
    config.write_text(json.dumps(confined))
    assert verdict().returncode == 1 and "process.capabilities.effective" in verdict().stderr
    confined["annotations"]["io.stockade.type"] = "nothing"
    config.write_text(json.dumps(confined))
    assert "says nothing, and the launcher decided web" in verdict().stderr
    config.write_text("{")
    assert verdict().returncode == 1


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"compiler": "/nonexistent/cc"}, "C compiler"),
        ({"compiler": "false"}, "refuses the launcher"),
        ({"prefix": "relative"}, "no absolute path"),
        ({"prefix": '/tmp/"quoted'}, "no absolute path"),
        ({"runtime": "/usr/../runc"}, "no absolute path"),
        ({"python": "/usr/bin/py thon"}, "no absolute path"),
        ({"prefix": "/proc/1/x"}, "/proc/1"),
    ],
)
def test_an_installation_that_cannot_be_is_refused_with_a_reason(
    changed: dict[str, str], why: str, runc: Site, tmp_path: Path
) -> None:
    with pytest.raises(InstallError, match=re.escape(why)):
        install(plan(runc, tmp_path, **changed))
    assert not (tmp_path / "prefix/bin").exists()


def test_a_changed_bundle_is_not_installed(runc: Site, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    import shutil

    shutil.copytree(runc.bundle, copy)
    (copy / "containers/web/oci.json").write_text("{}")
    with pytest.raises(InstallError, match=r"containers/web/oci\.json"):
        install(plan(runc, tmp_path, bundle=str(copy)))


def test_an_installation_for_another_host_is_found_there(runc: Site, tmp_path: Path) -> None:
    import shutil

    (tmp_path / "etc/stockade").mkdir(parents=True)
    shutil.copytree(runc.bundle, tmp_path / "etc/stockade/bundle")
    install(plan(runc, tmp_path, root=str(tmp_path), bundle="/etc/stockade/bundle", prefix="/opt/stockade"))
    launcher = (tmp_path / "opt/stockade/bin/stockade-web").read_bytes()
    assert b"bundle=/etc/stockade/bundle" in launcher and str(tmp_path).encode() not in launcher.replace(
        str(tmp_path / "log").encode(), b""
    )


def test_the_manual_lists_every_promise_with_what_it_says() -> None:
    text = (ROOT / "docs/enforcing.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", text, re.MULTILINE))
    assert {name: rows.get(name) for name in PROMISES} == PROMISES
