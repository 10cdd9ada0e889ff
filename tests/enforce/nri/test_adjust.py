"""Adjustments: what is asked for is what the runtime makes of it, and what it cannot make is said, never left out."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stockade.enforce.nri import adjust, messages, view
from stockade.enforce.nri.adjust import Missing
from stockade.enforce.nri.features import Runtime, runtime
from stockade.enforce.nri.view import ViewError
from stockade.enforce.nri.wire import UNKNOWN, Fields

from .fake import Runtime as FakeRuntime

LIMIT = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
NEWEST = runtime("containerd", "2.2.1")
OLD = runtime("containerd", "1.7.24")
NAMES = ("pid", "network", "ipc", "uts", "mount", "cgroup")
small = st.integers(1, 9)


def some(names: tuple[str, ...], values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(names), values, max_size=len(names))


def items(names: tuple[str, ...], key: str, rest: st.SearchStrategy[Fields]) -> st.SearchStrategy[list[Fields]]:
    return some(names, rest).map(lambda made: [{key: name, **made[name]} for name in sorted(made)])


memory = st.integers(1, 99).map(lambda limit: {"limit": limit, "swap": limit})
CONTAINERS = st.fixed_dictionaries(
    {
        "annotations": some(("a", "b"), st.sampled_from("xy")),
        "mounts": items(
            ("/m", "/n", "/tmp"), "destination", st.fixed_dictionaries({"options": st.sampled_from((["ro"], ["rw"]))})
        ),
        "rlimits": items(
            ("RLIMIT_CORE", "RLIMIT_NOFILE"), "type", st.fixed_dictionaries({"hard": small, "soft": small})
        ),
        "linux": st.fixed_dictionaries(
            {
                "namespaces": items(NAMES, "type", st.one_of(st.just({}), st.just({"path": "/proc/1/ns/x"}))),
                "sysctl": some(("net.a", "net.b"), st.sampled_from("01")),
                "oom_score_adj": st.integers(-5, 5),
                "resources": st.fixed_dictionaries(
                    {
                        "unified": some(("memory.high", "cpu.weight"), st.sampled_from("12")),
                        "cpu": some(("shares", "quota", "period"), small),
                        "pids": st.fixed_dictionaries({"limit": small}),
                        "memory": memory,
                    }
                ),
            }
        ),
    }
)


def canonical(spec: view.Spec) -> view.Spec:
    """A view whose lists of named entries are in order."""
    made = deepcopy(spec)
    for part, name, key in (
        (made, "mounts", "destination"),
        (made["linux"], "namespaces", "type"),
        (made["linux"], "devices", "path"),
        (made["process"], "rlimits", "type"),
    ):
        part[name] = sorted(part[name], key=lambda item: str(item[key]))
    resources = made["linux"]["resources"]
    made["linux"]["resources"] = {key: value for key, value in resources.items() if value}
    return made


def made_of(container: Fields, adjustment: Fields, version: str = "v2.2.1") -> Fields:
    """What the runtime makes of a container; limits that it has appended count as runc applies them: in turn."""
    node = FakeRuntime.__new__(FakeRuntime)
    node.numbers = tuple(int(part) for part in version.removeprefix("v").split("."))
    after = deepcopy(container)
    node.apply(after, messages.ADJUSTMENT.decode(messages.ADJUSTMENT.encode(adjustment)))
    after["rlimits"] = list({limit["type"]: limit for limit in after.get("rlimits", [])}.values())
    return after


@LIMIT
@given(CONTAINERS, CONTAINERS)
def test_the_difference_makes_the_one_of_the_other_or_says_why_not(before: Fields, after: Fields) -> None:
    one, two = view.spec(before), view.spec(after)
    try:
        adjustment = adjust.difference(one, two, NEWEST)
    except Missing as missing:
        gone = {item["type"] for item in before["linux"]["namespaces"]} - {
            item["type"] for item in after["linux"]["namespaces"]
        }
        gone |= {item["type"] for item in before["rlimits"]} - {item["type"] for item in after["rlimits"]}
        gone |= before["linux"]["resources"]["unified"].keys() - after["linux"]["resources"]["unified"].keys()
        gone |= {
            f"cpu.{key}"
            for key in before["linux"]["resources"]["cpu"].keys() - after["linux"]["resources"]["cpu"].keys()
        }
        assert len(missing.reasons) == len(gone)
        assert all(any(what in reason for reason in missing.reasons) for what in gone)
        return
    assert canonical(view.spec(made_of(before, adjustment))) == canonical(two)
    assert canonical(adjust.effect(one, adjustment)) == canonical(two)


@LIMIT
@given(CONTAINERS)
def test_nothing_to_change_is_nothing_to_send(container: Fields) -> None:
    assert adjust.difference(view.spec(container), view.spec(container), OLD) == {}


ADJUSTMENTS = st.fixed_dictionaries(
    {
        "annotations": some(("a", "-a", "b", "-b"), st.just("z")),
        "mounts": items(("-/m", "/n", "/o"), "destination", st.just({"source": "/s"})),
        "rlimits": items(("RLIMIT_CORE",), "type", st.fixed_dictionaries({"hard": small})),
        "hooks": some(("create_runtime", "prestart"), st.just([{"path": "/x"}])),
        "linux": st.fixed_dictionaries(
            {
                "namespaces": items(("-pid", "network", "-cgroup"), "type", st.just({})),
                "devices": items(("/dev/fuse", "-/dev/kvm"), "path", st.just({"type": "c", "major": 10, "minor": 229})),
                "sysctl": some(("net.a", "-net.b"), st.just("7")),
                "resources": st.fixed_dictionaries(
                    {
                        "unified": some(("memory.high", "-cpu.weight"), st.just("9")),
                        "cpu": some(("shares", "quota"), small),
                        "memory": some(("limit",), small),
                    }
                ),
            }
        ),
    }
)


@LIMIT
@given(CONTAINERS, ADJUSTMENTS)
def test_the_effect_is_what_the_runtime_does(container: Fields, adjustment: Fields) -> None:
    adjustment["linux"]["resources"]["unified"].pop("-cpu.weight", None)
    foretold = adjust.effect(view.spec(container), adjustment)
    # That a device may be used, and not only be there, the runtime says to the control group; the fake has no such.
    rules = foretold["linux"]["resources"].pop("devices", [])
    added = [item for item in adjustment["linux"]["devices"] if not item["path"].startswith("-")]
    assert [rule["access"] for rule in rules] == ["rwm"] * len(added)
    assert canonical(foretold) == canonical(view.spec(made_of(container, adjustment)))


def process(**parts: Any) -> view.Spec:
    return {"process": parts, "linux": {}}


def linux(**parts: Any) -> view.Spec:
    return {"process": {}, "linux": parts}


def limited(**resources: Any) -> view.Spec:
    return linux(resources=resources)


@pytest.mark.parametrize(
    ("before", "after", "version", "reason"),
    [
        (
            linux(),
            linux(namespaces=[{"type": "network"}]),
            OLD,
            "own namespaces: network (not with NRI in containerd 1.7.24)",
        ),
        (linux(), limited(pids={"limit": 5}), OLD, "pids.limit 5 (not with NRI in containerd 1.7.24)"),
        (process(oomScoreAdj=-5), process(oomScoreAdj=0), OLD, "oomScoreAdj 0 (not with NRI in containerd 1.7.24)"),
        (linux(sysctl={"net.x": "1"}), linux(), OLD, "sysctl -net.x (not with NRI in containerd 1.7.24)"),
        (
            process(),
            process(rlimits=[{"type": "RLIMIT_CORE", "hard": 0, "soft": 0}]),
            runtime("containerd", "1.7.6"),
            "rlimits",
        ),
        (
            linux(devices=[{"path": "/dev/kvm"}]),
            linux(devices=[]),
            NEWEST,
            "linux.devices would have to change (not with NRI)",
        ),
        (limited(devices=[{"allow": True}]), limited(devices=[]), NEWEST, "resources.devices would have to change"),
        (limited(pids={"limit": 5}), limited(), NEWEST, "pids.limit would have to go"),
        (
            limited(memory={"limit": 5, "reservation": 4}),
            limited(memory={"limit": 5, "reservation": 3}),
            NEWEST,
            "memory.reservation",
        ),
        (limited(memory={"swap": 5}), limited(memory={"swap": 3}), NEWEST, "memory limits without memory.limit"),
        (limited(cpu={"burst": 5}), limited(cpu={"burst": 3}), NEWEST, "cpu.burst would have to change"),
        (
            process(ioPriority={"class": "IOPRIO_CLASS_RT"}),
            process(),
            NEWEST,
            "process.ioPriority would have to change",
        ),
        (process(scheduler={"policy": "SCHED_FIFO"}), process(), NEWEST, "process.scheduler would have to change"),
        (process(oomScoreAdj=5), process(), NEWEST, "oomScoreAdj would have to go"),
        ({"hooks": {"prestart": []}}, {"hooks": {}}, NEWEST, "hooks would have to change"),
        ({"mounts": [{"destination": "/a"}] * 2}, {"mounts": []}, NEWEST, "two mounts have one destination"),
        ({"mounts": []}, {"mounts": [{"destination": "/a", "uidMappings": []}]}, NEWEST, "mount /a: uidMappings"),
        (limited(hugepageLimits=[{"pageSize": "2MB", "limit": 1}]), limited(), NEWEST, "pages of 2MB would have to go"),
    ],
)
def test_what_cannot_be_done_is_said(before: view.Spec, after: view.Spec, version: Runtime, reason: str) -> None:
    with pytest.raises(Missing) as found:
        adjust.difference(before, after, version)
    assert len(found.value.reasons) == 1 and reason in found.value.reasons[0]


@pytest.mark.parametrize(
    ("adjustment", "reason"),
    [
        ({UNKNOWN: [12]}, "adjust: field 12"),
        ({"linux": {UNKNOWN: [13]}}, "adjust.linux: field 13"),
        ({"mounts": [{"destination": "/a", UNKNOWN: [9]}]}, r"adjust.mounts\[0\]: field 9"),
        ({"CDI_devices": [{"name": "vendor.com/gpu=0"}]}, "vendor.com/gpu=0"),
        ({"linux": {"io_priority": {"class": 9}}}, "I/O class 9"),
        ({"linux": {"scheduler": {"policy": -1}}}, "scheduling policy -1"),
    ],
)
def test_an_adjustment_that_is_not_understood_is_no_adjustment(adjustment: Fields, reason: str) -> None:
    with pytest.raises(ViewError, match=reason):
        adjust.effect(view.spec({}), adjustment)


def test_everything_else_that_a_plugin_can_adjust_shows_in_the_effect() -> None:
    adjusted = {
        "args": ["/bin/other"],
        "env": [{"key": "A", "value": "2"}, {"key": "-B"}, {"key": "C", "value": "3"}],
        "linux": {
            "oom_score_adj": -9,
            "io_priority": {"class": 1, "priority": 3},
            "scheduler": {"policy": 2, "priority": 5},
            "cgroups_path": "/elsewhere",
            "net_devices": {"eth0": {"name": "in"}},
            "rdt": {"clos_id": "x"},
            "memory_policy": {"mode": 2},
            "seccomp_policy": {"default_action": "SCMP_ACT_ALLOW"},
            "resources": {
                "pids": {},
                "hugepage_limits": [{"page_size": "2MB", "limit": 7}],
                "devices": [{"allow": True}],
            },
        },
    }
    after = adjust.effect(view.spec({"env": ["A=1", "B=1"]}), adjusted)
    assert after["process"]["args"] == ["/bin/other"]
    assert after["process"]["env"] == ["A=2", "C=3"]
    assert after["process"]["oomScoreAdj"] == -9
    assert after["process"]["ioPriority"] == {"class": "IOPRIO_CLASS_RT", "priority": 3}
    assert after["process"]["scheduler"] == {"policy": "SCHED_FIFO", "priority": 5}
    parts = after["linux"]
    assert parts["cgroupsPath"] == "/elsewhere" and parts["netDevices"] == {"eth0": {"name": "in"}}
    assert parts["intelRdt"] == {"clos_id": "x"} and parts["memoryPolicy"] == {"mode": 2}
    assert parts["seccomp"] == {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}
    assert parts["resources"] == {
        "pids": {"limit": 0},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 7}],
        "devices": [{"allow": True}],
    }


@pytest.mark.parametrize(
    ("said", "limit"),
    [
        ({"unified": {"pids.max": "7"}}, {"limit": 7}),
        ({"unified": {"pids.max": "7"}, "pids": {"limit": 9}}, {"limit": 9}),
        ({"unified": {"pids.max": "max"}}, None),
        ({"unified": {}}, None),
    ],
)
def test_a_limit_on_processes_is_seen_by_the_name_of_its_file(said: Fields, limit: Fields | None) -> None:
    assert view.resources(said).get("pids") == limit


def test_a_filter_survives_the_way(compiled_filters: dict[str, Fields]) -> None:
    for name, profile in compiled_filters.items():
        data = messages.SECCOMP.encode(view.seccomp_message(profile))
        arrived = view.seccomp(messages.SECCOMP.decode(data))
        for item in (item for rule in (*arrived["syscalls"], *profile["syscalls"]) for item in rule.get("args", [])):
            item.setdefault("valueTwo", 0)  # absent and zero are one on the wire, and in the specification
        assert arrived == profile, name


def test_what_a_filter_says_beyond_nri_is_refused() -> None:
    with pytest.raises(ViewError, match="cannot carry future"):
        view.seccomp_message({"future": 1})
    with pytest.raises(ViewError, match="cannot carry future of a rule"):
        view.seccomp_message({"syscalls": [{"future": 1}]})
