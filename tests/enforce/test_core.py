"""The one decision of enforcement: never wider, the same when made twice, and all that is refused by name."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from stockade.enforce.core import Host, Profile, Refused, apply, apply_process, check, clamp_resources
from stockade.enforce.exact import dumps, loads
from stockade.enforce.filters import stricter
from stockade.enforce.refusal import PROMISES
from stockade.enforce.within import wider
from stockade.model.seccomp import Action
from stockade.model.syscalls import numbers
from stockade.seccomp.runtime import Ambiguous, decide_oci

from tests.enforce.conftest import TYPES, profile_of
from tests.enforce.specs import CALLS, FILTERS, LEVEL, RESOURCES, SETS, pod, specs

PROFILE = {name: profile_of(name) for name in TYPES}
ALLOWED = (Action.ALLOW, Action.LOG)
HOST = Host()
NO_USER = next(name for name, profile in PROFILE.items() if profile.user_namespace == "forbidden")


def test_what_a_pod_gets_is_the_type_s(web: Profile) -> None:
    found = apply(pod(), web, HOST)
    process, linux = found["process"], found["linux"]
    assert process["selinuxLabel"] == f"system_u:system_r:web_t:{LEVEL}"
    assert linux["mountLabel"] == f"system_u:object_r:data_t:{LEVEL}"
    assert process["capabilities"]["effective"] == ["CAP_SETUID", "CAP_NET_BIND_SERVICE"]
    assert process["noNewPrivileges"] is True and found["root"]["readonly"] is True
    assert {"type": "cgroup"} in linux["namespaces"]
    assert linux["resources"]["memory"] == {"limit": 128 << 20, "swap": 128 << 20}
    assert linux["resources"]["pids"] == {"limit": 512}
    assert linux["resources"]["cpu"] == {"shares": 256, "quota": 50000, "period": 100000}
    assert {"type": "RLIMIT_NOFILE", "soft": 32768, "hard": 32768} in process["rlimits"]
    assert "/proc/other" in linux["maskedPaths"] and "/proc/timer_list" in linux["maskedPaths"]
    assert [mount["destination"] for mount in found["mounts"][:2]] == ["/run", "/tmp"]
    assert found["annotations"]["io.stockade.type"] == "web"
    assert process["args"] == pod()["process"]["args"] and process["env"] == pod()["process"]["env"]


@pytest.mark.parametrize("name", TYPES)
@settings(max_examples=40, deadline=None)
@given(spec=specs())
def test_never_wider_and_the_same_when_made_twice(name: str, spec: dict[str, Any]) -> None:
    profile, before = PROFILE[name], copy.deepcopy(spec)
    try:
        once = apply(spec, profile, HOST)
    except Refused as refused:
        assert refused.reasons and {promise for promise, _ in refused.reasons} <= PROMISES.keys()
        assume(False)
    assert spec == before
    assert apply(once, profile, HOST) == once and check(once, profile, HOST) == []
    assert loads(dumps(once)) == once
    _is_within(once, profile, spec)


def _is_within(once: dict[str, Any], profile: Profile, spec: dict[str, Any]) -> None:
    """Neither more than the type's nor more than what was asked for, layer by layer, in this test's own words."""
    own, process, linux = profile.spec, once["process"], once["linux"]
    for key in SETS:
        held = set(process["capabilities"][key])
        assert held <= set(own["process"]["capabilities"][key])
        assert held <= set(spec["process"]["capabilities"].get(key, ()))
    assert process["noNewPrivileges"] >= max(own["process"]["noNewPrivileges"], spec["process"]["noNewPrivileges"])
    limits = {limit["type"]: limit for limit in process["rlimits"]}
    for limit in (*own["process"]["rlimits"], *spec["process"]["rlimits"]):
        assert limits[limit["type"]]["hard"] <= limit["hard"] and limits[limit["type"]]["soft"] <= limit["soft"]
    assert once["root"].get("readonly", False) >= max(own["root"]["readonly"], spec["root"].get("readonly", False))
    assert set(linux["maskedPaths"]) >= {*own["linux"]["maskedPaths"], *spec["linux"]["maskedPaths"]}
    kinds = {entry["type"] for entry in linux["namespaces"]}
    assert kinds >= {entry["type"] for part in (own, spec) for entry in part["linux"]["namespaces"]}
    _is_limited(linux["resources"], own["linux"]["resources"], spec["linux"]["resources"])
    assert once["futureKey"] == spec["futureKey"]


def _is_limited(got: dict[str, Any], own: dict[str, Any], asked: dict[str, Any]) -> None:
    def limit(resources: dict[str, Any], group: str, key: str) -> float:
        value = resources.get(group, {}).get(key)
        return float("inf") if value is None or value <= 0 else value

    for group, key in (("memory", "limit"), ("pids", "limit")):
        assert limit(got, group, key) <= min(limit(own, group, key), limit(asked, group, key))
    if "swap" in own.get("memory", {}):
        memory = got["memory"]
        assert memory["swap"] - memory["limit"] <= own["memory"]["swap"] - own["memory"]["limit"]
    if "quota" in own.get("cpu", {}):
        share = got["cpu"]["quota"] / got["cpu"].get("period", 100000)
        assert 0 < share <= own["cpu"]["quota"] / own["cpu"]["period"]


@pytest.mark.parametrize("name", TYPES)
@settings(max_examples=40, deadline=None)
@given(
    asked=FILTERS,
    args=st.lists(st.sampled_from([0, 1, 2, 8, 40, 0x7E020000, 0x10000000, 0x2E, 1 << 63]), min_size=6, max_size=6),
)
def test_a_call_is_allowed_only_where_both_profiles_allow_it(name: str, asked: dict[str, Any], args: list[int]) -> None:
    own = PROFILE[name].seccomp
    merged = stricter(asked, own)
    # To log and to allow is one answer here, so that two rules which say the one and the other do not disagree.
    rules = [{**rule, "action": rule["action"].replace("LOG", "ALLOW")} for rule in asked["syscalls"]]
    asked_native = {**asked, "syscalls": rules, "architectures": ["SCMP_ARCH_X86_64"]}
    for call in (*CALLS, "getpid", "futex"):
        if call not in numbers("x86_64"):
            continue
        nr = numbers("x86_64")[call]
        if decide_oci(merged, "x86_64", nr, args).action in ALLOWED:
            assert decide_oci(own, "x86_64", nr, args).action in ALLOWED, call
            try:
                assert decide_oci(asked_native, "x86_64", nr, args).action in ALLOWED, call
            except Ambiguous:
                pytest.fail(f"{call} is allowed where the runtime's own profile does not define it")
    assert stricter(merged, own) == merged


def test_a_profile_that_allows_all_changes_nothing(web: Profile) -> None:
    assert stricter({"defaultAction": "SCMP_ACT_ALLOW"}, web.seccomp)["syscalls"] == web.seccomp["syscalls"]
    assert stricter({}, web.seccomp) == web.seccomp


def test_a_narrower_profile_narrows(web: Profile) -> None:
    asked = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}
    merged = stricter(asked, web.seccomp)
    table = numbers("x86_64")
    assert decide_oci(merged, "x86_64", table["read"], [0] * 6).action is Action.ALLOW
    assert decide_oci(merged, "x86_64", table["write"], [0] * 6).action is Action.ERRNO


@settings(max_examples=200, deadline=None)
@given(asked=RESOURCES, cgroup2=st.booleans())
def test_an_update_never_raises_a_limit_and_leaves_what_nobody_speaks_of(asked: dict[str, Any], cgroup2: bool) -> None:
    profile = PROFILE["web"]
    got = clamp_resources(asked, profile, Host(cgroup2=cgroup2), update=True)
    own = profile.resources
    for group, key in (("memory", "limit"), ("pids", "limit"), ("cpu", "quota")):
        if key not in asked.get(group, {}) and not (group == "cpu" and "period" in asked.get("cpu", {})):
            assert key not in got.get(group, {}) or group == "memory"
        elif group != "cpu":
            assert 0 < got[group][key] <= own[group][key]
    for name, value in got.get("unified", {}).items():
        if name in own["unified"]:
            assert value.isdigit() and int(value) <= int(own["unified"][name])


Change = Callable[[dict[str, Any]], Any]

REFUSED: list[tuple[str, Change]] = [
    ("no-foreign-labels", lambda s: s["process"].update(selinuxLabel="system_u:system_r:super_t:s0:c1,c2")),
    ("no-foreign-labels", lambda s: s["linux"].update(mountLabel="system_u:object_r:secret_t:s0:c1,c2")),
    ("always-confined", lambda s: s["process"].update(selinuxLabel="system_u:system_r:container_t:s0-s0:c0.c1023")),
    ("always-confined", lambda s: s["process"].update(selinuxLabel="system_u:system_r:container_t:s0")),
    ("always-confined", lambda s: s["process"].pop("selinuxLabel")),
    ("well-formed", lambda s: s["process"].update(selinuxLabel="container_t")),
    *(
        (
            "no-host-namespaces",
            lambda s, k=kind: s["linux"].update(namespaces=[n for n in s["linux"]["namespaces"] if n["type"] != k]),
        )
        for kind in ("pid", "ipc", "uts", "mount", "network")
    ),
    ("no-host-namespaces", lambda s: s["linux"]["namespaces"][4].update(path="/proc/1/ns/net")),
    ("well-formed", lambda s: s["linux"]["namespaces"].append({"type": "pid"})),
    *(
        (
            promise,
            lambda s, p=path: s["mounts"].append(
                {"destination": "/x", "type": "bind", "source": p, "options": ["rbind", "ro"]}
            ),
        )
        for promise, path in (
            ("no-runtime-sockets", "/run/containerd/containerd.sock"),
            ("no-runtime-sockets", "/run/containerd"),
            ("no-runtime-sockets", "/run/containerd/io.containerd.runtime.v2.task"),
            ("no-runtime-sockets", "/run"),
            ("no-runtime-sockets", "/"),
            ("no-runtime-sockets", "/run//containerd/../containerd/x.sock"),
            ("no-runtime-sockets", "/var/lib/kubelet"),
            ("no-runtime-sockets", "/var/lib/kubelet/pods"),
            ("no-runtime-sockets", "/linked-to-the-runtime"),
            ("no-api-socket", "/run/api.sock"),
            ("no-host-paths", "/etc"),
            ("no-host-paths", "/etc/shadow"),
            ("no-host-paths", "/proc/1/root"),
            ("no-host-paths", "/sys/fs/cgroup"),
            ("no-host-paths", "/dev/sda"),
            ("no-host-paths", "/usr/bin"),
        )
    ),
    ("no-shared-mounts", lambda s: s["mounts"][6].update(options=["rbind", "rshared"])),
    (
        "no-foreign-file-systems",
        lambda s: s["mounts"].append({"destination": "/x", "type": "ext4", "source": "/dev/sda1"}),
    ),
    ("no-foreign-file-systems", lambda s: s["mounts"].append({"destination": "/x", "type": "proc", "source": "proc"})),
    *(
        ("no-foreign-file-systems", lambda s, p=place: s["mounts"].append({"destination": p, "type": "tmpfs"}))
        for place in ("/proc/sys", "/proc", "/sys/", "/dev/../sys")
    ),
    *(
        (
            "no-host-paths",
            lambda s, p=place: s["mounts"].append(
                {"destination": p, "type": "bind", "source": "/srv/data", "options": ["rbind"]}
            ),
        )
        for place in ("/proc", "/sys", "/dev", "/proc/self", "/sys/fs/cgroup", "/x/../dev/")
    ),
    ("no-host-paths", lambda s: s["annotations"].update({"io.kubernetes.cri.sandbox-uid": "6a31"})),
    ("well-formed", lambda s: s["mounts"].append({"destination": "/", "type": "tmpfs"})),
    ("no-privileged-containers", lambda s: s["linux"]["resources"]["devices"].append({"allow": True, "access": "rwm"})),
    (
        "no-foreign-devices",
        lambda s: s["linux"].update(devices=[{"path": "/dev/kvm", "type": "c", "major": 10, "minor": 232}]),
    ),
    ("no-host-settings", lambda s: s["linux"].update(sysctl={"kernel.core_pattern": "|/x"})),
    ("no-host-settings", lambda s: s["linux"].update(sysctl={"vm.swappiness": "0"})),
    *(
        ("no-runtime-annotations", lambda s, n=note: s["annotations"].update({n: "x"}))
        for note in ("run.oci.seccomp_bpf_data", "run.oci.handler", "org.systemd.property.X", "org.criu.config")
    ),
    ("no-real-time", lambda s: s["process"].update(scheduler={"policy": "SCHED_FIFO", "priority": 1})),
    ("no-real-time", lambda s: s["process"].update(ioPriority={"class": "IOPRIO_CLASS_RT", "priority": 0})),
    (
        "no-privileged-containers",
        lambda s: s["linux"].update(personality={"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}),
    ),
    ("no-privileged-containers", lambda s: s["linux"].update(netDevices={"eth0": {}})),
    ("always-confined", lambda s: s["linux"]["namespaces"].append({"type": "user"})),
    ("always-confined", lambda s: s["linux"]["resources"].update(unified={"cgroup.procs": "1"})),
    ("always-confined", lambda s: s["linux"]["resources"].update(unified={"../x": "1"})),
    *(
        ("well-formed", lambda s, k=key, v=value: s.update({k: v}))
        for key, value in (
            ("process", []),
            ("mounts", {}),
            ("mounts", [1]),
            ("linux", 3),
            ("annotations", "x"),
            ("root", []),
        )
    ),
    ("well-formed", lambda s: s["process"].update(capabilities={"bounding": "all"})),
    ("well-formed", lambda s: s["linux"].update(seccomp=[])),
    ("well-formed", lambda s: s["linux"]["resources"].update(pids={"limit": "many"})),
]


@pytest.mark.parametrize(("promise", "change"), REFUSED, ids=[f"{n}-{p}" for n, (p, _) in enumerate(REFUSED)])
def test_what_would_break_a_promise_is_refused_by_its_name(promise: str, change: Change) -> None:
    spec = pod()
    change(spec)
    profile = PROFILE[NO_USER if promise == "always-confined" and "user" in str(spec["linux"]["namespaces"]) else "web"]
    host = Host(resolved={"/linked-to-the-runtime": "/run/containerd/containerd.sock"}, shared=["/proc/1/ns/net"])
    with pytest.raises(Refused) as refused:
        apply(spec, profile, host)
    assert promise in {found for found, _ in refused.value.reasons}, refused.value.reasons


def test_a_pod_s_own_folder_is_told_from_another_s(web: Profile) -> None:
    spec = pod()
    spec["annotations"]["io.kubernetes.cri.sandbox-uid"] = "5d8f"
    assert apply(spec, web, HOST)["mounts"]
    spec["mounts"][6]["source"] = "/var/lib/kubelet/pods/5d8f/../5d8f0/volumes/kubernetes.io~secret/keys"
    with pytest.raises(Refused, match=r"is of another pod than 5d8f, is mounted at /etc/hosts"):
        apply(spec, web, HOST)


@pytest.mark.parametrize(
    ("count", "said"), [(1, "the device /dev/n0 (b 7:0)"), (100, "100 devices: /dev/n0 (b 7:0), ")]
)
def test_many_devices_are_refused_in_one_line(count: int, said: str, web: Profile) -> None:
    spec = pod()
    spec["linux"]["devices"] = [{"path": f"/dev/n{at}", "type": "b", "major": 7, "minor": at} for at in range(count)]
    with pytest.raises(Refused) as refused:
        apply(spec, web, HOST)
    ((promise, why),) = refused.value.reasons
    assert promise == "no-foreign-devices" and why.startswith(said) and len(why) < 200


@pytest.mark.parametrize(
    ("machine", "wanted"),
    [
        ("x86_64", ["SCMP_ARCH_X86_64"]),
        ("aarch64", ["SCMP_ARCH_AARCH64"]),
        ("", ["SCMP_ARCH_AARCH64", "SCMP_ARCH_X86_64"]),
        ("riscv64", ["SCMP_ARCH_AARCH64", "SCMP_ARCH_X86_64"]),
    ],
)
def test_a_filter_is_for_the_machine_that_it_is_on(machine: str, wanted: list[str], web: Profile) -> None:
    """No other program is made, and what is left is no wider: a call of another architecture ends its process."""
    spec = pod()
    del spec["linux"]["seccomp"]
    found = apply(spec, web, Host(machine=machine))["linux"]["seccomp"]
    assert sorted(found["architectures"]) == wanted
    assert {**found, "architectures": web.seccomp["architectures"]} == web.seccomp
    assert (
        wider({**apply(pod(), web, HOST), "linux": {**apply(pod(), web, HOST)["linux"], "seccomp": found}}, web, HOST)
        == []
    )


def test_a_filter_for_none_of_the_type_s_architectures_is_refused(web: Profile) -> None:
    asked = {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_S390X"], "syscalls": []}
    with pytest.raises(Refused, match=r"no architecture of the type is among the runtime's"):
        stricter(asked, web.seccomp)


def test_more_tests_than_can_be_joined_deny_the_call(web: Profile) -> None:
    """Of two lists of tests every pair would have to be said; beyond a bound that is not tried."""

    def asked(count: int) -> dict[str, Any]:
        tests = [{"index": 1, "value": at, "op": "SCMP_CMP_EQ"} for at in range(count)]
        rules = [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [test]} for test in tests]
        return {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": rules}

    def allowed(count: int) -> int:
        rules = stricter(asked(count), web.seccomp)["syscalls"]
        return sum("read" in rule["names"] and rule["action"] == "SCMP_ACT_ALLOW" for rule in rules)

    assert (allowed(64), allowed(65)) == (64, 0)


def test_all_reasons_are_given_at_once(web: Profile) -> None:
    spec = pod()
    for _, change in (REFUSED[0], REFUSED[6], REFUSED[-1]):
        change(spec)
    with pytest.raises(Refused) as refused:
        apply(spec, web, HOST)
    assert len(refused.value.reasons) >= 3


def test_a_host_without_selinux_is_refused_unless_it_was_set_up_so(web: Profile) -> None:
    with pytest.raises(Refused, match="no SELinux"):
        apply(pod(), web, Host(selinux=False))
    found = apply(pod(), web, Host(selinux=False, without=["selinux"]))
    assert "selinuxLabel" not in found["process"] and "mountLabel" not in found["linux"]


def test_an_added_process_has_the_container_s_own_level(web: Profile) -> None:
    process = pod()["process"]
    assert apply_process(process, web, HOST, LEVEL)["selinuxLabel"] == f"system_u:system_r:web_t:{LEVEL}"
    with pytest.raises(Refused, match="not the container's own"):
        apply_process(process, web, HOST, "s0:c1,c2")


def test_the_type_s_own_mounts_are_given_to_it_alone() -> None:
    mount = {"destination": "/run/api.sock", "type": "bind", "source": "/run/api.sock", "options": ["bind", "exec"]}
    spec = pod()
    spec["process"]["selinuxLabel"] = "system_u:system_r:control_t:s0-s0:c0.c1023"
    spec["mounts"].append(mount)
    spec["linux"]["mountLabel"] = ""
    found = apply(spec, PROFILE["control"], HOST)["mounts"][-1]
    assert {"noexec", "nosuid", "nodev"} <= set(found["options"]) and "exec" not in found["options"]
    spec["mounts"][-1] = {**mount, "destination": "/elsewhere"}
    with pytest.raises(Refused, match="no-api-socket"):
        apply(spec, PROFILE["control"], HOST)


def test_check_says_where_a_specification_is_wider(web: Profile) -> None:
    places = {place for place, _ in check(pod(), web, HOST)}
    assert {"process.capabilities.effective", "process.selinuxLabel", "root.readonly"} <= places
    assert check(apply(pod(), web, HOST), web, HOST) == []


def test_a_file_of_the_host_is_read_only(web: Profile) -> None:
    spec = pod()
    spec["mounts"].append(
        {"destination": "/etc/resolv.conf", "type": "bind", "source": "/etc/resolv.conf", "options": ["rbind", "rw"]}
    )
    assert apply(spec, web, HOST)["mounts"][-1]["options"] == ["rbind", "nosuid", "nodev", "ro"]


def test_on_cgroup_v1_a_weight_is_shares(web: Profile) -> None:
    got = clamp_resources({}, web, Host(cgroup2=False))
    assert "unified" not in got and got["cpu"]["shares"] == 2 + 99 * (262144 - 2) // 9999
    # As the base specification says it, for which CRI starts from it; and again.
    assert clamp_resources({"unified": dict(web.resources["unified"])}, web, Host(cgroup2=False)) == got
    assert clamp_resources(got, web, Host(cgroup2=False)) == got
    # What somebody else asks for is the runtime's to refuse.
    assert clamp_resources({"unified": {"memory.high": "4096"}}, web, Host(cgroup2=False))["unified"] == {
        "memory.high": "4096"
    }
