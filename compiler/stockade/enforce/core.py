"""The one decision of enforcement: a runtime specification made no wider than a container type, or refused.

`apply` only takes away. Fields that it does not know stay as they are, and applying it twice is applying it once.
`check` says where a specification is wider: exactly where `apply` would change or refuse it.
"""

from __future__ import annotations

from stockade.enforce.filters import stricter
from stockade.enforce.mounts import apply_mounts, judge_root
from stockade.enforce.process import apply_process, process_label, relabelled
from stockade.enforce.profile import ANNOTATION, Host, Profile
from stockade.enforce.refusal import (
    CONFINED,
    NO_HOST_NAMESPACE,
    NO_HOST_SETTING,
    NO_PRIVILEGE,
    NO_RUNTIME_ANNOTATION,
    WELL_FORMED,
    Reasons,
    Refused,
)
from stockade.enforce.resources import clamp_devices, clamp_resources, foreign_devices
from stockade.enforce.shape import listing, mapping, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    Json = dict[str, Any]
    Judge = Callable[[Any, Any, Json], str]

__all__ = ["Host", "Profile", "Refused", "apply", "apply_process", "check", "clamp_resources", "process_label"]

_QUIET = ("cgroup", "time")
"""Kinds of namespace that runtimes leave out without asking for the host's; they are added."""

_STEERING = ("run.oci.", "org.systemd.property.", "org.criu.", "module.wasm.", "io.katacontainers.")
_NATIVE = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
}
_SETTINGS = {
    "network": ("net.",),
    "ipc": ("fs.mqueue.", "kernel.msg", "kernel.sem", "kernel.shm"),
    "uts": ("kernel.domainname", "kernel.hostname"),
}


def apply(spec: Json, profile: Profile, host: Host) -> Json:
    """The specification with the type's confinement. Raises Refused with every reason; the argument is not changed."""
    reasons = Reasons()
    result = dict(spec)
    linux = dict(mapping(spec, "linux"))
    process = spec.get("process")
    if type(process) is dict:
        with _Collected(reasons):
            result["process"] = apply_process(process, profile, host)
    elif process is not None:
        reasons.add(WELL_FORMED, "process is no object")
    with _Collected(reasons):
        result["annotations"] = _annotations(spec, profile, reasons)
    with _Collected(reasons):
        result["mounts"] = apply_mounts(spec, profile, host, reasons)
        judge_root(spec, host, reasons)
    if profile.spec["root"]["readonly"]:
        result["root"] = {**mapping(spec, "root"), "readonly": True}
    for part in (_namespaces, _paths, _settings, _resources, _filters, _labels, _rest):
        with _Collected(reasons):
            part(linux, profile, host, reasons)
    result["linux"] = linux
    reasons.raise_if_any()
    return result


def check(spec: Json, profile: Profile, host: Host, judges: Mapping[str, Judge] | None = None) -> list[tuple[str, str]]:
    """Every way in which a specification is wider than its type, as (promise or place, what); empty when it is not.

    `judges` say of some places in which way a value is wider than the type's, or nothing; with them what is empty is
    what is absent. Without them every difference counts.
    """
    try:
        allowed = apply(spec, profile, host)
    except Refused as refused:
        return refused.reasons
    return list(_differences(spec, allowed, "", spec, judges))


class _Collected:
    """Adds what a part raises to the reasons, so that the other parts are judged too."""

    def __init__(self, reasons: Reasons) -> None:
        self.reasons = reasons

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: object, trace: object) -> bool:
        if not isinstance(error, Refused):
            return False
        for promise, why in error.reasons:
            self.reasons.add(promise, why)
        return True


def _annotations(spec: Json, profile: Profile, reasons: Reasons) -> Json:
    asked = mapping(spec, "annotations")
    for name in asked:
        if name.startswith(_STEERING):
            reasons.add(NO_RUNTIME_ANNOTATION, f"the annotation {name}")
    return {**asked, f"{ANNOTATION}type": profile.name}


def _namespaces(linux: Json, profile: Profile, host: Host, reasons: Reasons) -> None:
    asked = listing(linux, "namespaces", dict, "linux.")
    kinds = [text(entry, "type") for entry in asked]
    for kind in kinds:
        if kinds.count(kind) > 1:
            reasons.add(WELL_FORMED, f"two namespaces of kind {kind}")
    for entry in asked:
        path = text(entry, "path")
        if path and path in host.shared and text(entry, "type") in profile.namespaces:
            reasons.add(NO_HOST_NAMESPACE, f"it joins the host's {text(entry, 'type')} namespace by {path}")
    if profile.user_namespace == "forbidden" and "user" in kinds:
        reasons.add(CONFINED, "a user namespace, in which everybody has capabilities")
    missing = sorted(profile.namespaces - set(kinds))
    for kind in missing:
        if kind not in _QUIET:
            reasons.add(NO_HOST_NAMESPACE, f"it asks for the host's {kind} namespace, by naming none")
    linux["namespaces"] = [*asked, *({"type": kind} for kind in missing)]


def _paths(linux: Json, profile: Profile, host: Host, reasons: Reasons) -> None:
    for key in ("maskedPaths", "readonlyPaths"):
        asked = listing(linux, key, str, "linux.")
        linux[key] = asked + [path for path in profile.spec["linux"][key] if path not in asked]


def _settings(linux: Json, profile: Profile, host: Host, reasons: Reasons) -> None:
    asked = mapping(linux, "sysctl", "linux.")
    for name in asked:
        spaces = [kind for kind, prefixes in _SETTINGS.items() if name.replace("/", ".").startswith(prefixes)]
        if not spaces or spaces[0] not in profile.namespaces:
            reasons.add(NO_HOST_SETTING, f"the setting {name}")
    linux["sysctl"] = {**asked, **profile.spec["linux"]["sysctl"]}


def _resources(linux: Json, profile: Profile, host: Host, reasons: Reasons) -> None:
    asked = mapping(linux, "resources", "linux.")
    resources = clamp_resources(asked, profile, host)
    resources["devices"] = clamp_devices(asked, profile, reasons)
    foreign_devices(linux, profile, reasons)
    linux["resources"] = resources


def _filters(linux: Json, profile: Profile, host: Host, reasons: Reasons) -> None:
    asked = mapping(linux, "seccomp", "linux.")
    made = stricter(asked, profile.seccomp, profile.calls()) if asked else profile.seccomp
    # A runtime makes a program for each architecture, and half of its time is for those that no process here can have.
    known: list[str] = made["architectures"]
    native = [name for name in known if name in _NATIVE.get(host.machine, ())]
    linux["seccomp"] = {**made, "architectures": native or known}


def _labels(linux: Json, profile: Profile, host: Host, reasons: Reasons) -> None:
    asked = text(linux, "mountLabel", "linux.")
    linux.pop("mountLabel", None)
    if host.selinux and "selinux" not in host.without:
        linux["mountLabel"] = relabelled(asked, profile.mount_label, profile, reasons)


def _rest(linux: Json, profile: Profile, host: Host, reasons: Reasons) -> None:
    linux["rootfsPropagation"] = profile.spec["linux"]["rootfsPropagation"]
    personality = mapping(linux, "personality", "linux.")
    if listing(personality, "flags", str, "linux.personality."):
        reasons.add(NO_PRIVILEGE, "flags of a personality weaken the layout of memory")
    if mapping(linux, "netDevices", "linux."):
        reasons.add(NO_PRIVILEGE, "it takes network devices of the host")


_EMPTY: tuple[Any, ...] = (None, {}, [], "")


def _differences(
    before: Any, after: Any, place: str, spec: Json, judges: Mapping[str, Judge] | None
) -> Iterator[tuple[str, str]]:
    """Where two documents differ, as (place, the value before and after), at the innermost object."""
    if before == after or (judges is not None and before in _EMPTY and after in _EMPTY):
        return
    if judges and place in judges:
        if more := judges[place](before, after, spec):
            yield place, more
    elif type(before) is dict and (type(after) is dict or (judges is not None and after is None)):
        for key in sorted({*before, *(after or {})}):
            inner = f"{place}.{key}" if place else key
            yield from _differences(before.get(key), (after or {}).get(key), inner, spec, judges)
    else:
        yield place, f"is {shown(before)}, the type has {shown(after)}"


def shown(value: Any) -> str:
    """A value in a few words."""
    if type(value) is list:
        return f"[{', '.join(shown(item) for item in value[:8])}{', ...' if len(value) > 8 else ''}]"
    said = "absent" if value is None else str(value)
    return said if len(said) <= 120 else f"{said[:117]}..."
