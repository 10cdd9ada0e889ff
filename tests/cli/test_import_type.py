"""`stockade import inspect|oci`: what runs today as a type that loads, is no wider than it was, and comes back."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stockade.cli.main import main
from stockade.importing import held
from stockade.importing.draft import ImportFault
from stockade.importing.inspected import draft_of_inspect
from stockade.importing.specification import draft_of_spec
from stockade.model.container import Quota, Rlimit
from stockade.model.grants import grants
from stockade.model.policy import Policy
from stockade.model.syscalls import NATIVE
from stockade.oci.build import to_runtime_spec
from stockade.oci.narrow import narrower
from stockade.prove.policy import source_findings
from stockade.prove.policy_sources import diff_sources
from stockade.source.files import SourceFile
from stockade.source.load import load

from tests.cli.test_import import assert_equal

ROOT = Path(__file__).resolve().parents[2]
TYPES = sorted(path.name for path in (ROOT / "profiles/containers").iterdir())
INSPECTED = Path(__file__).parent / "inspected"


@pytest.fixture(scope="module")
def shipped() -> Policy:
    return load(ROOT / "policy")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "policy", tmp_path / "policy")
    return tmp_path / "policy"


def imported(folder: Path, *words: str) -> tuple[Policy, str]:
    """The policy with what these words import, and the text of it."""
    path = folder / "containers/imported.yaml"
    assert main(["import", *words, "--policy", str(folder), "-o", str(path)]) == 0
    return load(folder), path.read_text()


def inspected(name: str) -> Any:
    return json.loads((INSPECTED / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def returned(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """The shipped policy with every type a second time, imported from what the first compiles to."""
    folder = tmp_path_factory.mktemp("returned") / "policy"
    shutil.copytree(ROOT / "policy", folder)
    for name in TYPES:
        built, path = ROOT / "profiles/containers" / name, folder / f"containers/imported-{name}.yaml"
        words = [str(built / "oci.json"), "--seccomp", str(built / "seccomp.json"), "--name", f"imported-{name}"]
        assert main(["import", "oci", *words, "--policy", str(ROOT / "policy"), "-o", str(path)]) == 0
        assert len(path.read_text().splitlines()) < 75, "said as a person would"
    return load(folder)


@pytest.mark.parametrize("name", TYPES)
def test_our_own_artefacts_come_back(name: str, returned: Policy, shipped: Policy) -> None:
    ours, theirs = returned.containers[f"imported-{name}"], shipped.containers[name]
    assert ours.extends is None
    assert assert_equal(ours.syscalls, theirs.syscalls, NATIVE) > 600
    said, meant = to_runtime_spec(ours), to_runtime_spec(theirs)
    assert said.pop("annotations") | {"io.stockade.type": name} == meant.pop("annotations")  # type: ignore[operator]
    assert said == meant


def test_with_what_came_back_the_policy_decides_the_same_and_holds(returned: Policy, shipped: Policy) -> None:
    assert diff_sources(shipped, returned).same, "no label has more access, nor less"
    assert source_findings(returned, grants(returned.host)) == []


def test_of_our_own_artefacts_nothing_is_lost(capfd: pytest.CaptureFixture[str]) -> None:
    built = ROOT / "profiles/containers/admin"
    words = [str(built / "oci.json"), "--seccomp", str(built / "seccomp.json"), "--name", "imported"]
    assert main(["import", "oci", *words]) == 0
    err = capfd.readouterr().err
    assert "narrowed" not in err and "not expressed" not in err


@pytest.mark.parametrize(
    ("file", "name", "widens", "notes"),
    [
        ("docker-nginx", "shop", {"mounts"}, ["root: read-only; where", "capabilities: AUDIT_WRITE"]),
        ("docker-postgres", "ledger-db", {"mounts", "tmpfs"}, ["NET_BIND_SERVICE: no port below", "mode=3777"]),
        ("docker-batch", "nightly", {"mounts"}, []),
        ("podman-api", "api", set(), ["it runs as app, who holds none"]),
        ("crictl-server", "server", set(), ["without a filter", "/sys/devices/virtual", "/cache from"]),
        ("nerdctl-server", "edge", set(), ["left to the policy: system calls"]),
    ],
)  # fmt: skip
def test_each_engine(
    file: str, name: str, widens: set[str], notes: list[str], folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    policy, text = imported(folder, "inspect", str(INSPECTED / f"{file}.json"))
    found, parent = policy.containers[name], policy.containers["ordinary"]
    assert found.extends == "ordinary" and set(found.widens) == widens
    assert {key for key, _ in narrower(found, parent)} == widens
    assert source_findings(policy, grants(policy.host)) == []
    assert "# choose: why" in text and "syscalls" not in text and "no-new-privileges" not in text
    err = capfd.readouterr().err
    for note in notes:
        assert note in err


def test_what_somebody_asked_for_stays(folder: Path) -> None:
    policy, _ = imported(folder, "inspect", str(INSPECTED / "docker-postgres.json"))
    found = policy.containers["ledger-db"]
    assert found.cgroup["memory.max"] == 1 << 30 and found.cgroup["cpu.max"] == Quota(150_000, 100_000)
    assert found.cgroup["memory.swap.max"] == 0, "twice the memory is what the engine gives unasked"
    assert found.rlimits["nofile"] == Rlimit(4096, 8192)
    assert ("/run", None) in {(t.path, t.size) for t in found.tmpfs} and found.tmpfs[-1].size == 16 << 20
    (mount,) = found.mounts
    assert mount.options == ("rbind", "rw") and mount.source.endswith("/ledger/_data")


def test_a_container_without_a_network_has_no_internet_sockets(folder: Path) -> None:
    policy, _ = imported(folder, "inspect", str(INSPECTED / "docker-batch.json"))
    found = policy.containers["nightly"]
    assert found.sockets.families == {"unix"}
    assert not any(found.capabilities.values())
    assert found.cgroup["memory.swap.max"] == 0


def test_a_privileged_container_gets_a_list(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    policy, text = imported(folder, "inspect", str(INSPECTED / "docker-privileged.json"))
    found = policy.containers["node-agent"]
    seen = [line for line in text.splitlines() if line.startswith("# seen in use: ")]
    assert len(seen) == 5
    assert any("SYS_MODULE" in line for line in seen) and any("root on the host" in line for line in seen)
    assert found.capabilities["bounding"] <= policy.containers["ordinary"].capabilities["bounding"] | {"NET_ADMIN"}
    assert not found.all_devices and found.masked and found.read_only
    assert found.domain == "node_agent_t", "what it has more of, no other type gets with it"
    assert "# choose: devices: write /dev/net/tun (rwm)" in text
    assert "narrowed: privileged" in capfd.readouterr().err


def test_added_capabilities_do_not_reach_the_types_beside_it(folder: Path, shipped: Policy, tmp_path: Path) -> None:
    said = inspected("docker-nginx")
    said[0]["HostConfig"]["CapAdd"] = ["SYS_NICE"]
    path = tmp_path / "nice.json"
    path.write_text(json.dumps(said))
    policy, _ = imported(folder, "inspect", str(path))
    found = policy.containers["shop"]
    assert "SYS_NICE" in found.capabilities["bounding"] and "capabilities" in found.widens
    gained = {(change.source, change.target) for change in diff_sources(shipped, policy).widened}
    assert not any(source == "container_t" for source, target in gained if target == "container_t")


def test_a_filter_of_its_own_is_kept(folder: Path, tmp_path: Path) -> None:
    said = inspected("docker-nginx")
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"}],
    }
    profile["architectures"] = ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"]
    said[0]["HostConfig"]["SecurityOpt"] = [f"seccomp={json.dumps(profile)}"]
    path = tmp_path / "own.json"
    path.write_text(json.dumps(said))
    policy, _ = imported(folder, "inspect", str(path), "--extends", "ordinary")
    found = policy.containers["shop"]
    assert {rule.call for rule in found.syscalls.rules if str(rule.verdict.action) == "allow"} == {"read", "write"}
    assert found.extends == "ordinary"


Change = Callable[[Any], object]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d.append(d[0]), "expected one container, got 2"),
        (lambda d: d.clear(), "expected one container, got 0"),
        (lambda d: d[0].pop("HostConfig"), "no container"),
        (lambda d: d.__setitem__(0, "nginx"), "expected a container, got 'nginx'"),
        (lambda d: d.__setitem__(0, {"RootFS": {"Type": "layers"}, "Config": {}}), "this is an image"),
        (lambda d: d[0]["HostConfig"].update(CapAdd=["SYS_MAGIC"]), "CapAdd: unknown capability 'SYS_MAGIC'"),
        (lambda d: d[0]["HostConfig"].update(CapDrop="ALL"), "CapDrop: expected list, got 'ALL'"),
        (lambda d: d[0]["HostConfig"].update(Privileged="yes"), "Privileged: expected bool"),
        (lambda d: d[0]["HostConfig"].update(Memory=True), "Memory: expected int"),
        (lambda d: d[0]["HostConfig"].update(DeviceCgroupRules=["x 1:2 r"]), "is no device rule"),
        (lambda d: d[0]["HostConfig"].update(Tmpfs={"/x": "size=many"}), "'many' is no size"),
        (lambda d: d[0]["HostConfig"].update(SecurityOpt=["seccomp={"]), "seccomp: not JSON"),
    ],
)  # fmt: skip
def test_what_is_no_inspection(change: Change, reason: str) -> None:
    said = inspected("docker-nginx")
    change(said)
    with pytest.raises(ImportFault, match=reason.replace("[", r"\[").replace("{", r"\{")):
        draft_of_inspect(said)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["inspect", "none.json"], 3, "No such file"),
        (["inspect", "bad.json"], 3, "not JSON"),
        (["oci", "twice.json"], 3, "the key 'a' stands twice"),
        (["oci", "odd.json"], 3, "linux"),
        (["oci", "web.json", "--name", "web"], 3, "has a container type `web` already"),
        (["oci", "web.json", "--name", "No"], 2, "is no name"),
        (["oci", "web.json", "--extends", "none", "--name", "x"], 3, "unknown container type `none`"),
    ],
)  # fmt: skip
def test_what_goes_wrong(
    words: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = json.loads((ROOT / "profiles/containers/web/oci.json").read_text())
    Path("web.json").write_text(json.dumps(spec))
    odd = copy.deepcopy(spec)
    odd["linux"]["maskedPath"] = []
    Path("odd.json").write_text(json.dumps(odd))
    Path("bad.json").write_text("{")
    Path("twice.json").write_text('{"a": 1, "a": 2}')
    assert main(["import", *words, "-o", "out.yaml"]) == code
    out, err = capfd.readouterr()
    assert out == "" and message in err and "Traceback" not in err
    assert not Path("out.yaml").exists()


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda s: s["process"].update(apparmorProfile="docker-default"), "not expressed: process.apparmorProfile"),
        (lambda s: s["linux"]["resources"].update(rdma={"mlx": {"hcaHandles": 1}}), "linux.resources.rdma"),
        (lambda s: s["linux"]["maskedPaths"].remove("/proc/kcore"), "narrowed: mask: /proc/kcore too"),
        (lambda s: s["mounts"].append({"destination": "/x", "type": "nfs", "source": "s:/x"}), "a nfs at /x"),
        (
            lambda s: s["mounts"].append({"destination": "/x", "type": "tmpfs", "source": "t", "options": ["exec"]}),
            "narrowed: the tmpfs at /x is noexec",
        ),
        (lambda s: s["linux"]["resources"].pop("devices"), "narrowed: devices: the standard ones"),
    ],
)  # fmt: skip
def test_what_a_specification_loses_is_told(change: Change, note: str) -> None:
    spec = json.loads((ROOT / "profiles/containers/web/oci.json").read_text())
    change(spec)
    assert any(note in line for line in draft_of_spec(spec).notes)


def test_a_mount_that_says_neither_is_writable() -> None:
    spec = json.loads((ROOT / "profiles/containers/web/oci.json").read_text())
    spec["mounts"].append({"destination": "/x", "type": "bind", "source": "/srv/x", "options": ["bind"]})
    assert draft_of_spec(spec).body["mounts"][0]["options"] == ["rw"]


def test_devices_come_back_by_number() -> None:
    spec = json.loads((ROOT / "profiles/containers/web/oci.json").read_text())
    spec["linux"]["resources"]["devices"] += [
        {"allow": True, "type": "c", "major": 10, "minor": 200, "access": "rw"},
        {"allow": True, "type": "b", "major": 8, "access": "r"},
        {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"},
        {"allow": False, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
        {"allow": True, "type": "b", "access": "m"},
    ]
    spec["linux"]["devices"] = [{"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200}]
    draft = draft_of_spec(spec)
    why = "as in the imported container"
    assert draft.body["devices"] == [
        "@standard",
        {"path": "/dev/b-8-any", "type": "b", "major": 8, "access": "r", "why": why},
        {"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200, "access": "rw", "why": why},
    ]
    assert "narrowed: devices: nodes of any block device are not made" in draft.notes


@pytest.mark.parametrize(("name", "builds"), [("bare", 2), ("docker-batch", 3)])
def test_no_policy_is_built_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, builds: int) -> None:
    """The policy by itself, with the type as first written, and once more where `widens` had to be added."""
    built: list[tuple[bytes, ...]] = []
    real = held.build

    def build(files: list[SourceFile]) -> Policy:
        built.append(tuple(file.data for file in files))
        return real(files)

    monkeypatch.setattr(held, "build", build)
    source = INSPECTED / f"{name}.json" if name != "bare" else tmp_path / "config.json"
    if name == "bare":
        source.write_text((ROOT / "profiles/containers/ordinary/oci.json").read_text())
    words = ["inspect" if name != "bare" else "oci", str(source), "--policy", str(ROOT / "policy"), "--name", "again"]
    assert main(["import", *words, "-o", str(tmp_path / "type.yaml")]) == 0
    assert ("\nwidens:" in (tmp_path / "type.yaml").read_text()) == (builds == 3)
    assert len(built) == len(set(built)) == builds
