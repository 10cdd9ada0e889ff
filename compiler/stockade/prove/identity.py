"""The parts of a kernel policy that no rule speaks of: users, roles, levels, aliases, defaults, unreported denials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stockade.model.classes import FILES
from stockade.model.grants import Grants, unreported
from stockade.model.host import PROCESS_ROLE, USER, Host, Object, Subject
from stockade.model.policy import Policy
from stockade.selinux.binary import Binary
from stockade.selinux.binary_values import User

INODES = FILES | {"fd", "filesystem", "io_uring"}
"""Classes whose new objects take the level of where they are made."""


def identity_faults(policy: Policy, binary: Binary, small: Host, quiet: Grants) -> Iterator[str]:
    """Every way in which these parts are not what the source says; empty when they are.

    `small` is the host with labels enough to stand for all of them, `quiet` what between these is denied without
    a record.
    """
    for what, (wanted, found) in _parts(policy.host, binary, small, quiet).items():
        if wanted != found:
            yield f"the kernel policy has other {what} than the source: {_difference(wanted, found)}"


def _parts(host: Host, binary: Binary, small: Host, quiet: Grants) -> dict[str, tuple[Any, Any]]:
    top = f"c{host.categories - 1}"
    things: list[Subject | Object] = [*host.subjects.values(), *host.objects.values()]
    roles = {role: types for role, types in binary.roles.items() if role != "object_r"}
    return {
        "users": ({USER: User(frozenset([PROCESS_ROLE]), "s0", "s0", f"s0:c0.{top}")}, dict(binary.users)),
        "roles": ({PROCESS_ROLE: host.subject_labels}, roles),
        "changes of role": ((frozenset(), ()), (binary.role_allow, binary.role_transitions)),
        "sensitivities": (("s0",), binary.sensitivities),
        "categories": (tuple(f"c{number}" for number in range(host.categories)), binary.categories),
        "aliases": ({alias: t.label for t in things for alias in t.aliases}, dict(binary.aliases)),
        "bounds": ({}, dict(binary.bounded)),
        "rules on single ioctls": ((), binary.extended),
        "defaults": (
            sorted(("default_range", name, "target", "low_high") for name in INODES),
            sorted(tuple(default) for default in binary.defaults),
        ),
        "denials without a record": (unreported(small), dict(quiet)),
        "kinds of transition": (
            frozenset(),
            {t.kind for t in binary.type_transitions if t.kind != "type_transition"}
            | {t.tclass for t in binary.range_transitions if t.tclass != "process"},
        ),
    }


def _difference(wanted: Any, found: Any) -> str:
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return ", ".join(str(key) for key in sorted(wanted.keys() | found.keys()) if wanted.get(key) != found.get(key))
    return f"{found}"[:200]
