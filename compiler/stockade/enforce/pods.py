"""Of which pod a container is, and so which of the kubelet's folders for pods is its own.

A folder of a pod holds its volumes, with its secrets in them. Whose a container is must be said by somebody who knows:
the runtime, or the kubelet by the control group that it made for the pod. Where nobody does, or two say differently, no
such folder is the container's own.
"""

from __future__ import annotations

from stockade.enforce.profile import Host
from stockade.enforce.shape import mapping, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]

PODS = "/var/lib/kubelet/pods/"
"""A folder for each pod, named by the pod's UID."""

_CONTAINERD = "io.kubernetes.cri.sandbox-uid"
"""The annotation in which containerd says it, since 1.6.11 and 1.7; it is nobody else's to write."""

_CRIO = "io.kubernetes.pod.uid"
"""The annotation in which CRI-O says it. To other runtimes a pod may have written it: alone it counts for nothing."""

_CLASSES = ("burstable", "besteffort")
"""Classes of service that have a control group between the pod's and all pods'; the third has none."""


def pod_of(spec: Json, host: Host) -> tuple[str, str]:
    """The UID of the container's pod, and nothing; or nothing, and why that is not known."""
    notes = mapping(spec, "annotations")
    said = [(text(notes, name, "annotations."), f"the annotation {name}") for name in (_CONTAINERD, _CRIO)]
    said += [(uid, "its control group") for uid in _in_group(text(mapping(spec, "linux"), "cgroupsPath", "linux."))]
    said = [(uid, who) for uid, who in [*said, (host.pod, "the runtime")] if uid]
    found = {uid for uid, _ in said}
    if len(found) > 1:
        return "", f"it is not certain which: {', '.join(f'{uid} by {who}' for uid, who in said)}"
    if all(_CRIO in who for _, who in said):
        return "", "neither the runtime nor a control group says which"
    return found.pop(), ""


def foreign(path: str, spec: Json, host: Host) -> str:
    """Why a path below `PODS` is not the container's own; empty where it is."""
    own, unknown = pod_of(spec, host)
    if unknown:
        return f"which only the containers of one pod are given, and of this container {unknown}"
    return "" if path[len(PODS) :].partition("/")[0] == own else f"which is of another pod than {own}"


def _in_group(path: str) -> list[str]:
    """The UIDs of pods in the control group's path, as the kubelet spells it for systemd or for the kernel.

    `kubepods-burstable-pod5d8f_1.slice:cri-containerd:ID`, where systemd wants `_` for `-`, is the first way, and
    `/kubepods/burstable/pod5d8f-1/ID` the second.
    """
    found, parts = [], path.replace(":", "/").split("/")
    for at, part in enumerate(parts):
        if part.endswith(".slice"):
            *above, last = part.removesuffix(".slice").split("-")
            if last.startswith("pod") and (above[-1:] == ["kubepods"] or _service(above)):
                found.append(last[3:].replace("_", "-"))
        elif part.startswith("pod") and (parts[:at][-1:] == ["kubepods"] or _service(parts[:at])):
            found.append(part[3:])
    return [uid for uid in found if uid]


def _service(above: list[str]) -> bool:
    return above[-2:-1] == ["kubepods"] and above[-1] in _CLASSES
