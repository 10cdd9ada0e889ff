"""Gives some types of a kernel policy file other rules, and puts each where libsepol would have written it.

libsepol writes its table of rules by hash, and within one hash by the numbers of source, target and class: the place of
a rule depends on no other rule. So the file that a compiler would write of a policy in which only the rules of some
types are others is the file that stands, with these rows exchanged. Whether it is in that order is looked at first.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Final, NamedTuple

from stockade.selinux.policydb import ROW, outline
from stockade.selinux.policydb_values import Policydb

_KINDS: Final = {"allow": 0x001, "auditallow": 0x002, "dontaudit": 0x004}
_BUCKETS: Final = 1 << 20
_ALL: Final = 0xFFFFFFFF
_COUNT: Final = struct.Struct("<I")


class Unlike(Exception):
    """Two kernel policies differ in more than the rules of some types, or rules are not where they were expected."""


class Row(NamedTuple):
    """A rule of the file: values of source, target and class, its kind as one bit, its permissions or a type."""

    source: int
    target: int
    tclass: int
    kind: int
    data: int

    @property
    def place(self) -> tuple[int, int, int, int]:
        """What libsepol orders rules by: the bucket of its table, and the order there. Rules of one key share it."""
        return _bucket(self), self.source, self.target, self.tclass


class Rules:
    """A kernel policy file whose rules are looked at where they are. PolicydbError for one that is not such a file."""

    def __init__(self, data: bytes, like: Rules | None = None) -> None:
        """Takes what is about no rule from `like`, where that is the same policy but for its rules."""
        self.data = data
        self.policy, self.rows = (like and like.around(data)) or outline(data)
        self._words = array("H", data[self.rows.start : self.rows.stop])
        if sys.byteorder == "big":
            self._words.byteswap()

    def around(self, data: bytes) -> tuple[Policydb, range] | None:
        """What `outline` says of `data`, known already where all but the rules is the same; None where it is not."""
        start, stop, more = self.rows.start, self.rows.stop, len(data) - len(self.data)
        before, after = slice(start - _COUNT.size), slice(stop, None)
        if more % ROW.size or data[before] != self.data[before] or data[stop + more :] != self.data[after]:
            return None
        (count,) = _COUNT.unpack_from(data, start - _COUNT.size)
        return (self.policy, range(start, stop + more, ROW.size)) if count * ROW.size == stop + more - start else None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Row:
        return Row._make(ROW.unpack_from(self.data, self.rows[number]))

    @cached_property
    def sources(self) -> list[int]:
        """The source of each rule."""
        return self._words[0 :: ROW.size // 2].tolist()

    @cached_property
    def targets(self) -> list[int]:
        """The target of each rule."""
        return self._words[1 :: ROW.size // 2].tolist()

    def vectors(self, kind: str, sources: Iterable[int]) -> Iterator[Row]:
        """The `allow` or `dontaudit` rules of these sources; `data` has the permissions that the rule speaks of."""
        for number in self.of(sources):
            row = self[number]
            if row.kind == _KINDS[kind]:
                # The file has what is still audited.
                yield row if kind == "allow" else row._replace(data=row.data ^ _ALL)

    def of(self, sources: Iterable[int]) -> list[int]:
        """The numbers of the rules whose source is one of these values, in the file's order."""
        wanted = frozenset(sources)
        return [number for number, source in enumerate(self.sources) if source in wanted]


def values(policy: Policydb) -> dict[str, int]:
    """The values of types and attributes by name."""
    return {name: value for table in (policy.types, policy.attributes) for value, name in table.items()}


def with_rules_of(standing: Rules, compiled: Rules, labels: Iterable[str]) -> bytes:
    """The policy `standing`, in which the types `labels` are the source of those rules alone that `compiled` has.

    `compiled` may have fewer types. Raises Unlike where it speaks of a symbol or class that `standing` has not, where
    an attribute would have no rule left that speaks of it (a compiler leaves it out then), and where the rules of
    `standing` are not in the order in which libsepol writes them.
    """
    old, new = values(standing.policy), values(compiled.policy)
    if standing.policy.classes != compiled.policy.classes:
        raise Unlike("the classes are others")
    wanted = sorted(labels)
    if missing := [label for label in wanted if label not in old or label not in new]:
        raise Unlike(f"no type is called {missing[0]}")
    gone = standing.of(old[label] for label in wanted)
    rows = _translated(compiled, new, old, wanted)
    _check_attributes(standing, gone, rows)
    _check_order(standing, gone)
    inserted: dict[int, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.place):
        inserted.setdefault(_place(standing, row), []).append(row)
    start, stop = standing.rows.start, standing.rows.stop
    pieces, at, left_out = [standing.data[: start - _COUNT.size]], 0, frozenset(gone)
    pieces.append(_COUNT.pack(len(standing) - len(gone) + len(rows)))
    for number in sorted(left_out | inserted.keys()):
        pieces.append(standing.data[start + at * ROW.size : start + number * ROW.size])
        pieces += [ROW.pack(*row) for row in inserted.get(number, ())]
        at = number + (number in left_out)
    return b"".join([*pieces, standing.data[start + at * ROW.size : stop], standing.data[stop:]])


def _translated(
    compiled: Rules, values_there: Mapping[str, int], values_here: Mapping[str, int], labels: Iterable[str]
) -> list[Row]:
    """The rules of some types, in the order in which they stand, with the values of the other policy."""
    names = {value: name for name, value in values_there.items()}
    rows = [compiled[number] for number in compiled.of(values_there[label] for label in labels)]
    if others := [row for row in rows if row.kind not in _KINDS.values()]:
        raise Unlike(f"a rule of {names[others[0].source]} is about no permission")
    here = {value: values_here.get(names[value], 0) for row in rows for value in (row.source, row.target)}
    if missing := sorted(names[value] for value, found in here.items() if not found):
        raise Unlike(f"a rule speaks of {missing[0]}, which is not there")
    return [row._replace(source=here[row.source], target=here[row.target]) for row in rows]


def _check_attributes(standing: Rules, gone: list[int], rows: list[Row]) -> None:
    """Unlike where the rules that go are the last that speak of an attribute."""
    left_out, kept = frozenset(gone), {row.target for row in rows}
    doubtful = {standing[n].target for n in gone} & standing.policy.attributes.keys() - kept
    if doubtful:
        spoken_of = {target for n, target in enumerate(standing.targets) if target in doubtful and n not in left_out}
        if unused := doubtful - spoken_of - set(standing.sources):
            raise Unlike(f"no rule speaks of {standing.policy.attributes[min(unused)]} any more")


def _check_order(standing: Rules, gone: list[int]) -> None:
    """Unlike where a rule is not at its place."""
    for number in gone:
        row = standing[number]
        found = _place(standing, row)
        if found > number or standing[found].place != row.place:
            raise Unlike("the rules are in another order than libsepol's")


def _place(standing: Rules, row: Row) -> int:
    """The number of the first rule that does not precede this one."""
    return bisect_left(range(len(standing)), row.place, key=lambda number: standing[number].place)


def _bucket(row: Row) -> int:
    """The slot of libsepol's table: MurmurHash3 of class, target and source."""
    total = 0
    for word in (row.tclass, row.target, row.source):
        mixed = word * 0xCC9E2D51 & _ALL
        mixed = (mixed << 15 | mixed >> 17) * 0x1B873593 & _ALL
        total ^= mixed
        total = ((total << 13 | total >> 19) & _ALL) * 5 + 0xE6546B64 & _ALL
    total = (total ^ total >> 16) * 0x85EBCA6B & _ALL
    total = (total ^ total >> 13) * 0xC2B2AE35 & _ALL
    return (total ^ total >> 16) & _BUCKETS - 1
