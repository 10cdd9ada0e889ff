"""Differences and paths of kernel policies in the words of their sources: the statements and the verbs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from stockade.model.access import mask
from stockade.model.grants import rules_for
from stockade.model.host import Host
from stockade.model.policy import Policy
from stockade.prove.changes import Access
from stockade.prove.paths import Need, Step
from stockade.prove.policy_diff import PolicyDiff, diff
from stockade.selinux.cil import Writer
from stockade.selinux.libsepol import compile_cil


def kernel_policy(policy: Policy) -> bytes:
    """What the host's and the container types' rules compile to, in memory and without checking its guards."""
    writer = Writer(policy)
    cil = [("host/policy.cil", writer.host_cil())]
    for container in policy.containers.values():
        text = writer.type_cil(container)
        if container.name in writer.owners:
            cil.append((f"containers/{container.name}/selinux.cil", text))
    return compile_cil(cil, neverallow=False).policy


def diff_sources(old: Policy, new: Policy) -> PolicyDiff:
    """The difference of what two policy folders compile to, explained by both."""
    return explain(diff(kernel_policy(old), kernel_policy(new)), old, new)


def explain(found: PolicyDiff, old: Policy | None, new: Policy | None) -> PolicyDiff:
    """The same difference; what is wider names the rules of `new` that give it, what is narrower those of `old`."""
    widened = found.widened if new is None else tuple(_explained(found.widened, new.host))
    narrowed = found.narrowed if old is None else tuple(_explained(found.narrowed, old.host))
    return PolicyDiff(widened, narrowed, found.other)


def positions(step: Step, policy: Policy) -> tuple[str, ...]:
    """The statements of a source that a step of a path rests on, as `file:line:column`, each once."""
    found: dict[str, None] = {}
    for need in step.because:
        found.update(dict.fromkeys(_said(need, policy.host)))
    return tuple(found)


def _said(need: Need, host: Host) -> Iterator[str]:
    if need.result:
        for move in host.transitions:
            if (move.who, move.source, move.target) == (need.source, need.target, need.result):
                yield str(move.at)
    else:
        for rule in rules_for(host, need.source, need.target, mask(need.tclass, [need.permission])):
            yield str(rule.at)


def _explained(changes: Iterable[Access], host: Host) -> Iterator[Access]:
    total: dict[tuple[str, str], int] = {}
    found = [(change, mask(change.tclass, change.perms)) for change in changes]
    for change, access in found:
        key = change.source, change.target
        total[key] = total.get(key, 0) | access
    reasons: dict[tuple[str, str, int], tuple[str, ...]] = {}
    for change, access in found:
        case = change.source, change.target, access
        if case not in reasons:
            rules = rules_for(host, *case)
            reasons[case] = tuple(dict.fromkeys(str(rule.at) for rule in rules))
        whole = total[change.source, change.target]
        verbs = [v.name for v in host.verbs.values() if v.access & access and v.access & ~whole == 0]
        yield replace(change, verbs=tuple(sorted(verbs)), because=reasons[case])
