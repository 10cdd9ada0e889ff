"""Widenings put into the CIL and compiled: what libsepol itself refuses, to hold the tables of promises against."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from stockade.model.access import spell
from stockade.prove.mutation import Mutation
from stockade.selinux.libsepol import refused_lines

AT_ONCE = 2000
"""Widenings in one compilation: libsepol names every rule that a neverallow refuses, so they do not hide each other."""


def refused(
    verbs: Mapping[str, int], cil: Sequence[tuple[str, bytes]], widenings: Sequence[Mutation]
) -> Iterator[Mutation]:
    """Those of `widenings` that libsepol refuses when they are added to `cil`, which must compile by itself.

    `verbs` is name -> access mask. CilError where something else than a neverallow is the reason.
    """
    for start in range(0, len(widenings), AT_ONCE):
        batch = widenings[start : start + AT_ONCE]
        lines = refused_lines(cil, "".join(_line(verbs[one.verb], one) for one in batch).encode())
        yield from (one for number, one in enumerate(batch, 1) if number in lines)


def _line(access: int, one: Mutation) -> str:
    """CIL that gives the widening's whole verb, on one line."""
    rules: Iterable[str] = (
        f"(allow {one.subject} {one.target} ({name} ({' '.join(permissions)})))"
        for name, permissions in spell(access).items()
    )
    return " ".join(rules) + "\n"
