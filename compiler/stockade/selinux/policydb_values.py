"""What a kernel policy file holds, as read by `policydb`: numbers are the file's own, names are looked up by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Level(NamedTuple):
    """A sensitivity and categories by name; `categories` in the policy's order."""

    sensitivity: str
    categories: tuple[str, ...]


class Vector(NamedTuple):
    """One entry of the access vector table. `source` and `target` are values of types or attributes.

    `kind` is the rule's keyword; `data` is a bit set of permissions (of those not audited, for a dontaudit), the value
    of a type, or for an extended rule (which of the two forms, driver, 256 bits). `condition` indexes `conditions`,
    -1 for a rule that always holds.
    """

    kind: str
    source: int
    target: int
    tclass: int
    data: int | tuple[int, int, int]
    condition: int = -1


@dataclass(frozen=True, slots=True)
class Class:
    """A class: its permissions, own and common, each with the bit it stands for."""

    name: str
    permissions: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Role:
    """A role: the values of its types as bits (value 1 is bit 0), and the roles it dominates."""

    name: str
    types: int
    dominates: frozenset[str]


@dataclass(frozen=True, slots=True)
class Account:
    """A user: its roles, and under MLS its default level and its range as text."""

    roles: frozenset[str]
    level: str
    low: str
    high: str
    bounds: tuple[Level, Level] | None = None


@dataclass(frozen=True, slots=True)
class Constraint:
    """A constraint in postfix: operands such as `u1`, `t2`, `l1`, sets of names, and operators.

    `permissions` is empty for one on relabelling (`validatetrans`).
    """

    validate: bool
    tclass: str
    permissions: frozenset[str]
    postfix: tuple[str | frozenset[str], ...]


@dataclass(slots=True)
class Policydb:
    """A kernel policy. Dictionaries are keyed by value where a table refers to them, by name where none does."""

    version: int = 0
    mls: bool = False
    handle_unknown: str = "deny"
    capabilities: frozenset[str] = frozenset()
    types: dict[int, str] = field(default_factory=dict)
    attributes: dict[int, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    permissive: frozenset[str] = frozenset()
    bounded: dict[str, str] = field(default_factory=dict)
    member_of: dict[int, list[int]] = field(default_factory=dict)  # type -> its attributes and itself
    classes: dict[int, Class] = field(default_factory=dict)
    roles: dict[int, Role] = field(default_factory=dict)
    users: dict[str, Account] = field(default_factory=dict)
    booleans: dict[str, bool] = field(default_factory=dict)
    sensitivities: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    levels: dict[str, frozenset[str]] = field(default_factory=dict)
    constraints: list[Constraint] = field(default_factory=list)
    defaults: dict[tuple[str, str], str] = field(default_factory=dict)
    vectors: list[Vector] = field(default_factory=list)
    conditions: list[tuple[str, ...]] = field(default_factory=list)  # postfix over names and ! || && ^ == !=
    named_transitions: list[tuple[str, int, int, int, int]] = field(default_factory=list)
    range_transitions: list[tuple[int, int, int, str]] = field(default_factory=list)
    role_transitions: set[tuple[str, str, str, str]] = field(default_factory=set)
    role_allow: set[tuple[str, str]] = field(default_factory=set)
    contexts: dict[tuple[str, str], str] = field(default_factory=dict)  # (statement, what it labels) -> context
