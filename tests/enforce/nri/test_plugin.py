"""The whole plugin with the shipped bundle, against runtimes of every version: what they make of a container."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from stockade.enforce.nri import messages, view
from stockade.enforce.nri.judge import BundleJudge, LoadError, load
from stockade.enforce.nri.plugin import TYPE, Options, StockadePlugin
from stockade.enforce.nri.session import StartRefused
from stockade.enforce.nri.wire import Fields

from .fake import Failed
from .node import ACCEPT, Start
from .samples import container, mount, pod


def test_a_plain_container_gets_all_that_nri_can_give(node: Start, judge: BundleJudge) -> None:
    given = node(required=("stockade",))
    made, adjustments = given.runtime.create(pod(), container())
    assert [limit for limit in made["rlimits"] if limit["type"] == "RLIMIT_NOFILE"] == [
        {"type": "RLIMIT_NOFILE", "hard": 65536, "soft": 65536}
    ]
    assert {"type": "RLIMIT_CORE"} in made["rlimits"]
    resources = made["linux"]["resources"]
    assert resources["pids"] == {"limit": 2048}
    assert resources["memory"] == {"limit": 1 << 27, "swap": 1 << 27}
    assert resources["unified"] == {"cpu.weight": "100"}
    own = view.seccomp_message(judge.seccomp("ordinary"))
    assert (
        made["linux"]["seccomp_policy"]["syscalls"] == messages.SECCOMP.decode(messages.SECCOMP.encode(own))["syscalls"]
    )
    assert made["annotations"][TYPE] == "ordinary"
    places = {entry["destination"]: entry["options"] for entry in made["mounts"]}
    assert {"nosuid", "nodev", "noexec"} <= set(places["/tmp"]) and "/run" in places
    assert {"nosuid", "nodev"} <= set(places["/etc/hostname"])
    assert "hooks" not in adjustments[0]
    both = messages.CREATE_CONTAINER | messages.VALIDATE_CONTAINER_ADJUSTMENT
    assert given.runtime.live()[0].events == both | messages.UPDATE_CONTAINER
    (created,) = given.events("created")
    assert created["type"] == "ordinary" and created["pod"] == "web-0"
    assert set(created["adjusted"]) >= {"rlimits", "pids", "seccomp_policy", "unified", "mounts"}
    # The outcome is within the type, and asking again would change nothing more.
    assert judge.check(view.spec(made), "ordinary", pod()) == []


HOST_NETWORK = pod(linux={"namespaces": [{"type": kind} for kind in ("ipc", "mount", "pid", "uts")]})
REFUSED: dict[str, tuple[Fields, Fields, str]] = {
    "host network": (HOST_NETWORK, container(), "no-host-namespaces"),
    "no network namespace at all": (
        pod(),
        container(namespaces=[{"type": "mount"}, {"type": "pid"}]),
        "no-host-namespaces",
    ),
    "all devices": (
        pod(),
        container(resources={"devices": [{"access": "rwm"}, {"allow": True, "access": "rwm"}]}),
        "no-privileged-containers",
    ),
    "a device": (
        pod(),
        container(devices=[{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]),
        "no-foreign-devices",
    ),
    "a rule for a device": (
        pod(),
        container(
            resources={
                "devices": [
                    {"access": "rwm"},
                    {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"},
                ]
            }
        ),
        "NRI cannot take that back",
    ),
    "no rules for devices": (pod(), container(resources={}), "do not begin by taking all devices away"),
    "the runtime's socket": (
        pod(),
        {**container(), "mounts": [mount("/c", "bind", "rbind rw", "/run/containerd/containerd.sock")]},
        "no-runtime-sockets",
    ),
    "the host's root": (pod(), {**container(), "mounts": [mount("/h", "bind", "rbind ro", "/")]}, "no-"),
    "a shared mount": (
        pod(),
        {**container(), "mounts": [mount("/h", "bind", "rbind rshared", "/var/lib/kubelet/pods/x/v")]},
        "no-shared-mounts",
    ),
    "a setting of the host": (pod(), container(sysctl={"kernel.core_pattern": "|/bin/x"}), "no-host-settings"),
    "a type by annotation": (
        pod(annotations={TYPE: "admin"}),
        container(),
        "the annotation io.stockade.type asks for 'admin'",
    ),
    "a handler of no type": (pod(runtime_handler="stockade-none"), container(), "names no container type"),
    "an annotation for the runtime": (
        pod(),
        {**container(), "annotations": {"run.oci.seccomp_bpf_data": "AAAA"}},
        "no-runtime-annotations",
    ),
    "real time": (pod(), container(scheduler={"policy": 2}), "no-real-time"),
    "input and output first": (pod(), container(io_priority={"class": 1}), "no-real-time"),
    "a filter of its own": (
        pod(),
        container(seccomp_profile={"profile_type": 2, "localhost_ref": "/x.json"}),
        "seccomp",
    ),
    "the runtime's filter": (pod(), container(seccomp_profile={}), "must not replace"),
    "a profile of a kind to come": (pod(), container(seccomp_profile={"profile_type": 7}), "what is unknown"),
    "a limit that NRI cannot lower": (
        pod(),
        container(
            resources={"devices": [{"access": "rwm"}], "cpu": {"realtime_runtime": 5}, "unified": {"cgroup.kill": "1"}}
        ),
        "cgroup.kill",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wider_and_cannot_be_narrowed_is_not_created(node: Start, name: str) -> None:
    sandbox, asked, reason = REFUSED[name]
    given = node(required=("stockade",))
    with pytest.raises(Failed, match=reason):
        given.runtime.create(sandbox, asked)
    (refused,) = given.events("refused")
    assert reason in refused["reason"] and not refused["dry_run"]
    assert given.runtime.containers == [] and len(given.runtime.live()) == 1
    # In a dry run the same is reported, and happens.
    dry = node(Options(dry_run=True))
    made, _ = dry.runtime.create(sandbox, asked)
    assert made["id"] == asked["id"] and TYPE not in made["annotations"]
    assert reason in dry.events("refused")[0]["reason"] and dry.events("refused")[0]["dry_run"]


def test_a_link_does_not_hide_what_is_mounted(node: Start, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/usr")
    asked = {**container(), "mounts": [mount("/h", "bind", "rbind ro", str(tmp_path / "link"))]}
    with pytest.raises(Failed, match=r"no-host-paths: .*/link, which is /usr, is mounted at /h"):
        node().runtime.create(pod(), asked)


def test_a_dry_run_changes_nothing(node: Start) -> None:
    given = node(Options(dry_run=True))
    asked = container()
    made, adjustments = given.runtime.create(pod(), asked)
    assert adjustments == [{}] and made["mounts"] == asked["mounts"]
    assert "pids" in given.events("created")[0]["adjusted"]
    wide = {"memory": {"limit": 1 << 40}}
    assert given.runtime.update(pod(), asked, wide) == wide
    assert given.events("updated")[0]["clamped"] == ["memory"]


def test_the_runtime_default_filter_is_replaced_where_the_operator_says_so(node: Start) -> None:
    given = node(Options(replace_runtime_default=True))
    assert "seccomp_policy" in given.runtime.create(pod(), container(seccomp_profile={}))[0]["linux"]
    with pytest.raises(Failed, match="a filter of its own"):
        given.runtime.create(pod(), container(seccomp_profile={"profile_type": 2}))


def test_the_type_s_own_file_is_no_filter_of_another(node: Start, bundle: Path, tmp_path: Path) -> None:
    given = node()
    own = bundle / "containers/ordinary/seccomp.json"
    for place in (str(own), f"localhost/{own}"):
        asked = container(seccomp_profile={"profile_type": 2, "localhost_ref": place})
        assert "seccomp_policy" in given.runtime.create(pod(), asked)[0]["linux"]
    changed = tmp_path / "seccomp.json"
    changed.write_bytes(own.read_bytes() + b" ")
    for other in (changed, bundle / "containers/web/seccomp.json", tmp_path / "absent", tmp_path):
        asked = container(seccomp_profile={"profile_type": 2, "localhost_ref": str(other)})
        with pytest.raises(Failed, match="a filter of its own"):
            given.runtime.create(pod(), asked)


def test_a_filter_that_is_shown_is_joined(node: Start, judge: BundleJudge) -> None:
    given = node()
    theirs = {
        "default_action": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": ["read", "mount"], "action": "SCMP_ACT_ALLOW"}],
    }
    made, _ = given.runtime.create(pod(), container(seccomp_policy=theirs))
    allowed = {
        name
        for rule in made["linux"]["seccomp_policy"]["syscalls"]
        for name in rule["names"]
        if rule["action"] == "SCMP_ACT_ALLOW"
    }
    assert allowed == {"read"}


VERSIONS = {
    "1.7.0": (["rlimits", "pids", "oom_score_adj", "seccomp_policy", "namespaces"], False),
    "1.7.24~ds1": (["pids", "seccomp_policy", "validation"], False),
    "2.0.1": (["seccomp_policy", "namespaces", "validation"], False),
    "2.2.0": (["sysctl", "seccomp_profile"], True),
    "2.2.1": ([], True),
}


@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_version_lacks_is_declared_and_where_it_fails_open_it_is_not_served(node: Start, version: str) -> None:
    lacks, closed = VERSIONS[version]
    given = node(version=version)
    said = given.events("configured")[0]
    assert said["partial"] is True and said["runtime"] == f"containerd {version}"
    assert set(lacks) <= set(said["not_in_this_version"])
    assert "capabilities" in said["not_in_any_version"] and "SELinux label" in said["not_in_any_version"]
    if closed:
        assert said["fails_open"] == [] and given.thread.is_alive()
        return
    given.thread.join(5)
    assert isinstance(given.ended, StartRefused) and "containerd 2.2.0 can" in str(given.ended)
    assert given.runtime.plugins == []
    accepted = node(ACCEPT, version=version)
    assert len(accepted.runtime.live()) == 1
    assert len(accepted.events("configured")[0]["fails_open"]) == 1


def test_an_open_configuration_is_not_served_unless_accepted(node: Start) -> None:
    given = node(Options(open=("required_plugins does not name this plugin",)))
    given.thread.join(5)
    assert isinstance(given.ended, StartRefused) and "required_plugins" in str(given.ended)
    assert len(node(Options(open=("x",), accept_open=True)).runtime.live()) == 1


def test_an_older_runtime_is_given_what_it_can_take_or_nothing_at_all(node: Start, judge: BundleJudge) -> None:
    given = node(ACCEPT, version="1.7.24~ds1")
    made, _ = given.runtime.create(pod(), container())
    # It has no word for pids, but knows the name of the control group's file.
    assert made["linux"]["resources"]["unified"] == {"cpu.weight": "100", "pids.max": "2048"}
    assert "seccomp_policy" not in made["linux"] and "rlimits" in made
    spaces = [item for item in container()["linux"]["namespaces"] if item["type"] != "cgroup"]
    with pytest.raises(Failed, match=r"own namespaces: cgroup \(not with NRI in containerd 1.7.24~ds1\)"):
        given.runtime.create(pod(), container(namespaces=spaces))
    newer = node(version="2.2.1")
    assert {"type": "cgroup"} in newer.runtime.create(pod(), container(namespaces=spaces))[0]["linux"]["namespaces"]
    with pytest.raises(Failed, match="rlimits"):
        node(ACCEPT, version="1.7.6").runtime.create(pod(), container())
    first = BundleJudge(judge._profiles, judge._selection, judge.digest, cgroup2=False, filters={})
    with pytest.raises(Failed, match=r"pids.limit 2048 \(not with NRI"):
        node(ACCEPT, first, version="1.7.24").runtime.create(pod(), container())


def test_a_hook_that_reads_the_whole_specification_is_given_to_each(node: Start) -> None:
    options = Options(verify_hook=("/usr/bin/stockade", "hook", "verify"))
    given = node(options)
    made, _ = given.runtime.create(pod(), container())
    hook = {"path": "/usr/bin/stockade", "args": ["/usr/bin/stockade", "hook", "verify"]}
    assert made["hooks"] == {"create_runtime": [hook]}
    assert given.events("configured")[0]["not_in_any_version"] == []


def test_nothing_is_decided_before_it_is_known_who_asks(judge: BundleJudge) -> None:
    plugin = StockadePlugin(judge, Options(), lambda *_, **__: None)
    for method in ("Synchronize", "CreateContainer", "UpdateContainer", "ValidateContainerAdjustment"):
        with pytest.raises(Exception, match=f"{method} before Configure"):
            plugin.answer(method, {})


def test_the_type_follows_the_handler(node: Start, judge: BundleJudge) -> None:
    given = node()
    made, _ = given.runtime.create(pod(runtime_handler="stockade-batch"), container())
    assert made["annotations"][TYPE] == "batch"
    assert made["linux"]["resources"]["pids"] == {"limit": 256}


def test_a_bundle_that_was_changed_is_not_used(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    assert load(str(copy)).digest == load(str(bundle)).digest
    (copy / "containers/web/oci.json").write_text("{}")
    with pytest.raises(LoadError, match=r"containers/web/oci\.json: changed"):
        load(str(copy))
    shutil.copytree(bundle, copy, dirs_exist_ok=True)
    (copy / "manifest.json").chmod(0o666)
    with pytest.raises(LoadError, match="writable by others"):
        load(str(copy))
    with pytest.raises(LoadError, match="No such file"):
        load(str(tmp_path / "absent"))
