"""What a kernel policy says of each type, its own name left out: types of which it says the same."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from stockade.selinux.policydb import places
from stockade.selinux.policydb_values import Policydb

_ITSELF = 0  # no symbol has this number


def signatures(policy: Policydb) -> Mapping[str, Hashable]:
    """Type -> its signature. Types with the same one can change places without any decision changing.

    A type that a transition or a bound names has one that no other has. Attributes that no rule and no constraint
    speaks of tell nothing apart.
    """
    of: dict[int, list[tuple[object, ...]]] = {value: [] for value in policy.types}
    used: set[int] = set()
    named: set[int] = set()
    for kind, source, target, tclass, data, condition in policy.vectors:
        used.add(source)
        used.add(target)
        if source in of:
            of[source].append((kind, target if target != source else _ITSELF, tclass, data, condition))
        if target in of and target != source:
            of[target].append((kind, -source, tclass, data, condition))
        if kind.startswith("type_"):
            named |= {source, target}
            named.add(data if isinstance(data, int) else _ITSELF)
    for _, source, target, _, result in policy.named_transitions:
        named |= {source, target, result}
    for source, target, _, _ in policy.range_transitions:
        named |= {source, target}
    names = {name for pair in policy.bounded.items() for name in pair} | policy.permissive
    names |= {target for _, target, _, _ in policy.role_transitions}
    used |= named
    for value, symbols in policy.member_of.items():
        of[value] += [("in", symbol) for symbol in symbols if symbol in used and symbol != value]
    for number, role in enumerate(policy.roles.values()):
        for place in places(role.types):
            if place + 1 in of:
                of[place + 1].append(("role", number))
    values = {name: value for value, name in policy.types.items()}
    for number, constraint in enumerate(policy.constraints):
        for place_, operand in enumerate(constraint.postfix):
            for name in operand if isinstance(operand, frozenset) else ():
                if name in values:
                    of[values[name]].append(("constraint", number, place_))
    unlike = named | {values[name] for name in names if name in values}
    return {name: (frozenset(of[value]), name if value in unlike else "") for value, name in policy.types.items()}
