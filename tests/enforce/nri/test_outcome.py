"""What others make of a container after this plugin was asked, updates, and containers that were there before it."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from stockade.enforce.nri import messages
from stockade.enforce.nri.judge import BundleJudge
from stockade.enforce.nri.plugin import TYPE, Options
from stockade.enforce.nri.wire import UNKNOWN, Fields

from .fake import Failed
from .node import ACCEPT, CLOSED, Node, Start
from .samples import container, mount, pod

WIDENINGS: dict[str, tuple[Fields, str]] = {
    "more memory": ({"linux": {"resources": {"memory": {"limit": 1 << 40}}}}, "memory"),
    "more processes": ({"linux": {"resources": {"pids": {"limit": 1 << 20}}}}, "pids"),
    "a file of the control group": (
        {"linux": {"resources": {"unified": {"pids.max": "max", "cgroup.freeze": "1"}}}},
        "cgroup.freeze",
    ),
    "a device": (
        {"linux": {"devices": [{"path": "/dev/kvm", "type": "c", "major": 10, "minor": 232}]}},
        "no-foreign-devices",
    ),
    "devices by name": ({"CDI_devices": [{"name": "vendor.com/gpu=0"}]}, "vendor.com/gpu=0"),
    "a mount": ({"mounts": [mount("/c", "bind", "rbind", "/run/containerd")]}, "no-runtime-sockets"),
    "a limit": ({"rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1 << 30, "soft": 1 << 30}]}, "rlimits"),
    "the host's namespace": ({"linux": {"namespaces": [{"type": "-network"}]}}, "no-host-namespaces"),
    "a setting": ({"linux": {"sysctl": {"kernel.core_pattern": "|/x"}}}, "no-host-settings"),
    "another filter": (
        {"linux": {"seccomp_policy": {"default_action": "SCMP_ACT_ALLOW"}}},
        "replaced the type's seccomp filter",
    ),
    "another type": ({"annotations": {TYPE: "admin"}}, "is not the container's type"),
    "steering the runtime": ({"annotations": {"run.oci.seccomp_bpf_data": "AA"}}, "no-runtime-annotations"),
    "a scheduler": ({"linux": {"scheduler": {"policy": 2}}}, "no-real-time"),
    "something to come": ({"linux": {UNKNOWN: [99]}}, "adjust.linux: field 99"),
}


@pytest.mark.parametrize("name", WIDENINGS)
def test_what_another_plugin_widens_is_rejected(node: Start, name: str) -> None:
    """The runtime asks once more, when all plugins have had their say; this plugin was asked before the other one."""
    change, reason = WIDENINGS[name]
    given = node(required=("stockade",))
    remote = given.runtime.live()[0]
    asked = container()
    ours = remote.call("CreateContainer", {"pod": pod(), "container": asked}, 2)["adjust"]
    together = _overlaid(ours, change)
    request = {"pod": pod(), "container": asked, "adjust": together}
    payload = messages.METHODS["ValidateContainerAdjustment"][0].encode(_plain(request))
    if UNKNOWN in change.get("linux", {}):
        payload = _with_unknown(request)
    answer = given.plugin.answer(
        "ValidateContainerAdjustment", messages.METHODS["ValidateContainerAdjustment"][0].decode(payload)
    )
    assert answer.get("reject") is True and reason in answer["reason"]
    assert given.events("rejected")[0]["wider"]
    # Without the other plugin's part the same container is fine.
    assert remote.call("ValidateContainerAdjustment", {**request, "adjust": ours}, 2) == {}


def test_adjustments_that_are_not_ours_do_not_pass_for_ours(node: Start) -> None:
    """A plugin of this name that was not asked, or whose answer was lost: the container is not created."""
    given = node(Options(verify_hook=("/x",)))
    request = {"pod": pod(), "container": container(), "adjust": {"annotations": {TYPE: "ordinary"}}}
    answer = given.runtime.live()[0].call("ValidateContainerAdjustment", request, 2)
    assert answer["reject"] is True
    for missing in ("filter is not among", "verify hook is not among", "rlimits", "pids"):
        assert missing in answer["reason"]


def test_harmless_adjustments_of_others_pass(node: Start) -> None:
    def add(_: Fields) -> Fields:
        return {
            "env": [{"key": "TRACE", "value": "1"}],
            "annotations": {"vendor/note": "x"},
            "mounts": [mount("/data", "bind", "rbind ro nosuid nodev", "/var/lib/kubelet/pods/u/volumes/v")],
            "linux": {"resources": {"memory": {"limit": 1 << 25}}},
        }

    given = node(required=("stockade",), others=(add,))
    made, _ = given.runtime.create(pod(), container())
    assert made["linux"]["resources"]["memory"]["limit"] == 1 << 25
    assert given.events("rejected") == []


@pytest.mark.parametrize(
    ("asked", "given_"),
    [
        ({"memory": {"limit": 1 << 40}}, {"memory": {"limit": 2 << 30}}),
        ({"memory": {"limit": 1 << 20}}, {"memory": {"limit": 1 << 20}}),
        ({"memory": {"limit": 0}, "cpu": {"shares": 0, "quota": 0, "period": 0}}, "unchanged"),
        ({"memory": {"limit": -1}}, {"memory": {"limit": 2 << 30}}),
        ({"unified": {"cpu.weight": "9999"}}, {"unified": {"cpu.weight": "100"}}),
        ({"pids": {"limit": 1 << 20}}, {"pids": {"limit": 2048}}),
        ({"cpu": {"cpus": "0-1"}}, "unchanged"),
    ],
)
def test_an_update_cannot_go_beyond_the_type(node: Start, asked: Fields, given_: Any) -> None:
    started = node()
    made = started.runtime.update(pod(), container(), asked)
    assert made == (asked if given_ == "unchanged" else given_)
    assert len(started.events("updated")) == 1


def test_an_update_that_cannot_be_clamped_fails(node: Start) -> None:
    given = node()
    with pytest.raises(Failed, match=r"cgroup\.procs"):
        given.runtime.update(pod(), container(), {"unified": {"cgroup.procs": "1"}})
    old = node(ACCEPT, version="1.7.24")
    with pytest.raises(Failed, match=r"pids\.limit 2048"):
        old.runtime.update(pod(), container(), {"pids": {"limit": 1 << 20}})
    assert old.events("update-refused")


def test_containers_that_are_there_already_are_judged(tmp_path: Path, judge: BundleJudge) -> None:
    made = Node(tmp_path / "s", judge, CLOSED)
    privileged = {**container(resources={"devices": [{"allow": True, "access": "rwm"}]}), "id": "bad", "name": "bad"}
    orphan = {**container(), "id": "orphan", "pod_sandbox_id": "gone"}
    made.runtime.pods = [pod()]
    made.runtime.containers = [{**container(), "id": f"c{number}"} for number in range(4)] + [privileged, orphan]
    made.start()
    try:
        assert made.events("synchronized") == [{"containers": 6, "wider": 6}]
        named = {said["id"]: said for said in made.events("existing")}
        assert any("no-privileged-containers" in finding for finding in named["bad"]["wider"])
        # The others lack what the plugin would have given them.
        assert any(finding.startswith("pids") for finding in named["c0"]["wider"])
    finally:
        made.stop()


def _overlaid(one: Any, other: Any) -> Any:
    """Adjustments as the runtime joins them: what came later holds, entries of a list by their name."""
    if isinstance(one, dict) and isinstance(other, dict):
        made = dict(one)
        for key, value in other.items():
            made[key] = _overlaid(one[key], value) if key in one and key != "seccomp_policy" else value
        return made
    if isinstance(one, list) and isinstance(other, list):
        return [*one, *other]
    return deepcopy(other)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if key != UNKNOWN}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _with_unknown(request: Fields) -> bytes:
    """The request with a field in the adjustment of `linux` that nobody knows yet."""
    adjust = _plain(request["adjust"])
    linux = messages.LINUX_ADJUSTMENT.encode(adjust.pop("linux")) + b"\x98\x06\x01"
    ready = messages.ADJUSTMENT.encode({**adjust, "linux": linux})
    return messages.METHODS["ValidateContainerAdjustment"][0].encode({**_plain(request), "adjust": ready})
