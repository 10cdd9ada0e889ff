"""A page about one container type for a person: what it may do, what it may not, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from stockade.model.container import CgroupValue, ContainerType, Quota
from stockade.model.grants import members
from stockade.model.host import Rule
from stockade.model.names import CAPABILITIES, FAMILIES
from stockade.model.policy import Policy
from stockade.model.promise import ActionPromise, LabelPromise, Promise
from stockade.model.seccomp import SyscallPolicy
from stockade.model.syscalls import numbers
from stockade.seccomp.explain import Explanation, explain

Explain = Callable[[SyscallPolicy], Explanation]


class Statements:
    """The rules and promises of a policy by those whom they are about: labels, and names of container types."""

    def __init__(self, policy: Policy) -> None:
        self.rules: dict[str, list[Rule]] = {}
        self.promises: dict[str, list[LabelPromise]] = {}
        self.on_actions: dict[str, list[ActionPromise]] = {}
        for rule in policy.host.rules:
            for label in members(rule) if rule.audit else ():
                self.rules.setdefault(label, []).append(rule)
        for promise in policy.promises.values():
            if isinstance(promise, LabelPromise):
                for label in frozenset[str]().union(*(part.members for part in promise.who.parts)):
                    self.promises.setdefault(label, []).append(promise)
            else:
                for name in promise.containers:
                    self.on_actions.setdefault(name, []).append(promise)

    def promised(self, container: ContainerType) -> list[Promise]:
        """What is promised of a type or of its domain, by name."""
        found = [*self.promises.get(container.domain, ()), *self.on_actions.get(container.name, ())]
        return sorted(found, key=lambda promise: promise.name)


def summary(container: ContainerType, statements: Statements, explained: Explain = explain) -> bytes:
    """`summary.md`: the layers one by one, each grant with its reason. `explained` is `explain`, or remembers it."""
    lines = [f"# {container.name}", "", container.why, ""]
    if container.complains:
        lines += [
            "**It complains.** What SELinux and seccomp would refuse is written to the log, and passes; the other",
            "layers hold. What follows is what it is held to once it no longer does.",
            "",
        ]
        if container.records:
            lines += ["It records: what the two allow is written to the log too, so here its label has no rule.", ""]
    if container.extends:
        lines += [f"Narrows `{container.extends}`.", ""]
        lines += [f"- wider in `{key}`: {why}" for key, why in sorted(container.widens.items())]
        lines += [""] if container.widens else []
    for title, body in _sections(container, statements, explained(container.syscalls)):
        lines += [f"## {title}", "", *body, ""]
    return ("\n".join(lines).rstrip() + "\n").encode()


def _sections(container: ContainerType, statements: Statements, said: Explanation) -> Iterator[tuple[str, list[str]]]:
    yield (
        "Labels",
        [
            f"- processes: `{container.domain}`, categories: {container.level}",
            f"- files: `{container.files}`",
        ],
    )
    held = container.capabilities["bounding"]
    yield "Capabilities", [f"- held: {_words(held)}", f"- never: {_words(CAPABILITIES.keys() - held)}"]
    yield (
        "Sockets",
        [
            f"- families: {_words(container.sockets.families)}; {container.sockets.why}",
            f"- never: {_words(FAMILIES.keys() - container.sockets.families)}",
        ],
    )
    yield "System calls", list(_syscalls(container, said))
    yield (
        "Namespaces",
        [
            f"- of its own: {_words(container.namespaces.new)}",
            f"- the host's: {_words(container.namespaces.host)}",
            f"- user namespace: {container.namespaces.user}",
        ],
    )
    yield (
        "Limits",
        [
            *(f"- `{file}`: {_value(value)}" for file, value in container.cgroup.items()),
            *(f"- `{name}`: {_limit(r.soft)} soft, {_limit(r.hard)} hard" for name, r in container.rlimits.items()),
        ],
    )
    yield "Files", list(_files(container))
    yield "What its label may do", [_rule(rule) for rule in statements.rules.get(container.domain, ())]
    yield "What is promised of it", [f"- {promise.name}: {promise.why}" for promise in statements.promised(container)]


def always_allowed(container: ContainerType, explained: Explain = explain) -> frozenset[str]:
    """The calls that a type may make whatever their arguments, of those that its architectures have."""
    there = frozenset().union(*(numbers(arch) for arch in container.architectures))
    return there.intersection(explained(container.syscalls).allowed)


def _syscalls(container: ContainerType, said: Explanation) -> Iterator[str]:
    yield f"- always: {len(always_allowed(container, lambda _: said))} calls"
    yield from (f"- {sentence}: {why}" for sentence, why in (*said.conditional, *said.refused))
    yield f"- {said.otherwise}"
    yield f"- architectures: {_words(container.architectures)}; every other is killed, x32 among them"


def _files(container: ContainerType) -> Iterator[str]:
    yield f"- root: {'read-only' if container.read_only_root else 'writable'}"
    yield from (f"- tmpfs: `{t.path}`" + (f", {t.size} bytes" if t.size is not None else "") for t in container.tmpfs)
    yield from (f"- `{m.source}` at `{m.destination}` ({', '.join(m.options)}): {m.why}" for m in container.mounts)
    yield f"- masked: {_words(f'`{path}`' for path in container.masked)}"
    yield f"- read-only: {_words(f'`{path}`' for path in container.read_only)}"
    listed = [f"`{device.path}` {device.access}" for device in container.devices]
    yield f"- devices: {'all of the host' if container.all_devices else _words(['the standard ones', *listed])}"
    yield f"- set-user-ID programs {'raise no' if container.no_new_privileges else 'may raise'} privileges"


def _rule(rule: Rule) -> str:
    what = ", ".join(rule.verbs) if rule.verbs else "some"
    return f"- {what} on {rule.what}: {rule.why} (`{rule.at.file}:{rule.at.line}`)"


def _words(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _value(value: CgroupValue) -> str:
    if isinstance(value, Quota):
        return f"{value.quota} of every {value.period} microseconds"
    return "max" if value is None else str(value)


def _limit(value: int | None) -> str:
    return "unlimited" if value is None else str(value)
