"""Of which pod a container is, by what containerd, CRI-O and the kubelet say: the own folder passes, no other does."""

from __future__ import annotations

from typing import Any

import pytest
from stockade.enforce.core import Host, Profile, Refused, apply
from stockade.enforce.pods import pod_of

from tests.enforce.specs import pod

UID = "4fe556a4-0bd7-45be-966f-46e2cbf4c4ac"
OTHER = "11111111-0bd7-45be-966f-46e2cbf4c4ac"
STATIC = "8a3f0c55e0b5e4a1c4e8e4d1b1f6a2d3"
"""A static pod's UID is a digest."""
CONTAINERD, CRIO = "io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid"
SYSTEMD = UID.replace("-", "_")

GROUPS = {
    "containerd and systemd": f"kubepods-burstable-pod{SYSTEMD}.slice:cri-containerd:cd34",
    "containerd and systemd, guaranteed": f"kubepods-pod{SYSTEMD}.slice:cri-containerd:cd34",
    "CRI-O and systemd": f"kubepods-besteffort-pod{SYSTEMD}.slice:crio:cd34",
    "systemd by the whole path": f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{SYSTEMD}.slice/cd",
    "a kubelet in a container": f"kubelet-kubepods-burstable-pod{SYSTEMD}.slice:cri-containerd:cd34",
    "the kernel": f"/kubepods/burstable/pod{UID}/cd34",
    "the kernel, guaranteed": f"/kubepods/pod{UID}/cd34",
    "the kernel, below a root": f"/kubelet/kubepods/besteffort/pod{UID}/crio-cd34",
}
NO_POD = [
    "",
    "/default/cd34",
    "system.slice:runc:cd34",
    "/kubepods/burstable",
    "/kubepods/burstable/pod/cd34",
    "kubepods-burstable-pod.slice:cri-containerd:cd34",
    f"/pod{UID}/cd34",
    f"/elsewhere/pod{UID}/cd34",
    f"/kubepods/burstable/cd34/pod{UID}",
    f"kubepods-burstable.slice:cri-containerd:pod{UID}",
    f"pod{SYSTEMD}.slice:cri-containerd:cd34",
    f"evil-pod{SYSTEMD}.slice:cri-containerd:cd34",
    f"kubepods-x-pod{SYSTEMD}.slice:cri-containerd:cd34",
]


def spec(group: str = "", uid: str = UID, **notes: str) -> dict[str, Any]:
    """A container that mounts a folder of the pod `uid`."""
    made = pod()
    made["mounts"][6]["source"] = f"/var/lib/kubelet/pods/{uid}/etc-hosts"
    made["linux"]["cgroupsPath"] = group
    names = {"containerd": CONTAINERD, "crio": CRIO}
    made["annotations"].update({names[name]: value for name, value in notes.items()})
    return made


def refusal(given: dict[str, Any], profile: Profile, **more: Any) -> str:
    with pytest.raises(Refused) as refused:
        apply(given, profile, Host(**more))
    ((promise, why),) = refused.value.reasons
    assert promise == "no-host-paths"
    return why


@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
def test_a_control_group_says_it_in_every_spelling(group: str, web: Profile) -> None:
    """As it must where containerd is older than 1.6.11, and has no annotation for it."""
    assert pod_of(spec(group), Host()) == (UID, "")
    assert apply(spec(group), web, Host())["mounts"]
    assert f"another pod than {UID}" in refusal(spec(group, OTHER), web)
    assert apply(spec(group, crio=UID, containerd=UID), web, Host(pod=UID))["mounts"]


@pytest.mark.parametrize("group", NO_POD)
def test_where_nobody_says_it_no_pod_s_folder_is_given(group: str, web: Profile) -> None:
    assert "neither the runtime nor a control group says which" in refusal(spec(group), web)
    # A pod may have written that one itself.
    assert "neither the runtime nor a control group says which" in refusal(spec(group, crio=UID), web)
    given = spec(group)
    del given["mounts"][6], given["linux"]["cgroupsPath"]
    assert apply(given, web, Host())["mounts"]


def test_the_runtime_says_it_by_its_annotation_or_beside(web: Profile) -> None:
    assert apply(spec(containerd=UID), web, Host())["mounts"]
    assert apply(spec(), web, Host(pod=UID))["mounts"]
    assert f"another pod than {UID}" in refusal(spec(uid=OTHER, containerd=UID), web)
    assert f"another pod than {UID}" in refusal(spec(uid=OTHER), web, pod=UID)
    static = f"/kubepods/burstable/pod{STATIC}/cd34"
    assert apply(spec(static, STATIC, containerd=STATIC), web, Host())["mounts"]


@pytest.mark.parametrize(
    ("group", "notes", "beside"),
    [
        (GROUPS["the kernel"], {"containerd": OTHER}, ""),
        (GROUPS["containerd and systemd"], {"containerd": OTHER}, ""),
        (GROUPS["CRI-O and systemd"], {"crio": OTHER}, ""),
        (GROUPS["the kernel"], {}, OTHER),
        ("", {"containerd": UID, "crio": OTHER}, ""),
        ("", {"containerd": UID}, OTHER),
        (f"/kubepods/pod{OTHER}/kubepods/pod{UID}", {}, ""),
        (f"kubepods-pod{OTHER.replace('-', '_')}.slice:kubepods-pod{SYSTEMD}.slice:cd34", {}, ""),
    ],
)
@pytest.mark.parametrize("uid", [UID, OTHER])
def test_two_answers_are_none(uid: str, group: str, notes: dict[str, str], beside: str, web: Profile) -> None:
    why = refusal(spec(group, uid, **notes), web, pod=beside)
    assert "it is not certain which: " in why and UID in why and OTHER in why


@pytest.mark.parametrize("name", [CONTAINERD, CRIO])
def test_what_is_no_name_is_refused(name: str, web: Profile) -> None:
    given = spec(GROUPS["the kernel"])
    given["annotations"][name] = 5
    with pytest.raises(Refused, match=rf"annotations\.{name} is no string"):
        apply(given, web, Host())
