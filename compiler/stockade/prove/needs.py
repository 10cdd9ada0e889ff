"""What one need of an action gets from the layers that could refuse it, for one container type."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stockade.model.access import mask, spell, words
from stockade.model.action import (
    Abi,
    Categories,
    Layer,
    Need,
    NeedsAccess,
    NeedsAllCapabilities,
    NeedsCapability,
    NeedsDevice,
    NeedsHostNamespace,
    NeedsHostPath,
    NeedsMountOption,
    NeedsNewPrivileges,
    NeedsNoLimit,
    NeedsPath,
    NeedsSyscall,
    Reach,
    Use,
)
from stockade.model.classes import CLASSES
from stockade.model.names import CAPABILITIES
from stockade.model.seccomp import Action
from stockade.model.syscalls import numbers
from stockade.oci.base import RUNTIME_DEVICE_RULES, covers, options_at, shown_at
from stockade.prove.confined import Confined, Oracle
from stockade.seccomp.prove import spell_call, spell_verdict
from stockade.selinux.text import context

_FORBIDS = {Use.EXECUTE: "noexec", Use.DEVICES: "nodev", Use.SET_USER_ID: "nosuid"}


@dataclass(frozen=True, slots=True)
class Answer:
    """One layer's answer to one need: `given` when the layer lets it pass, and why."""

    layer: Layer
    given: bool
    reason: str


def answers(confined: Confined, need: Need, oracle: Oracle) -> Iterator[Answer]:
    """The answer of every layer that has a say in this need."""
    yield from DECISIONS[type(need)].answers(confined, need, oracle)


def _syscall(confined: Confined, need: NeedsSyscall, _: Oracle) -> Iterator[Answer]:
    """Given when any of the calls passes on any architecture the container runs on."""
    args = tuple(need.arguments.get(index, 0) for index in range(6))
    x32 = need.abi is Abi.X32
    said: list[str] = []
    for arch in confined.architectures:
        if x32 and arch != "x86_64":
            continue
        table = numbers("x32" if x32 else arch)
        for call in need.calls:
            if call not in table:
                continue
            verdict = confined.filter(arch, call, args, x32)
            shown = spell_call("x32" if x32 else arch, 0, table[call], args)
            if verdict.action in (Action.ALLOW, Action.LOG):
                yield Answer(Layer.SECCOMP, True, f"{shown} passes{confined.place('syscalls')}")
                return
            said.append(f"{shown}: {spell_verdict(verdict)}")
    if not said:
        yield Answer(Layer.SECCOMP, False, f"no architecture of the type has {', '.join(need.calls)}")
        return
    shown = "; ".join(said[:2]) + (f" and {len(said) - 2} more" if len(said) > 2 else "")
    yield Answer(Layer.SECCOMP, False, shown + confined.place("syscalls"))


def _capability(confined: Confined, need: NeedsCapability, oracle: Oracle) -> Iterator[Answer]:
    """The credentials, the user namespace they count in, and the label's leave to use them."""
    held = need.name in _held(confined)
    reason = f"{need.name} {'held' if held else 'not held'}{confined.place('capabilities')}"
    yield Answer(Layer.CAPABILITIES, held, reason)
    confined_users = "user" in _namespaces(confined)
    if confined_users and not need.own:
        reason = f"{need.name} is asked for in the initial user namespace; the container has its own"
        yield Answer(Layer.NAMESPACES, False, reason)
    second = need.name.lower() in CLASSES["capability2"]
    if confined_users:
        class_name = "cap2_userns" if second else "cap_userns"
    else:
        class_name = "capability2" if second else "capability"
    itself = NeedsAccess(mask(class_name, [need.name.lower()]), frozenset(), True, "self")
    yield from _access(confined, itself, oracle)


def _all_capabilities(confined: Confined, _: NeedsAllCapabilities, oracle: Oracle) -> Iterator[Answer]:
    missing = CAPABILITIES.keys() - _held(confined)
    reason = f"{len(missing)} of {len(CAPABILITIES)} capabilities not held" if missing else "all capabilities held"
    yield Answer(Layer.CAPABILITIES, not missing, reason + confined.place("capabilities"))


def _access(confined: Confined, need: NeedsAccess, oracle: Oracle) -> Iterator[Answer]:
    """Given when the domain has all of the access to any one of the targets, constraints applied."""
    level = {Categories.NONE: "s0", Categories.OWN: confined.level, Categories.OTHER: confined.other}[need.categories]
    contexts = {label: context(label, confined.subjects, level) for label in sorted(need.targets)}
    if need.itself:
        contexts[confined.domain] = confined.context
    if need.own_files:
        contexts["its own files"] = confined.files
    wanted = spell(need.access)
    for label, target in contexts.items():
        granted = (set(ps) <= oracle.allowed(confined.context, target, name) for name, ps in wanted.items())
        if all(granted):
            yield Answer(Layer.SELINUX, True, f"{confined.domain} has {words(need.access, 2)} on {label}")
            return
    if confined.complains:
        reason = f"{confined.domain} is permissive: what no rule gives it is logged, and passes{confined.place('mode')}"
        yield Answer(Layer.SELINUX, True, reason)
        return
    spelled = need.spelled + (" of other categories" if need.categories is Categories.OTHER else "")
    yield Answer(Layer.SELINUX, False, f"{confined.domain} has no {words(need.access, 2)} on {spelled}")


def _held(confined: Confined) -> frozenset[str]:
    return frozenset(name.removeprefix("CAP_") for name in confined.spec["process"]["capabilities"]["permitted"])


def _namespaces(confined: Confined) -> frozenset[str]:
    return frozenset(space["type"] for space in confined.spec["linux"]["namespaces"])


def _host_namespace(confined: Confined, need: NeedsHostNamespace, _: Oracle) -> Iterator[Answer]:
    shared = need.kind not in _namespaces(confined)
    reason = f"the {need.kind} namespace is {'the host' + chr(39) + 's' if shared else 'its own'}"
    yield Answer(Layer.NAMESPACES, shared, reason + confined.place("namespaces"))


def _device(confined: Confined, need: NeedsDevice, _: Oracle) -> Iterator[Answer]:
    """What the device cgroup answers: each letter is decided by the last rule that speaks of it."""
    allowed: set[str] = set()
    for rule in (*confined.spec["linux"]["resources"]["devices"], *RUNTIME_DEVICE_RULES[confined.runtime]):
        fits = (
            rule.get("type", "a") in ("a", need.kind)
            and rule.get("major", need.major) in (-1, need.major)
            and rule.get("minor", need.minor) in (-1, need.minor)
        )
        if fits:
            allowed = allowed | set(rule["access"]) if rule["allow"] else allowed - set(rule["access"])
    given = set(need.access) <= allowed
    shown = f"{need.kind} {need.major}:{need.minor} {need.access}"
    reason = f"device {shown} is {'allowed' if given else 'not allowed'}{confined.place('devices')}"
    yield Answer(Layer.DEVICES, given, reason)


def _path(confined: Confined, need: NeedsPath, _: Oracle) -> Iterator[Answer]:
    linux = confined.spec["linux"]
    for path in linux["maskedPaths"]:
        if covers(path, need.path):
            yield Answer(Layer.MOUNTS, False, f"{path} is masked{confined.place('mask')}")
            return
    if need.written:
        for path in linux["readonlyPaths"]:
            if covers(path, need.path):
                yield Answer(Layer.MOUNTS, False, f"{path} is read-only{confined.place('read-only')}")
                return
        at, options = options_at(confined.spec, need.path)
        if "ro" in options:
            key = "root" if at == "/" else "mounts"
            yield Answer(Layer.MOUNTS, False, f"{at} is mounted read-only{confined.place(key)}")
            return
    state = "neither masked nor read-only" if need.written else "not masked"
    yield Answer(Layer.MOUNTS, True, f"{need.path} is {state}")


def _mount_option(confined: Confined, need: NeedsMountOption, _: Oracle) -> Iterator[Answer]:
    at, options = options_at(confined.spec, need.path)
    forbidden = _FORBIDS[need.use] in options
    reason = f"{at} is mounted {'' if forbidden else 'without '}{_FORBIDS[need.use]}"
    yield Answer(Layer.MOUNTS, not forbidden, reason)


def _host_path(confined: Confined, need: NeedsHostPath, _: Oracle) -> Iterator[Answer]:
    """Whether some mount shows the path, and shows it writable where it is to be written."""
    said = "no mount shows it"
    for source, place, read_only, recursive in shown_at(confined.spec, need.path):
        # Read-only does not reach the file systems that are mounted below, unless it was said to.
        top = covers(need.below, source)
        if need.reach is Reach.WRITE and read_only and (top or recursive):
            said = f"{place} is read-only"
            continue
        yield Answer(Layer.MOUNTS, True, f"the host's {need.path} is at {place}{confined.place('mounts')}")
        return
    yield Answer(Layer.MOUNTS, False, f"the host's {need.path}: {said}{confined.place('mounts')}")


def _new_privileges(confined: Confined, _: NeedsNewPrivileges, oracle: Oracle) -> Iterator[Answer]:
    kept = bool(confined.spec["process"].get("noNewPrivileges"))
    reason = "executing a program " + ("raises no privileges" if kept else "may raise privileges")
    yield Answer(Layer.PRIVILEGES, not kept, reason + confined.place("no-new-privileges"))


def _no_limit(confined: Confined, need: NeedsNoLimit, _: Oracle) -> Iterator[Answer]:
    limit = _limit(confined, need.file)
    reason = f"{need.file} is {limit}" if limit else f"{need.file} has no ceiling"
    yield Answer(Layer.LIMITS, limit is None, reason + confined.place("cgroup"))


def _limit(confined: Confined, file: str) -> str | None:
    """The ceiling that a cgroup v2 file gets, or None."""
    resources = confined.spec["linux"]["resources"]
    memory = resources.get("memory", {})
    known = {
        "memory.max": memory.get("limit"),
        "memory.swap.max": memory.get("swap"),
        "pids.max": resources.get("pids", {}).get("limit"),
    }
    value = resources.get("unified", {}).get(file, known.get(file))
    return None if value in (None, -1, "max") else str(value)


@dataclass(frozen=True, slots=True)
class Decision:
    """How a kind of need is decided, and all of a type that it depends on.

    `answers` is asked with a need of its own kind. `places` are the keys of the type whose places its reasons name,
    `parts` whatever else an answer may follow; two types that are alike in both are answered alike.
    """

    answers: Callable[[Confined, Any, Oracle], Iterator[Answer]]
    places: tuple[str, ...]
    parts: Callable[[Confined], tuple[object, ...]]

    def rests_on(self, confined: Confined) -> tuple[object, ...]:
        """All of a type that the answers depend on, to be compared."""
        return (*self.parts(confined), *map(confined.place, self.places))


def _of_filter(confined: Confined) -> tuple[object, ...]:
    return id(confined.filter), confined.architectures


def _of_labels(confined: Confined) -> tuple[object, ...]:
    mode = confined.complains and confined.place("mode")
    return confined.context, confined.files, confined.other, confined.subjects, confined.complains, mode


def _of_credentials(confined: Confined) -> tuple[object, ...]:
    held = [confined.spec["process"]["capabilities"], confined.spec["linux"]["namespaces"]]
    return *_of_labels(confined), json.dumps(held)


def _of_devices(confined: Confined) -> tuple[object, ...]:
    return confined.runtime, json.dumps(confined.spec["linux"]["resources"]["devices"])


def _of_resources(confined: Confined) -> tuple[object, ...]:
    return (json.dumps(confined.spec["linux"]["resources"], sort_keys=True),)


def _of_view(confined: Confined) -> tuple[object, ...]:
    """What the type sees of the host: all of its document but its process, its resources and its label."""
    parts = {**confined.spec, "linux": {**confined.spec["linux"], "resources": None, "mountLabel": None}}
    seen = json.dumps({key: part for key, part in parts.items() if key not in ("annotations", "process")})
    return seen, json.dumps(confined.spec["process"].get("noNewPrivileges"))


DECISIONS: Final[Mapping[type[Need], Decision]] = {
    NeedsSyscall: Decision(_syscall, ("syscalls",), _of_filter),
    NeedsCapability: Decision(_capability, ("capabilities",), _of_credentials),
    NeedsAllCapabilities: Decision(_all_capabilities, ("capabilities",), _of_credentials),
    NeedsAccess: Decision(_access, (), _of_labels),
    NeedsHostNamespace: Decision(_host_namespace, ("namespaces",), _of_view),
    NeedsDevice: Decision(_device, ("devices",), _of_devices),
    NeedsPath: Decision(_path, ("mask", "read-only", "root", "mounts"), _of_view),
    NeedsMountOption: Decision(_mount_option, (), _of_view),
    NeedsHostPath: Decision(_host_path, ("mounts",), _of_view),
    NeedsNewPrivileges: Decision(_new_privileges, ("no-new-privileges",), _of_view),
    NeedsNoLimit: Decision(_no_limit, ("cgroup",), _of_resources),
}
"""Every kind of need, decided."""
