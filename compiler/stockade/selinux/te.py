"""A container type's domain as a loadable module: the `.te` source and its `.fc`, for a host with modular policy."""

from __future__ import annotations

from collections.abc import Iterable

from stockade.model.classes import CLASSES
from stockade.model.container import ContainerType
from stockade.model.grants import members
from stockade.model.host import PROCESS_ROLE, Rule
from stockade.model.policy import Policy
from stockade.selinux.cil import own_domains
from stockade.selinux.text import by_permissions, comment


def type_te(policy: Policy, container: ContainerType, sets: Iterable[str]) -> bytes:
    """`selinux.te`: what the type's domain may do, and what others may do to a domain that the module declares.

    Rules are written out in types and permissions. `sets` are the host's sets that a declared domain joins, as its
    constraints and promises speak of sets.
    """
    label = container.domain
    declares = own_domains(policy).get(label) == container.name
    rules = [rule for rule in policy.host.rules if rule.audit]
    own = [(rule, _given(rule, label)) for rule in rules if label in members(rule)]
    others = [(rule, _takers(rule, label)) for rule in rules] if declares else []
    body: list[str] = []
    used: set[str] = {label}
    access = 0
    for rule, targets in own:
        body += _allow(rule, [label], targets, label)
        used |= targets
        access |= rule.access
    for rule, takers in others:
        if takers:
            body += _allow(rule, sorted(takers), {label}, label)
            used |= takers
            access |= rule.access
    lines = comment("#", container.at, container.why)
    lines += [f"module {container.name.replace('-', '_')} {policy.host.version};", "", "require {"]
    lines += [f"  type {name};" for name in sorted(used - ({label} if declares else set()))]
    lines += [f"  attribute {name};" for name in sorted(sets)] if declares else []
    for classes, _ in by_permissions(access):
        lines += [f"  class {name} {{ {' '.join(sorted(CLASSES[name]))} }};" for name in classes]
    lines += [f"  role {PROCESS_ROLE};", "}", ""]
    if declares:
        lines += [f"type {label};", f"typeattribute {label} {', '.join(sorted(sets))};"]
        lines += [f"role {PROCESS_ROLE} types {label};", ""]
    return ("\n".join([*lines, *body]) + "\n").encode()


def type_fc(container: ContainerType) -> bytes:
    """`selinux.fc`: no path, because a container's files are labelled when they are mounted."""
    lines = comment(
        "#", container.at, f"files of `{container.name}` are {container.files} by their mounts, not by path"
    )
    return ("\n".join(lines) + "\n").encode()


def _given(rule: Rule, label: str) -> frozenset[str]:
    return rule.what.members(label)


def _takers(rule: Rule, label: str) -> set[str]:
    return {subject for subject in members(rule) if subject != label and label in rule.what.members(subject)}


def _allow(rule: Rule, sources: list[str], targets: Iterable[str], label: str) -> list[str]:
    lines = comment("#", rule.at, rule.why)
    what = sorted("self" if target == label and sources == [label] else target for target in targets)
    if not what:
        return []
    for classes, permissions in by_permissions(rule.access):
        lines.append(f"allow {_braced(sources)} {_braced(what)}:{_braced(classes)} {_braced(list(permissions))};")
    return lines


def _braced(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{{ {' '.join(names)} }}"
