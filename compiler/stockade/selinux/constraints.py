"""Constraints of a kernel policy: their postfix form gone through, and made a test of contexts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from stockade.selinux.contexts import Context, Level, UnknownContext, dominates

Operand = str | frozenset[str]
"""A part of a context such as `u1`, `t2` or `h1` (of contexts 1, 2 and 3), or a set of names."""
Test = Callable[[tuple[Context, ...]], bool]
T = TypeVar("T")

COMPARISONS: Final = ("==", "!=", "dom", "domby", "incomp")
_FIELDS: Final = {"u": 0, "r": 1, "t": 2, "l": 3, "h": 4}
_LEVELS: Final[dict[str, Callable[[Level, Level], bool]]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "dom": dominates,
    "domby": lambda a, b: dominates(b, a),
    "incomp": lambda a, b: not dominates(a, b) and not dominates(b, a),
}


def fold(
    postfix: Iterable[Operand],
    compared: Callable[[str, str, Operand], T],
    negated: Callable[[T], T],
    joined: Callable[[bool, T, T], T],
) -> T:
    """What a constraint comes to.

    `compared` gives the meaning of a comparison from operand, operator and operand; `negated` that of `not`, `joined`
    that of `and` (true) and `or` (false).
    """
    stack: list[T] = []
    operands: list[Operand] = []
    for token in postfix:
        if isinstance(token, str) and token in COMPARISONS:
            right, left = operands.pop(), operands.pop()
            stack.append(compared(str(left), token, right))
        elif token == "not":
            stack.append(negated(stack.pop()))
        elif token in ("and", "or"):
            second, first = stack.pop(), stack.pop()
            stack.append(joined(token == "and", first, second))
        else:
            operands.append(token)
    (result,) = stack
    return result


def test_of(postfix: Iterable[Operand]) -> Test:
    """A constraint as a test of contexts: source and target, or old label, new label and the task that relabels.

    UnknownContext for one that compares roles by dominance.
    """
    return fold(postfix, _compared, _negated, _joined)


def _compared(left: str, operator: str, right: Operand) -> Test:
    field, place = _FIELDS[left[0]], int(left[1]) - 1
    if isinstance(right, frozenset):
        if operator not in ("==", "!="):
            raise UnknownContext(f"a constraint compares a set by {operator}, which has no meaning")
        return (lambda c: c[place][field] in right) if operator == "==" else (lambda c: c[place][field] not in right)
    other, at = _FIELDS[right[0]], int(right[1]) - 1
    if left[0] in "lh":
        relation = _LEVELS[operator]
        return lambda c: relation(c[place][field], c[at][other])  # type: ignore[arg-type]
    if operator in ("==", "!="):
        return lambda c: (c[place][field] == c[at][other]) == (operator == "==")
    raise UnknownContext(f"a constraint compares {left} and {right} by {operator}: role dominance is not supported")


def _negated(test: Test) -> Test:
    return lambda contexts: not test(contexts)


def _joined(every: bool, one: Test, two: Test) -> Test:
    if every:
        return lambda contexts: one(contexts) and two(contexts)
    return lambda contexts: one(contexts) or two(contexts)
