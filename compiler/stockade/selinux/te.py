"""A container type's domain as a loadable module: the `.te` source and its `.fc`, for a host with modular policy."""

from __future__ import annotations

from functools import lru_cache

from stockade.model.access import spell
from stockade.model.container import ContainerType
from stockade.model.host import PROCESS_ROLE, Part
from stockade.selinux.attributes import membership
from stockade.selinux.cil import Writer
from stockade.selinux.text import by_permissions, comment


def type_te(container: ContainerType, writer: Writer) -> bytes:
    """`selinux.te`: what the type's domain may do, and the sets that a domain joins that the module declares.

    What the host's domains may do to it follows from these: the host's rules are about sets. They are named as `writer`
    names them in the host's policy, never by members: the module knows no other container type, and does not grow with
    their number.
    """
    label, attributes = container.domain, writer.attributes
    declares = writer.own.get(label) == container.name
    body: list[str] = []
    types: set[str] = {label}
    sets = set(membership(attributes.members, label)) if declares else set()
    access = 0

    def name(part: Part) -> str:
        if part.itself or part.members == {label}:
            return "self"
        found = attributes.of(part)
        (sets if found in attributes.members else types).add(found)
        return found

    for rule in writer.rules_of(label):
        if rule.audit and rule.what.members(label):
            target = sorted({name(part) for part in rule.what.parts if part.itself or part.members})
            what = _braced([*target, f"-{label}"] if rule.what.but_itself else target)
            body += comment("#", rule.at, rule.why)
            body += [f"allow {label} {what}:{vector};" for vector in _vectors(rule.access)]
            access |= rule.access
    lines = comment("#", container.at, container.why)
    lines += [f"module {container.name.replace('-', '_')} {writer.host.version};", "", "require {"]
    lines += [f"  type {found};" for found in sorted(types - ({label} if declares else set()))]
    lines += [f"  attribute {found};" for found in sorted(sets)]
    lines += [f"  class {found} {{ {' '.join(permissions)} }};" for found, permissions in spell(access).items()]
    lines += [f"  role {PROCESS_ROLE};", "}", ""]
    if declares:
        joined = membership(attributes.members, label)
        lines += [f"type {label};", f"typeattribute {label} {', '.join(joined)};"]
        lines += [f"role {PROCESS_ROLE} types {label};", *([f"permissive {label};"] if container.complains else []), ""]
    return ("\n".join([*lines, *body]) + "\n").encode()


def type_fc(container: ContainerType) -> bytes:
    """`selinux.fc`: no path, because a container's files are labelled when they are mounted."""
    lines = comment(
        "#", container.at, f"files of `{container.name}` are {container.files} by their mounts, not by path"
    )
    return ("\n".join(lines) + "\n").encode()


@lru_cache(maxsize=4096)
def _vectors(access: int) -> tuple[str, ...]:
    """Classes and permissions of an access mask as rules have them, each with one set of permissions."""
    return tuple(f"{_braced(classes)} {_braced(list(permissions))}" for classes, permissions in by_permissions(access))


def _braced(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{{ {' '.join(names)} }}"
