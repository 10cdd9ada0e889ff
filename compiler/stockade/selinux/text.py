"""Small pieces of policy text that CIL and TE modules have in common: reasons, paths, contexts."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from functools import lru_cache

from stockade.model.access import spell
from stockade.model.host import OBJECT_ROLE, PROCESS_ROLE, USER, Verb
from stockade.model.position import Position

WIDTH = 120


def comment(mark: str, at: Position, why: str, before: str = "") -> list[str]:
    """A reason as comment lines: the place first, then the words; `mark` begins each line."""
    return list(_wrapped(mark, f"{at.file}:{at.line} {before}{why}"))


@lru_cache(maxsize=4096)  # the host's rules are repeated in the files of every container type
def _wrapped(mark: str, words: str) -> tuple[str, ...]:
    first, next_ = f"{mark} ", f"{mark}   "
    return tuple(textwrap.wrap(words, WIDTH, initial_indent=first, subsequent_indent=next_, break_long_words=False))


def regex(path: str) -> str:
    """A path with `*` wildcards as the regular expression that file contexts are written in."""
    return "[^/]*".join(re.sub(r"([.^$?+(){}|\[\]\\])", r"\\\1", piece) for piece in path.split("*"))


def role_of(label: str, subjects: frozenset[str]) -> str:
    """The role in a context: processes have one of their own, everything else is an object."""
    return PROCESS_ROLE if label in subjects else OBJECT_ROLE


def context(label: str, subjects: frozenset[str], level: str = "s0") -> str:
    """A full security context."""
    return f"{USER}:{role_of(label, subjects)}:{label}:{level}"


def by_permissions(access: int) -> Iterator[tuple[list[str], tuple[str, ...]]]:
    """The classes of an access mask, joined where their permissions are the same: (classes, permissions)."""
    yield from ((list(classes), permissions) for classes, permissions in _joined(access))


@lru_cache(maxsize=4096)
def _joined(access: int) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    joined: dict[tuple[str, ...], list[str]] = {}
    for name, permissions in spell(access).items():
        joined.setdefault(permissions, []).append(name)
    return tuple((tuple(classes), found) for found, classes in sorted(joined.items(), key=lambda item: item[1]))


def in_verbs(access: int, verbs: Iterable[Verb]) -> tuple[list[str], int]:
    """The verbs that an access mask contains whole, and what is left of it."""
    found = []
    for verb in verbs:
        if access & verb.access == verb.access:
            found.append(verb.name)
            access &= ~verb.access
    return found, access
