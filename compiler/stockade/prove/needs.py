"""What one need of an action gets from the layers that could refuse it, for one container type."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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
    match need:
        case NeedsSyscall():
            yield _syscall(confined, need)
        case NeedsCapability():
            yield from _capability(confined, need, oracle)
        case NeedsAllCapabilities():
            missing = CAPABILITIES.keys() - _held(confined)
            reason = (
                f"{len(missing)} of {len(CAPABILITIES)} capabilities not held" if missing else "all capabilities held"
            )
            yield Answer(Layer.CAPABILITIES, not missing, reason + confined.place("capabilities"))
        case NeedsAccess():
            yield _access(confined, need, oracle)
        case NeedsHostNamespace():
            shared = need.kind not in _namespaces(confined)
            reason = f"the {need.kind} namespace is {'the host' + chr(39) + 's' if shared else 'its own'}"
            yield Answer(Layer.NAMESPACES, shared, reason + confined.place("namespaces"))
        case NeedsDevice():
            given = _device(confined, need)
            shown = f"{need.kind} {need.major}:{need.minor} {need.access}"
            reason = f"device {shown} is {'allowed' if given else 'not allowed'}{confined.place('devices')}"
            yield Answer(Layer.DEVICES, given, reason)
        case NeedsPath():
            yield _path(confined, need)
        case NeedsMountOption():
            at, options = options_at(confined.spec, need.path)
            forbidden = _FORBIDS[need.use] in options
            reason = f"{at} is mounted {'' if forbidden else 'without '}{_FORBIDS[need.use]}"
            yield Answer(Layer.MOUNTS, not forbidden, reason)
        case NeedsHostPath():
            yield _host_path(confined, need)
        case NeedsNewPrivileges():
            kept = bool(confined.spec["process"].get("noNewPrivileges"))
            reason = "executing a program " + ("raises no privileges" if kept else "may raise privileges")
            yield Answer(Layer.PRIVILEGES, not kept, reason + confined.place("no-new-privileges"))
        case NeedsNoLimit():
            limit = _limit(confined, need.file)
            reason = f"{need.file} is {limit}" if limit else f"{need.file} has no ceiling"
            yield Answer(Layer.LIMITS, limit is None, reason + confined.place("cgroup"))


def _syscall(confined: Confined, need: NeedsSyscall) -> Answer:
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
                return Answer(Layer.SECCOMP, True, f"{shown} passes{confined.place('syscalls')}")
            said.append(f"{shown}: {spell_verdict(verdict)}")
    if not said:
        return Answer(Layer.SECCOMP, False, f"no architecture of the type has {', '.join(need.calls)}")
    shown = "; ".join(said[:2]) + (f" and {len(said) - 2} more" if len(said) > 2 else "")
    return Answer(Layer.SECCOMP, False, shown + confined.place("syscalls"))


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
    yield _access(confined, NeedsAccess(mask(class_name, [need.name.lower()]), frozenset(), True, "self"), oracle)


def _access(confined: Confined, need: NeedsAccess, oracle: Oracle) -> Answer:
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
            return Answer(Layer.SELINUX, True, f"{confined.domain} has {words(need.access, 2)} on {label}")
    if confined.complains:
        reason = f"{confined.domain} is permissive: what no rule gives it is logged, and passes{confined.place('mode')}"
        return Answer(Layer.SELINUX, True, reason)
    spelled = need.spelled + (" of other categories" if need.categories is Categories.OTHER else "")
    return Answer(Layer.SELINUX, False, f"{confined.domain} has no {words(need.access, 2)} on {spelled}")


def _held(confined: Confined) -> frozenset[str]:
    return frozenset(name.removeprefix("CAP_") for name in confined.spec["process"]["capabilities"]["permitted"])


def _namespaces(confined: Confined) -> frozenset[str]:
    return frozenset(space["type"] for space in confined.spec["linux"]["namespaces"])


def _device(confined: Confined, need: NeedsDevice) -> bool:
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
    return set(need.access) <= allowed


def _path(confined: Confined, need: NeedsPath) -> Answer:
    linux = confined.spec["linux"]
    for path in linux["maskedPaths"]:
        if covers(path, need.path):
            return Answer(Layer.MOUNTS, False, f"{path} is masked{confined.place('mask')}")
    if need.written:
        for path in linux["readonlyPaths"]:
            if covers(path, need.path):
                return Answer(Layer.MOUNTS, False, f"{path} is read-only{confined.place('read-only')}")
        at, options = options_at(confined.spec, need.path)
        if "ro" in options:
            key = "root" if at == "/" else "mounts"
            return Answer(Layer.MOUNTS, False, f"{at} is mounted read-only{confined.place(key)}")
    state = "neither masked nor read-only" if need.written else "not masked"
    return Answer(Layer.MOUNTS, True, f"{need.path} is {state}")


def _host_path(confined: Confined, need: NeedsHostPath) -> Answer:
    """Whether some mount shows the path, and shows it writable where it is to be written."""
    said = "no mount shows it"
    for source, place, read_only, recursive in shown_at(confined.spec, need.path):
        # Read-only does not reach the file systems that are mounted below, unless it was said to.
        top = covers(need.below, source)
        if need.reach is Reach.WRITE and read_only and (top or recursive):
            said = f"{place} is read-only"
            continue
        return Answer(Layer.MOUNTS, True, f"the host's {need.path} is at {place}{confined.place('mounts')}")
    return Answer(Layer.MOUNTS, False, f"the host's {need.path}: {said}{confined.place('mounts')}")


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
