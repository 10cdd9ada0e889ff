"""What two policies' rules relate (type to type, under a label), compared without expanding what is equal.

A policy writes its rules on attributes. Rules whose attributes have the same members, whatever their names, cancel;
the others are looked at as bit sets of targets, for all sources that have the same rules at once. Only what differs is
ever spelled out type by type. The result is exact: each candidate is held against all rules of the other policy.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from stockade.selinux.conditions import ALWAYS, Condition, any_of, only
from stockade.selinux.policydb import places
from stockade.selinux.policydb_values import Policydb


class Label(NamedTuple):
    """What a rule says of its types: its keyword, a class, and what else tells rules apart (a file's name)."""

    kind: str
    tclass: str
    detail: str = ""


class Meaning(NamedTuple):
    """What a rule gives: the bits `mask` under a label, while a condition holds."""

    label: Label
    mask: int
    condition: Condition


Fact = tuple[int, int, int]
"""A rule: the values of its source and target, types or attributes, and the number of its meaning."""


class Changed(NamedTuple):
    """Bits that one policy relates a pair of types by and the other does not, and the condition under which."""

    source: str
    target: str
    label: Label
    mask: int
    condition: Condition


_Family = dict[Condition, dict[int, int]]  # condition -> mask -> targets
_SHIFT, _LOW = (
    32,
    (1 << 32) - 1,
)  # an item is one integer: the number of a meaning, then in the low bits that of a set of targets


@dataclass
class _Side:
    """One policy's rules, by source symbol, with targets as bits over the types that both policies have."""

    policy: Policydb
    facts: list[Fact]
    meanings: list[Meaning]

    def __post_init__(self) -> None:
        self.values = {name: value for value, name in self.policy.types.items()}

    def prepare(self, common: list[str], sets: dict[int, int], rows: dict[frozenset[int], int]) -> None:
        """Give equal sets of targets equal numbers, and then equal sets of rules."""
        members: dict[int, list[int]] = defaultdict(list)
        self.symbols: list[list[int]] = []
        for index, name in enumerate(common):
            symbols = self.policy.member_of[self.values[name]]
            self.symbols.append(symbols)
            for symbol in symbols:
                members[symbol].append(index)
        number = {symbol: sets.setdefault(bits, len(sets)) for symbol, bits in _all_bits(members)}
        by_source: dict[int, set[int]] = defaultdict(set)
        for source, target, meaning in self.facts:
            if target in number and source in number:
                by_source[source].add(meaning << _SHIFT | number[target])
        self.row = {}
        self.items = {}
        for source, found in by_source.items():
            frozen = frozenset(found)
            row = rows.setdefault(frozen, len(rows))
            self.row[source] = row
            self.items[row] = frozen

    def rows_of(self, index: int) -> frozenset[int]:
        return frozenset(self.row[symbol] for symbol in self.symbols[index] if symbol in self.row)

    def gather(self, rows: Iterable[int]) -> set[int]:
        found: set[int] = set()
        for row in rows:
            found |= self.items[row]
        return found

    def only_here(self, names: set[str]) -> Iterator[tuple[str, str, Label, int, Condition]]:
        """Every fact on a type that the other policy has not, spelled out."""
        if not names:
            return
        types = self.policy.types
        wanted = {symbol for name in names for symbol in self.policy.member_of[self.values[name]]}
        members: dict[int, list[str]] = defaultdict(list)
        for value, symbols in self.policy.member_of.items():
            for symbol in symbols:
                members[symbol].append(types[value])
        new = {symbol: [name for name in found if name in names] for symbol, found in members.items()}
        for source, target, number in self.facts:
            if source not in wanted and target not in wanted:
                continue
            label, mask, condition = self.meanings[number]
            for one in new.get(source, ()):
                for other in members.get(target, ()):
                    yield one, other, label, mask, condition
            for other in new.get(target, ()):
                for one in members.get(source, ()):
                    if one not in names:
                        yield one, other, label, mask, condition


def _all_bits(members: Mapping[int, list[int]]) -> Iterator[tuple[int, int]]:
    for symbol, found in members.items():
        yield symbol, _bits(found)


def _bits(found: list[int]) -> int:
    if len(found) < 4:
        return sum(1 << n for n in found)
    table = bytearray(found[-1] // 8 + 1)
    for n in found:
        table[n >> 3] |= 1 << (n & 7)
    return int.from_bytes(table, "little")


def compare(
    old: tuple[Policydb, list[Fact]], new: tuple[Policydb, list[Fact]], meanings: list[Meaning]
) -> tuple[list[Changed], list[Changed]]:
    """(what `new` relates and `old` does not, the reverse), each sorted; a pair, label and condition occur once."""
    sides = _Side(*old, meanings), _Side(*new, meanings)
    common = sorted(sides[0].values.keys() & sides[1].values.keys())
    numbers: dict[int, int] = {}
    rows: dict[frozenset[int], int] = {}
    for side in sides:
        side.prepare(common, numbers, rows)
    sets = list(numbers)
    of_label: dict[Label, set[int]] = defaultdict(set)
    for number, meaning in enumerate(meanings):
        of_label[meaning.label].add(number)
    groups: dict[tuple[frozenset[int], frozenset[int]], list[int]] = defaultdict(list)
    for index in range(len(common)):
        pair = sides[0].rows_of(index), sides[1].rows_of(index)
        if pair[0] != pair[1]:
            groups[pair].append(index)
    found = _Result(), _Result()
    for (before, after), sources in groups.items():
        whole = [sides[0].gather(before), sides[1].gather(after)]
        if whole[0] == whole[1]:
            continue
        touched = {meanings[n >> _SHIFT].label for n in whole[0] ^ whole[1]}
        wanted = frozenset[int]().union(*(of_label[label] for label in touched))
        families = [_families(meanings, sets, items, wanted) for items in whole]
        for label in touched:
            for is_new, targets, mask, condition in _differences(
                families[0].get(label, {}), families[1].get(label, {})
            ):
                for target in places(targets):
                    for source in sources:
                        found[not is_new].add(common[source], common[target], label, mask, condition)
    for number, side in enumerate(sides):
        for one, other, label, mask, condition in side.only_here(set(side.values) - set(common)):
            found[not number].add(one, other, label, mask, condition)
    return found[0].sorted(), found[1].sorted()


def _families(
    meanings: list[Meaning], sets: list[int], items: set[int], wanted: frozenset[int]
) -> dict[Label, _Family]:
    found: dict[Label, _Family] = {}
    for item in items:
        if (number := item >> _SHIFT) in wanted:
            label, mask, condition = meanings[number]
            by_mask = found.setdefault(label, {}).setdefault(condition, {})
            by_mask[mask] = by_mask.get(mask, 0) | sets[item & _LOW]
    return found


def _differences(old: _Family, new: _Family) -> Iterator[tuple[bool, int, int, Condition]]:
    """(is it new's, targets, one bit, condition) for all that one family gives and the other does not."""
    bits = 0
    for family in (old, new):
        for by_mask in family.values():
            for mask in by_mask:
                bits |= mask
    for place in places(bits):
        bit = 1 << place
        one, two = _targets(old, bit), _targets(new, bit)
        if one == two:
            continue
        changed = 0
        for condition in one.keys() | two.keys():
            changed |= one.get(condition, 0) ^ two.get(condition, 0)
        if one.keys() | two.keys() <= {ALWAYS}:
            before, after = one.get(ALWAYS, 0), two.get(ALWAYS, 0)
            if gained := after & ~before:
                yield True, gained, bit, ALWAYS
            if lost := before & ~after:
                yield False, lost, bit, ALWAYS
            continue
        for target in places(changed):
            here = 1 << target
            before_, after_ = (any_of(c for c, t in side.items() if t & here) for side in (one, two))
            for is_new, more in ((True, only(after_, before_)), (False, only(before_, after_))):
                if more.table:
                    yield is_new, here, bit, more


def _targets(family: _Family, bit: int) -> dict[Condition, int]:
    found: dict[Condition, int] = {}
    for condition, by_mask in family.items():
        for mask, targets in by_mask.items():
            if mask & bit:
                found[condition] = found.get(condition, 0) | targets
    return found


class _Result:
    """Changes, gathered so that each pair and label has one entry for each condition."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str, Label, Condition], int] = {}

    def add(self, source: str, target: str, label: Label, mask: int, condition: Condition) -> None:
        key = source, target, label, condition
        self.found[key] = self.found.get(key, 0) | mask

    def sorted(self) -> list[Changed]:
        """Sorted, and without what a condition gives that is given anyway."""
        rows = []
        for (source, target, label, condition), mask in self.found.items():
            if condition != ALWAYS:
                mask &= ~self.found.get((source, target, label, ALWAYS), 0)
            if mask:
                rows.append(Changed(source, target, label, mask, condition))
        return sorted(rows)
