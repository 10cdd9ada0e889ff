"""What the rules of a host add up to: the access every label has to every other, and which rules give it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from stockade.model.host import Host, Rule

Grants = Mapping[tuple[str, str], int]
"""(subject's label, object's label) -> access mask; pairs without access are absent."""


def grants(host: Host) -> dict[tuple[str, str], int]:
    """All access that the rules give, before constraints."""
    table: dict[tuple[str, str], int] = {}
    for rule in host.rules:
        if not rule.audit:
            continue
        access = rule.access
        for subject in members(rule):
            for target in rule.what.members(subject):
                key = (subject, target)
                table[key] = table.get(key, 0) | access
    return table


def unreported(host: Host) -> dict[tuple[str, str], int]:
    """What is denied without a record, by the rules that say so."""
    table: dict[tuple[str, str], int] = {}
    for rule in host.rules:
        for subject in members(rule) if not rule.audit else ():
            for target in rule.what.members(subject):
                table[subject, target] = table.get((subject, target), 0) | rule.access
    return table


def members(rule: Rule) -> frozenset[str]:
    """The labels that a rule gives its access to."""
    return frozenset().union(*(part.members for part in rule.who.parts))


def rules_for(host: Host, subject: str, target: str, access: int) -> Iterator[Rule]:
    """The rules that give `subject` some of `access` to `target`."""
    for rule in host.rules:
        if rule.audit and rule.access & access and subject in members(rule) and target in rule.what.members(subject):
            yield rule
