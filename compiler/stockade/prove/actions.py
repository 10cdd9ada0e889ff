"""Actions decided over all layers: what each need gets from the layer that could refuse it, and how many refuse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from stockade.model.access import spell, words
from stockade.model.action import (
    ActionCase,
    Layer,
    Need,
    NeedsAccess,
    NeedsCapability,
    NeedsDevice,
    NeedsHostNamespace,
    NeedsSyscall,
)
from stockade.model.container import ContainerType, Level
from stockade.model.finding import Finding
from stockade.model.host import PROCESS_ROLE, USER
from stockade.model.names import STANDARD_DEVICES
from stockade.model.policy import Policy
from stockade.model.promise import ActionPromise
from stockade.model.seccomp import Action
from stockade.model.syscalls import numbers
from stockade.seccomp.prove import spell_call, spell_verdict
from stockade.seccomp.semantics import decide
from stockade.selinux.text import context


class Oracle(Protocol):
    """Whoever decides about labels: libsepol on the compiled kernel policy."""

    def allowed(self, scon: str, tcon: str, tclass: str) -> frozenset[str]:
        """The permissions that a process of context `scon` has on an object of class `tclass` and context `tcon`."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """One layer's answer to one need: `given` when the layer lets it pass, and why."""

    layer: Layer
    given: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """All answers to an action's needs; it succeeds only where every need is given."""

    answers: tuple[Answer, ...]

    @property
    def allowed(self) -> bool:
        """Whether some layer was asked, and none stops the action."""
        return bool(self.answers) and all(answer.given for answer in self.answers)

    @property
    def stopping(self) -> tuple[Layer, ...]:
        """The layers that stop it, each by itself."""
        return tuple(sorted({answer.layer for answer in self.answers if not answer.given}))


def decide_action(policy: Policy, container: ContainerType, action: ActionCase, oracle: Oracle) -> Verdict:
    """Whether a container of this type can do this, layer by layer."""
    return Verdict(tuple(_answer(policy, container, need, oracle) for need in action.needs))


def process_context(container: ContainerType, categories: int) -> str:
    """The context of one container of a type, with an example pair of categories where each has its own.

    `categories` is how many the policy has; of two there is one pair.
    """
    pair = "s0:c1,c2" if categories > 2 else "s0:c0.c1"
    level = {Level.PAIR: pair, Level.ALL: f"s0-s0:c0.c{categories - 1}", Level.NONE: "s0"}[container.level]
    return f"{USER}:{PROCESS_ROLE}:{container.domain}:{level}"


def _answer(policy: Policy, container: ContainerType, need: Need, oracle: Oracle) -> Answer:
    if isinstance(need, NeedsSyscall):
        return _syscall(container, need)
    if isinstance(need, NeedsCapability):
        held = sorted(container.capabilities["permitted"] & set(need.names))
        said = f"{', '.join(held)} held" if held else f"{' and '.join(need.names)} not held"
        reason = f"{said} ({container.place('capabilities')})"
        return Answer(Layer.CAPABILITIES, bool(held), reason)
    if isinstance(need, NeedsAccess):
        return _access(policy, container, need, oracle)
    if isinstance(need, NeedsHostNamespace):
        shared = need.kind in container.namespaces.host
        reason = f"the {need.kind} namespace is {'the host' + chr(39) + 's' if shared else 'its own'}"
        return Answer(Layer.NAMESPACES, shared, f"{reason} ({container.place('namespaces')})")
    if isinstance(need, NeedsDevice):
        given = _device(container, need)
        shown = f"{need.kind} {need.major}:{need.minor} {need.access}"
        reason = f"device {shown} is {'allowed' if given else 'not allowed'} ({container.place('devices')})"
        return Answer(Layer.DEVICES, given, reason)
    for key, paths in (("mask", container.masked), ("read-only", container.read_only)):
        for path in paths:
            if need.path == path or need.path.startswith(f"{path}/"):
                return Answer(Layer.MOUNTS, False, f"{path} is {key} ({container.place(key)})")
    return Answer(Layer.MOUNTS, True, f"{need.path} is neither masked nor read-only")


def _syscall(container: ContainerType, need: NeedsSyscall) -> Answer:
    """Given when any of the calls passes on any architecture the container runs on."""
    args = tuple(need.arguments.get(index, 0) for index in range(6))
    said: list[str] = []
    for arch in container.architectures:
        table = numbers(arch)
        for call in need.calls:
            if call not in table:
                continue
            verdict = decide(container.syscalls, arch, table[call], args)
            shown = spell_call(arch, 0, table[call], args)
            if verdict.action in (Action.ALLOW, Action.LOG):
                return Answer(Layer.SECCOMP, True, f"{shown} passes ({container.place('syscalls')})")
            said.append(f"{shown}: {spell_verdict(verdict)}")
    shown = "; ".join(said[:2]) + (f" and {len(said) - 2} more" if len(said) > 2 else "")
    return Answer(Layer.SECCOMP, False, f"{shown} ({container.place('syscalls')})")


def _access(policy: Policy, container: ContainerType, need: NeedsAccess, oracle: Oracle) -> Answer:
    """Given when the domain has all of the access to any one of the targets, constraints applied."""
    source = process_context(container, policy.host.categories)
    subjects = policy.host.subject_labels
    contexts = {label: context(label, subjects) for label in sorted(need.targets)}
    if need.itself:
        contexts[container.domain] = source
    wanted = spell(need.access)
    for label, target in contexts.items():
        if all(set(permissions) <= oracle.allowed(source, target, name) for name, permissions in wanted.items()):
            return Answer(Layer.SELINUX, True, f"{container.domain} has {words(need.access, 2)} on {label}")
    return Answer(Layer.SELINUX, False, f"{container.domain} has no {words(need.access, 2)} on {need.spelled}")


def _device(container: ContainerType, need: NeedsDevice) -> bool:
    if container.all_devices:
        return True
    if (need.kind, need.major, need.minor) in STANDARD_DEVICES.values():
        return set(need.access) <= set("rw")  # what the compiled device rules give; making nodes is not among it
    return any(
        device.kind == need.kind
        and device.major in (None, need.major)
        and device.minor in (None, need.minor)
        and set(need.access) <= set(device.access)
        for device in container.devices
    )


def action_promises(policy: Policy, oracle: Oracle) -> Iterator[Finding]:
    """Promises on actions that do not hold, and container types that one leaves out although it is true of them."""
    for promise in policy.promises.values():
        if not isinstance(promise, ActionPromise):
            continue
        for container in policy.containers.values():
            stops = {
                name: decide_action(policy, container, policy.actions[name], oracle).stopping
                for name in promise.actions
            }
            enough = all(len(layers) >= promise.layers for layers in stops.values())
            if container.name in promise.containers:
                yield from _unkept(promise, container, stops)
            elif container.name in promise.silent_on:
                if enough:
                    message = f"promise `{promise.name}` is silent on `{container.name}`, of which it is true"
                    yield Finding(promise.at, message, "take it out of `silent-on` and name it")
            elif enough:
                yield Finding(
                    promise.who_at,
                    f"promise `{promise.name}` leaves out `{container.name}`, of which it is true",
                    f"name `{container.name}` too, or say under `silent-on` why not",
                )


def _unkept(promise: ActionPromise, container: ContainerType, stops: dict[str, tuple[Layer, ...]]) -> Iterator[Finding]:
    for name, layers in stops.items():
        if len(layers) < promise.layers:
            stopping = f"only {', '.join(layers)} would stop it" if layers else "no layer stops it"
            yield Finding(
                container.at,
                f"breaks promise `{promise.name}`: `{container.name}` and `{name}`: {stopping}",
                f"promised at {promise.at} with at least {promise.layers}: {promise.why}",
            )
