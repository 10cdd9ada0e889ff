"""Access as a set of (class, permission) pairs, held in one integer so that whole policies compare in microseconds.

Bit `i` of a mask stands for the `i`-th pair of `PAIRS`. Union, intersection and difference are `|`, `&` and `& ~`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from stockade.model.classes import CLASSES

PAIRS: tuple[tuple[str, str], ...] = tuple(
    (name, permission) for name in sorted(CLASSES) for permission in sorted(CLASSES[name])
)
"""Every (class, permission) pair, sorted; the index of a pair is its bit."""

_BIT: Mapping[tuple[str, str], int] = {pair: 1 << index for index, pair in enumerate(PAIRS)}

CLASS_MASK: Mapping[str, int] = {
    name: sum(_BIT[name, permission] for permission in permissions) for name, permissions in CLASSES.items()
}
"""All permissions of a class as one mask."""

NOTHING = 0
EVERYTHING = (1 << len(PAIRS)) - 1


def pair(name: str, permission: str) -> int:
    """The mask of one (class, permission); `KeyError` when the kernel has no such pair."""
    return _BIT[name, permission]


def mask(name: str, permissions: Iterable[str]) -> int:
    """The mask of some permissions of one class; `KeyError` when one does not exist."""
    result = NOTHING
    for permission in permissions:
        result |= _BIT[name, permission]
    return result


def mask_of(names: Iterable[str], permission: str) -> int:
    """The mask of one permission in each of some classes."""
    result = NOTHING
    for name in names:
        result |= _BIT[name, permission]
    return result


def spell(access: int) -> dict[str, tuple[str, ...]]:
    """The classes of a mask, sorted, each with its sorted permissions."""
    return dict(_spelled(access))


@lru_cache(maxsize=4096)  # a policy has few different masks, and each is spelled for every pair that has it
def _spelled(access: int) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple(
        (name, tuple(p for p in sorted(CLASSES[name]) if access & _BIT[name, p]))
        for name, whole in sorted(CLASS_MASK.items())
        if access & whole
    )


def words(access: int, limit: int = 4) -> str:
    """A mask for a message: `file { read write }`, at most `limit` classes and then how many more."""
    spelled = spell(access)
    parts = [f"{name} {{ {' '.join(permissions)} }}" for name, permissions in list(spelled.items())[:limit]]
    more = len(spelled) - limit
    return ", ".join(parts) + (f" and {more} more class{'es' if more > 1 else ''}" if more > 0 else "")
