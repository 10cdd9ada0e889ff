"""Changed constraints, decided: contexts for which one policy's conditions hold and the other's do not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Final

from stockade.prove.changes import Change, Effect
from stockade.prove.subjects import Pattern, World
from stockade.selinux.constraints import Operand, fold
from stockade.selinux.policydb_values import Policydb

Postfix = tuple[str | frozenset[str], ...]
Leaf = tuple[str, str, str | frozenset[str]]
"""A comparison: operand, operator, and another operand or a set of names."""
_MOST_LEAVES: Final = 14


@dataclass(frozen=True)
class Formula:
    """A condition over `leaves`; `value` takes their truth, by leaf."""

    leaves: frozenset[Leaf]
    value: Callable[[Mapping[Leaf, bool]], bool]


def constraints(old: Policydb, new: Policydb) -> Iterator[Change]:
    """Each group of permissions of a class whose constraints changed in meaning, with a witness for each direction.

    What is written differently and means the same is no change. Where neither can be shown, the change is reported
    without a witness.
    """
    before, after = _by_permission(old), _by_permission(new)
    groups: dict[tuple[str, bool, frozenset[Postfix], frozenset[Postfix]], list[str]] = defaultdict(list)
    for key in sorted(before.keys() | after.keys()):
        tclass, validate, permission = key
        one, two = before.get(key, frozenset()), after.get(key, frozenset())
        if one != two:
            groups[tclass, validate, one, two].append(permission)
    if not groups:
        return
    world = World(old, new)
    decided: dict[tuple[bool, frozenset[Postfix], frozenset[Postfix]], tuple[tuple[str, ...] | None, ...] | None] = {}
    for (tclass, validate, one, two), permissions in groups.items():
        case = (validate, one, two)
        if case not in decided:
            decided[case] = _decide(world, *case)
        found = decided[case]
        if found is None:
            continue
        what = "validatetrans" if validate else "constraint"
        name = tclass if validate else f"{tclass} {{ {' '.join(permissions)} }}"
        texts = _text(one), _text(two)
        for witness, effect in zip(found, (Effect.WIDENS, Effect.NARROWS), strict=True):
            if witness is not None:
                yield Change(what, name, *texts, effect, witness)
        if not any(found):
            yield Change(what, name, *texts, Effect.CHANGES)


def _by_permission(policy: Policydb) -> dict[tuple[str, bool, str], frozenset[Postfix]]:
    found: dict[tuple[str, bool, str], set[Postfix]] = defaultdict(set)
    for constraint in policy.constraints:
        for permission in constraint.permissions or ("",):
            if constraint.validate or permission:
                found[constraint.tclass, constraint.validate, permission].add(constraint.postfix)
    return {key: frozenset(value) for key, value in found.items()}


def _decide(
    world: World, validate: bool, old: frozenset[Postfix], new: frozenset[Postfix]
) -> tuple[tuple[str, ...] | None, ...] | None:
    """(contexts that only `new` lets pass, contexts that only `old` does); None when both are proven alike."""
    one, two = _conjunction(old), _conjunction(new)
    leaves = sorted(one.leaves | two.leaves, key=repr)
    if len(leaves) <= _MOST_LEAVES and _alike(one, two, leaves):
        return None
    found: list[tuple[str, ...] | None] = [None, None]
    for pattern in world.patterns(leaves, 3 if validate else 2):
        given = one.value(pattern.truth), two.value(pattern.truth)
        if given[0] != given[1] and found[given[0]] is None:
            found[given[0]] = pattern.contexts
            if None not in found:
                break
    return tuple(found)


def _alike(one: Formula, two: Formula, leaves: list[Leaf]) -> bool:
    """Do both give the same for every truth of their leaves, possible or not?"""
    for row in product((False, True), repeat=len(leaves)):
        truth = dict(zip(leaves, row, strict=True))
        if one.value(truth) != two.value(truth):
            return False
    return True


def _conjunction(expressions: frozenset[Postfix]) -> Formula:
    formulas = [_formula(postfix) for postfix in expressions]
    leaves = frozenset[Leaf]().union(*(f.leaves for f in formulas))
    return Formula(leaves, lambda truth: all(f.value(truth) for f in formulas))


def _formula(postfix: Postfix) -> Formula:
    return fold(postfix, _leaf, _negated, _joined)


def _leaf(left: str, operator: str, right: str | frozenset[str]) -> Formula:
    leaf = (left, "==" if operator == "!=" else operator, right)
    found = Formula(frozenset([leaf]), lambda truth: truth[leaf])
    return _negated(found) if operator == "!=" else found


def _negated(formula: Formula) -> Formula:
    return Formula(formula.leaves, lambda truth: not formula.value(truth))


def _joined(every: bool, one: Formula, two: Formula) -> Formula:
    if every:
        return Formula(one.leaves | two.leaves, lambda truth: one.value(truth) and two.value(truth))
    return Formula(one.leaves | two.leaves, lambda truth: one.value(truth) or two.value(truth))


def _text(expressions: frozenset[Postfix]) -> str | None:
    """The conditions in ordinary notation, in an order that does not depend on the file's; None when there are none."""
    return " and ".join(sorted(map(_infix, expressions))) or None


def _infix(postfix: Postfix) -> str:
    return fold(
        postfix,
        lambda left, operator, right: f"({left} {operator} {_operand(right)})",
        lambda one: f"not {one}",
        lambda every, one, two: f"({one} {'and' if every else 'or'} {two})",
    )


def _operand(right: Operand) -> str:
    return right if isinstance(right, str) else "{ " + " ".join(sorted(right)) + " }"


__all__ = ["Formula", "Pattern", "constraints"]
