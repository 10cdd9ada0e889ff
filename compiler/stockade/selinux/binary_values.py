"""The plain values a kernel policy is read into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

Vectors = Mapping[tuple[str, str], Mapping[str, frozenset[str]]]
"""(source type, target type) -> class -> permissions."""


class Rule(NamedTuple):
    """An allow, auditallow or dontaudit rule as it stands in the policy: `source` and `target` may be attributes."""

    kind: str
    source: str
    target: str
    tclass: str
    perms: frozenset[str]
    condition: str = ""  # over booleans; empty when the rule always holds
    enabled: bool = True  # does it hold while the booleans have their defaults?


class TypeTransition(NamedTuple):
    """A type_transition, type_change or type_member of one type on one type; `name` is a file's, or empty for any."""

    kind: str
    source: str
    target: str
    tclass: str
    result: str
    name: str = ""


class RangeTransition(NamedTuple):
    """A range_transition of one type on one type; levels as in contexts, such as `s0:c0.c3`."""

    source: str
    target: str
    tclass: str
    low: str
    high: str


class RoleTransition(NamedTuple):
    """A role_transition of one role on one type."""

    source: str
    target: str
    tclass: str
    result: str


class Default(NamedTuple):
    """A default_user, default_role, default_type or default_range.

    `value` is source or target (or glblub, for a range), `part` is low, high or low_high for a range and else empty.
    """

    kind: str
    tclass: str
    value: str
    part: str = ""


class ExtendedRule(NamedTuple):
    """An allowxperm, auditallowxperm or dontauditxperm of one type on one type; `operation` is ioctl."""

    kind: str
    source: str
    target: str
    tclass: str
    operation: str
    values: frozenset[int]


@dataclass(frozen=True, slots=True)
class Constraint:
    """A constrain, mlsconstrain, validatetrans or mlsvalidatetrans (`perms` is empty for the last two).

    `postfix` is the expression in reverse Polish order: operands `u1 r2 t3 l1 h2 ...`, sets of names (types expanded),
    and operators `== != dom domby incomp not and or`. `text` is the statement for a person.
    """

    kind: str
    tclass: str
    perms: frozenset[str]
    postfix: tuple[str | frozenset[str], ...]
    text: str


@dataclass(frozen=True, slots=True)
class User:
    """A user: its roles (object_r, which every user has, is not listed) and, under MLS, default level and range."""

    roles: frozenset[str]
    level: str
    low: str
    high: str
