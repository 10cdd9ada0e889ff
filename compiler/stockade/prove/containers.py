"""Container types against each other and against their own words: narrower than what they extend, in every layer."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from stockade.model.access import mask_of, words
from stockade.model.alike import Kinds
from stockade.model.classes import SOCKETS
from stockade.model.container import ContainerType
from stockade.model.finding import Finding
from stockade.model.grants import Grants, rules_for
from stockade.model.layers import capability_access, socket_classes
from stockade.model.names import CAPABILITIES
from stockade.model.once import Once
from stockade.model.policy import Policy
from stockade.model.seccomp import SyscallPolicy
from stockade.oci.check import FLAGS
from stockade.oci.narrow import narrower
from stockade.prove.labels import names_of
from stockade.seccomp.narrow import wider

Named = Callable[[SyscallPolicy], SyscallPolicy]
Wide = Callable[[SyscallPolicy, SyscallPolicy, str], str | None]


def widenings(policy: Policy, table: Grants, alike: Kinds | None = None) -> Iterator[Finding]:
    """Where a type is wider than the one it extends without saying so, and where it says so without being wider.

    `table` may be that of the labels that stand for all by `alike`.
    """
    rows = _rows(table)
    named, compared = Once(_named_calls), Once(wider)
    for child in policy.containers.values():
        if child.extends is None:
            continue
        parent = policy.containers[child.extends]
        found = [
            *_layers_beyond(child, parent, named, compared),
            *(("selinux", reason) for reason in _labels(child, parent, rows, alike or Kinds())),
        ]
        for key, reason in found:
            if key not in child.widens:
                yield Finding(
                    child.place(key),
                    f"`{child.name}` is wider than `{parent.name}`, which it extends: {reason}",
                    f"narrow it, or say why under `widens: {{{key}: ...}}`",
                )
        wide = {key for key, _ in found}
        for key in child.widens:
            if key not in wide:
                message = f"`{child.name}` says that it widens `{key}`, and does not"
                yield Finding(child.place("widens"), message, "take it out of `widens`")


def beyond(
    child: ContainerType,
    parent: ContainerType,
    table: Grants,
    named: Named | None = None,
    compared: Wide = wider,
) -> Iterator[tuple[str, str]]:
    """(top-level key of the source, what is wider) for all in which `child` is wider than `parent`, in every layer.

    `named` and `compared` are what is asked of each pair of system-call policies, where somebody keeps the answers.
    """
    yield from _layers_beyond(child, parent, named or _named_calls, compared)
    yield from (("selinux", reason) for reason in _labels(child, parent, _rows(table), Kinds()))


def _layers_beyond(
    child: ContainerType, parent: ContainerType, named: Named, compared: Wide
) -> Iterator[tuple[str, str]]:
    yield from narrower(child, parent)
    if extra := child.sockets.families - parent.sockets.families:
        yield "sockets", f"sockets of {', '.join(sorted(extra))}"
    for arch in child.architectures:
        if arch not in parent.architectures:
            yield "architectures", f"it runs on {arch} too"
        elif child.syscalls is parent.syscalls:
            continue
        elif (call := compared(named(child.syscalls), named(parent.syscalls), arch)) is not None:
            yield "syscalls", f"it may call {call}"
            break
    if child.listener not in (None, parent.listener):
        yield "syscalls", f"{child.listener} is asked about its calls, not {parent.listener or 'nobody'}"


def _named_calls(policy: SyscallPolicy) -> SyscallPolicy:
    """The policy without what the address families decide, which is compared by itself."""
    return replace(policy, rules=tuple(r for r in policy.rules if r.call not in ("socket", "socketpair")))


def _rows(table: Grants) -> dict[str, dict[str, int]]:
    """Subject -> object -> access."""
    rows: dict[str, dict[str, int]] = {}
    for (subject, target), access in sorted(table.items()):
        rows.setdefault(subject, {})[target] = access
    return rows


def _labels(
    child: ContainerType, parent: ContainerType, rows: Mapping[str, Mapping[str, int]], alike: Kinds
) -> Iterator[str]:
    """SELinux access that the child's domain has and the parent's has not; its own label stands for the parent's."""
    if child.files != parent.files:
        yield f"its files are {child.files}, not {parent.files}"
    if child.domain == parent.domain:
        return
    mine, its = alike.pair(child.domain, parent.domain)
    has = rows.get(its, {})
    for target, access in rows.get(mine, {}).items():
        allowed = has.get(target, 0) | (has.get(its, 0) if target == mine else 0)
        if extra := access & ~allowed:
            yield f"{mine} may {words(extra, 2)} on {target}"


def loose_layers(policy: Policy, table: Grants) -> Iterator[Finding]:
    """Rules that give a container domain sockets or capabilities that none of its container types lists."""
    names = names_of(policy.host)
    for label in sorted({container.domain for container in policy.containers.values()}):
        types = [c for c in policy.containers.values() if c.domain == label]
        families = frozenset().union(*(c.sockets.families for c in types))
        held = frozenset().union(*(c.capabilities["bounding"] for c in types))
        unlisted = {
            "sockets": mask_of(SOCKETS - socket_classes(families), "create"),
            "capabilities": capability_access(CAPABILITIES.keys() - held),
        }
        for key, access in unlisted.items():
            given = table.get((label, label), 0) & access
            for rule in rules_for(policy.host, label, label, given):
                yield Finding(
                    rule.at,
                    f"gives `{names[label]}` {words(rule.access & given, 1)}, which no container type of that domain "
                    f"lists under `{key}`",
                    f"say `within: {key}` in the rule, or list it in the container type",
                )


def unknown_options(policy: Policy) -> Iterator[Finding]:
    """Mount options that no runtime knows, where they were written; a type that inherits the mount is not asked."""
    for container in policy.containers.values():
        for mount in container.mounts:
            if mount.at.file != container.at.file:
                continue
            for option in mount.options:
                if option not in FLAGS:
                    hint = difflib.get_close_matches(option, FLAGS, 1)
                    at = mount.options_at or mount.at
                    yield Finding(at, f"unknown mount option `{option}`", f"did you mean `{hint[0]}`?" if hint else "")
