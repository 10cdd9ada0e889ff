"""What is wider, and what only looks different: the verify hook must stop the one and let the other be."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stockade.enforce.core import Host, Profile, Refused, apply, check, clamp_resources
from stockade.enforce.within import more_calls, wider

from tests.enforce.conftest import TYPES, profile_of
from tests.enforce.specs import pod, specs

PROFILE = {name: profile_of(name) for name in TYPES}
HOST = Host()
Change = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize("name", TYPES)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(spec=specs())
def test_nothing_is_passed_that_applying_would_narrow(name: str, spec: dict[str, Any]) -> None:
    """Where nothing is wider, the differences that are left are of those few kinds that give nothing."""
    profile = PROFILE[name]
    found = wider(spec, profile, HOST)
    different = check(spec, profile, HOST)
    assert bool(found) <= bool(different)
    if not found:
        places = {place for place, _ in different}
        allowed = ("process.capabilities", "linux.maskedPaths", "linux.readonlyPaths", "linux.rootfsPropagation")
        allowed += ("linux.resources.pids", "linux.resources.devices", "linux.seccomp")
        for place in places:
            assert place.startswith(allowed) or _at(spec, place) in (None, {}, [], ""), place


def _at(spec: Any, place: str) -> Any:
    for part in place.split("."):
        spec = spec.get(part) if isinstance(spec, dict) else None
    return spec


@pytest.mark.parametrize("name", TYPES)
def test_what_was_applied_is_within(name: str) -> None:
    try:
        made = apply(pod(), PROFILE[name], HOST)
    except Refused:
        pytest.fail("the sample fits every type")
    assert wider(made, PROFILE[name], HOST) == []


def told_by_cri(spec: dict[str, Any]) -> None:
    """The same container in containerd's words."""
    linux = spec["linux"]
    linux["resources"]["cpu"] = {**linux["resources"]["cpu"]}
    linux["resources"]["devices"] = [{"allow": False, "access": "rwm"}]
    linux["resources"]["unified"]["pids.max"] = str(linux["resources"].pop("pids")["limit"])
    linux["resources"]["hugepageLimits"] = []
    del linux["rootfsPropagation"]
    linux.pop("sysctl")
    for kind in ("ambient", "inheritable"):
        del spec["process"]["capabilities"][kind]
    spec["process"]["capabilities"]["bounding"].reverse()
    linux["maskedPaths"] = [*reversed(linux["maskedPaths"]), "/proc/more"]
    linux["seccomp"]["syscalls"].reverse()
    for rule in linux["seccomp"]["syscalls"]:
        rule["names"] = sorted(rule["names"], reverse=True)
        for test in rule.get("args", []):
            if test.get("valueTwo") == 0:
                del test["valueTwo"]


def test_other_words_are_not_wider(web: Profile) -> None:
    spec = apply(pod(), web, HOST)
    told = copy.deepcopy(spec)
    told_by_cri(told)
    assert wider(told, web, HOST) == []
    assert len(check(told, web, HOST)) > 5


def put(*keys: str, value: Any) -> Change:
    def change(spec: dict[str, Any]) -> None:
        for key in keys[:-1]:
            spec = spec[key]
        spec[keys[-1]] = value

    return change


WIDER: dict[str, tuple[Change, str]] = {
    "a capability": (
        lambda spec: spec["process"]["capabilities"]["ambient"].append("CAP_SYS_ADMIN"),
        "process.capabilities.ambient has CAP_SYS_ADMIN beyond the type's",
    ),
    "new privileges": (put("process", "noNewPrivileges", value=False), "process.noNewPrivileges"),
    "a writable root": (put("root", "readonly", value=False), "root.readonly"),
    "a mask less": (
        lambda spec: spec["linux"]["maskedPaths"].remove("/proc/kcore"),
        "linux.maskedPaths lacks /proc/kcore",
    ),
    "no read-only paths": (put("linux", "readonlyPaths", value=[]), "linux.readonlyPaths lacks /proc/bus"),
    "no filter": (put("linux", "seccomp", value={}), "linux.seccomp is absent"),
    "a call": (
        lambda spec: spec["linux"]["seccomp"]["syscalls"].append({"names": ["mount"], "action": "SCMP_ACT_ALLOW"}),
        "linux.seccomp allows mount",
    ),
    "a call that a tracer decides": (
        lambda spec: spec["linux"]["seccomp"]["syscalls"].append({"names": ["bpf"], "action": "SCMP_ACT_TRACE"}),
        "linux.seccomp allows bpf",
    ),
    "a call without its test": (
        lambda spec: spec["linux"]["seccomp"]["syscalls"].append({"names": ["clone"], "action": "SCMP_ACT_ALLOW"}),
        "linux.seccomp allows clone",
    ),
    "everything else": (put("linux", "seccomp", "defaultAction", value="SCMP_ACT_LOG"), "allows what it does not name"),
    "another architecture": (
        lambda spec: spec["linux"]["seccomp"]["architectures"].append("SCMP_ARCH_X32"),
        "linux.seccomp is for SCMP_ARCH_X32",
    ),
    "a filter that slows nothing down": (
        put("linux", "seccomp", "flags", value=["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]),
        "has the flags SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    ),
    "shared propagation": (put("linux", "rootfsPropagation", value="rshared"), "linux.rootfsPropagation is rshared"),
    "more processes": (put("linux", "resources", "pids", value={"limit": 1 << 20}), "linux.resources.pids"),
    "no limit on processes": (
        lambda spec: spec["linux"]["resources"].update(pids={}, unified={"cpu.weight": "100"}),
        "linux.resources.pids",
    ),
    "processes by file": (
        lambda spec: spec["linux"]["resources"].update(pids={}, unified={"cpu.weight": "100", "pids.max": "max"}),
        "pids",
    ),
    "no rules for devices": (put("linux", "resources", "devices", value=[]), "do not begin by taking all devices away"),
    "a device": (
        lambda spec: spec["linux"]["resources"]["devices"].append(
            {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}
        ),
        "gives c 10 229 rw beyond the type's",
    ),
    "making devices": (
        put(
            "linux",
            "resources",
            "devices",
            value=[{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 3}],
        ),
        "gives c 1 3 * beyond the type's",
    ),
    "the host's network": (
        lambda spec: spec["linux"].update(
            namespaces=[space for space in spec["linux"]["namespaces"] if space["type"] != "network"]
        ),
        "no-host-namespaces",
    ),
    "another label": (put("process", "selinuxLabel", value="system_u:system_r:super_t:s0:c1,c2"), "no-foreign-labels"),
    "no limit on files": (put("process", "rlimits", value=[]), "process.rlimits"),
    "more memory": (put("linux", "resources", "memory", value={"limit": 1 << 40}), "linux.resources.memory.limit"),
    "another type": (put("annotations", "io.stockade.type", value="admin"), "annotations.io.stockade.type"),
}


@pytest.mark.parametrize("name", WIDER)
@pytest.mark.parametrize("words", [lambda spec: None, told_by_cri], ids=["as applied", "as told by CRI"])
def test_what_is_wider_is_named(web: Profile, name: str, words: Change) -> None:
    change, reason = WIDER[name]
    spec = json.loads(json.dumps(apply(pod(), web, HOST)))
    words(spec)
    spec["process"]["capabilities"].setdefault("ambient", [])
    change(spec)
    found = "; ".join(f"{place} {why}" for place, why in wider(spec, web, HOST))
    assert reason in found


def test_filters_are_compared_by_what_they_let_through() -> None:
    def rules(*entries: tuple[str, str, list[dict[str, Any]]]) -> dict[str, Any]:
        return {"syscalls": [{"names": [name], "action": action, "args": args} for name, action, args in entries]}

    first = [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]
    same = [{"op": "SCMP_CMP_EQ", "valueTwo": 0, "value": 1, "index": 0}]
    other = [{"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]
    allow = "SCMP_ACT_ALLOW"
    assert more_calls(rules(("a", allow, first)), rules(("a", allow, same))) == []
    assert more_calls(rules(("a", allow, first)), rules(("a", allow, []))) == []
    assert more_calls(rules(("a", allow, other)), rules(("a", allow, first))) == ["a"]
    assert more_calls(rules(("a", allow, [])), rules(("a", allow, first))) == ["a"]
    assert more_calls(rules(("a", "SCMP_ACT_NOTIFY", [])), rules(("a", "SCMP_ACT_NOTIFY", []))) == ["a"]
    assert more_calls(rules(("a", "SCMP_ACT_ERRNO", [])), rules()) == []


@pytest.mark.parametrize("update", [False, True])
@given(
    asked=st.dictionaries(
        st.sampled_from(["pids.max", "memory.max", "memory.swap.max", "cpu.max"]),
        st.sampled_from(["max", "0", "7", "99999999999999999999", "max 100000", "1000 100000", "-1", ""]),
    )
)
def test_a_limit_cannot_be_raised_by_the_name_of_its_file(update: bool, asked: dict[str, str]) -> None:
    """Runtimes write `unified` last: what stands there holds, whatever the limit with a word of its own."""
    own = {"pids.max": "512", "memory.max": "1073741824", "memory.swap.max": "0", "cpu.max": "200000 100000"}
    made = clamp_resources({"unified": asked}, PROFILE["web"], HOST, update=update)["unified"] if asked else {}
    for name in asked:
        value = made[name]
        assert value == own[name] or (value == asked[name] and value.isdigit() and int(value) <= int(own[name]))
    again = clamp_resources({"unified": asked}, PROFILE["web"], HOST, update=update)
    assert clamp_resources(again, PROFILE["web"], HOST, update=update) == again
