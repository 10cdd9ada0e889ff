"""Mounts and what goes with them: options that only take away, and how little of the runtime's own is let through."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from stockade.enforce.core import Host, Profile, Refused, apply
from stockade.enforce.nri import judge
from stockade.enforce.pinned import digest_of, read_profile
from stockade.enforce.refusal import Reasons
from stockade.enforce.resources import clamp_devices

from tests.enforce.conftest import PROFILES, TYPES, profile_of
from tests.enforce.specs import LEVEL, pod

HOST = Host()
SANDBOX = "/run/containerd/io.containerd.grpc.v1.cri/sandboxes/ab12"


def options(profile: Profile, place: str, given: list[str]) -> list[str]:
    spec = pod()
    level = LEVEL if profile.level == "pair" else profile.own_range
    spec["process"]["selinuxLabel"] = f"system_u:system_r:container_t:{level}"
    spec["linux"]["mountLabel"] = f"system_u:object_r:data_t:{level}"
    (mount,) = (mount for mount in spec["mounts"] if mount["destination"] == place)
    mount["options"] = given
    (found,) = (mount for mount in apply(spec, profile, HOST)["mounts"] if mount["destination"] == place)
    return sorted(found["options"])


@pytest.mark.parametrize("place", ["/proc", "/dev/mqueue", "/sys", "/sys/fs/cgroup"])
def test_the_kernel_s_own_file_systems_run_nothing(place: str, web: Profile) -> None:
    least = ["nodev", "noexec", "nosuid", *(["ro"] if place.startswith("/sys") else [])]
    for given in ([], ["rw", "exec", "suid", "dev"]):
        assert options(web, place, given) == sorted([*least, *(["rw"] if "rw" in given and "ro" not in least else [])])


@pytest.mark.parametrize("name", TYPES)
def test_the_kernel_s_settings_are_writable_to_a_type_that_makes_them(name: str) -> None:
    profile = profile_of(name)
    assert profile.configures == (name == "admin")
    assert ("ro" in options(profile, "/sys", ["rw"])) is not profile.configures


@pytest.mark.parametrize(
    "source",
    [
        SANDBOX,
        f"{SANDBOX}/volatile",
        f"{SANDBOX}/hostname/../config.json",
        f"{SANDBOX}/shm/..",
        "/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db",
        "/run/containerd/io.containerd.runtime.v2.task/k8s.io/ab12/hostname",
        "/run/containerd/elsewhere/sandboxes/hostname",
    ],
)
def test_of_a_sandbox_only_its_four_files_are_given(source: str, web: Profile) -> None:
    spec = pod()
    spec["mounts"][7]["source"] = source
    with pytest.raises(Refused, match="no-runtime-sockets") as refused:
        apply(spec, web, HOST)
    assert len(refused.value.reasons) == 1


def test_a_setting_of_a_namespace_that_the_type_shares_is_the_host_s() -> None:
    """`control` has the host's network: what it set there, all would have."""
    for name, allowed in (("web", True), ("control", False)):
        spec, profile = pod(), profile_of(name)
        level = LEVEL if profile.level == "pair" else profile.own_range
        spec["process"]["selinuxLabel"] = f"system_u:system_r:container_t:{level}"
        spec["linux"]["mountLabel"] = f"system_u:object_r:data_t:{level}"
        spec["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
        if allowed:
            assert apply(spec, profile, HOST)["linux"]["sysctl"]["net.ipv4.ip_forward"] == "1"
            continue
        with pytest.raises(Refused, match=r"the setting net\.ipv4\.ip_forward"):
            apply(spec, profile, HOST)


def test_of_rules_for_devices_the_later_counts() -> None:
    """A type that lists a device gives it where the runtime's rules do, which are read in their order."""
    oci = json.loads((PROFILES / "web/oci.json").read_text())
    seccomp = (PROFILES / "web/seccomp.json").read_bytes()
    listed = {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}
    oci["linux"]["resources"]["devices"].append(listed)
    profile = Profile.from_files(json.dumps(oci).encode(), seccomp)

    def given(*rules: dict[str, Any]) -> list[dict[str, Any]]:
        asked = [{"allow": False, "access": "rwm"}, *rules]
        return [rule for rule in clamp_devices({"devices": asked}, profile, Reasons()) if rule.get("minor") == 229]

    assert given() == []
    assert given(listed) == [listed]
    assert given({**listed, "access": "r"}) == [{**listed, "access": "r"}]
    assert given(listed, {"allow": False, "type": "c", "major": 10, "access": "w"}) == [{**listed, "access": "r"}]
    assert given({"allow": False, "access": "rwm"}, listed) == [listed]
    assert given(listed, {"allow": False, "access": "rwm"}) == []
    assert given({**listed, "minor": 228}) == []


def test_files_of_another_type_are_not_this_type_s(tmp_path: Path) -> None:
    folder = tmp_path / "containers/web"
    folder.mkdir(parents=True)
    for file in ("oci.json", "seccomp.json"):
        (folder / file).write_bytes((PROFILES / "admin" / file).read_bytes())
        (folder / file).chmod(0o644)
    digests = tuple(digest_of((folder / file).read_bytes()) for file in ("oci.json", "seccomp.json"))
    with pytest.raises(Refused, match=r"containers/web is of type admin"):
        read_profile(str(tmp_path), "web", digests, ())  # type: ignore[arg-type]


def test_a_pod_s_namespace_that_is_the_host_s_is_told_by_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """What NRI says of the pod is not all: it says the pod has one, and the path leads to that of the first process."""
    spec = {"linux": {"namespaces": [{"type": "network", "path": "/proc/self/ns/net"}]}}
    owned = {"namespaces": [{"type": "network"}]}
    monkeypatch.setattr(judge, "_first", lambda kind: judge._inode("/proc/self/ns/uts"))
    assert judge._shared(spec, owned) == []
    assert judge._shared(spec, {"namespaces": []}) == ["/proc/self/ns/net"]
    monkeypatch.setattr(judge, "_first", lambda kind: judge._inode("/proc/self/ns/net"))
    assert judge._shared(spec, owned) == ["/proc/self/ns/net"]
