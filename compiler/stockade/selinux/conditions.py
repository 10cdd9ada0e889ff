"""Conditions over booleans, compared as functions: two that are written differently may mean the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Final

_MOST: Final = 16


class ConditionError(Exception):
    """A condition on more booleans than can be decided."""


@dataclass(frozen=True, slots=True, order=True)
class Condition:
    """A function of the booleans `names` (sorted, none without influence).

    Bit `i` of `table` is its value where the booleans are the binary digits of `i`, the first name the highest digit.
    """

    names: tuple[str, ...]
    table: int

    def holds(self, values: Mapping[str, bool]) -> bool:
        """Its value; `values` gives every boolean in `names`."""
        row = 0
        for name in self.names:
            row = 2 * row + values[name]
        return bool(self.table >> row & 1)

    def __str__(self) -> str:
        """The rows that make it true, as a sentence of `and` and `or`; empty when it always is."""
        if self == ALWAYS:
            return ""
        said = []
        for row in product((False, True), repeat=len(self.names)):
            values = dict(zip(self.names, row, strict=True))
            if self.holds(values):
                said.append(" and ".join(name if on else f"not {name}" for name, on in values.items()))
        return " or ".join(f"({one})" for one in said) if len(said) > 1 else said[0] if said else "never"


ALWAYS = Condition((), 1)
NEVER = Condition((), 0)


def condition(postfix: Iterable[str]) -> Condition:
    """The function that a postfix expression over booleans and `! || && ^ == !=` computes."""
    stack: list[Condition] = []
    for token in postfix:
        if token == "!":
            stack.append(only(ALWAYS, stack.pop()))
        elif token in _OPERATORS:
            right, left = stack.pop(), stack.pop()
            stack.append(_joined(token, left, right))
        else:
            stack.append(Condition((token,), 2))
    (result,) = stack
    return result


def any_of(conditions: Iterable[Condition]) -> Condition:
    """True where one of them is; never when there are none."""
    total = NEVER
    for one in conditions:
        total = ALWAYS if ALWAYS in (one, total) else _joined("||", total, one)
    return total


def only(left: Condition, right: Condition) -> Condition:
    """True where `left` is and `right` is not."""
    return _joined(">", left, right)


_OPERATORS: Final[dict[str, Callable[[bool, bool], bool]]] = {
    "||": lambda a, b: a or b,
    "&&": lambda a, b: a and b,
    "^": lambda a, b: a != b,
    "!=": lambda a, b: a != b,
    "==": lambda a, b: a == b,
    ">": lambda a, b: a and not b,
}


@lru_cache(maxsize=65536)
def _joined(operator: str, left: Condition, right: Condition) -> Condition:
    names = sorted({*left.names, *right.names})
    if len(names) > _MOST:
        raise ConditionError(f"a condition on {len(names)} booleans: {', '.join(names)}")
    apply = _OPERATORS[operator]
    settings = (dict(zip(names, row, strict=True)) for row in product((False, True), repeat=len(names)))
    rows = [apply(left.holds(values), right.holds(values)) for values in settings]
    for name in tuple(names):
        step = 1 << (len(names) - 1 - names.index(name))
        if all(rows[n] == rows[n ^ step] for n in range(len(rows))):
            rows = [value for n, value in enumerate(rows) if not n & step]
            names.remove(name)
    return Condition(tuple(names), sum(1 << n for n, value in enumerate(rows) if value))
