"""What became of a host between two times: of its facts, one by one, and of the verdicts on it. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from stockade.audit.facts.fact import Fact, Facts
from stockade.audit.report.model import Report, Result, Status

_RANK: Final = {
    Status.PASS: 4,
    Status.NOT_APPLICABLE: 3,
    Status.MANUAL: 3,
    Status.WAIVED: 2,
    Status.ERROR: 1,
    Status.FAIL: 0,
}
_KEYS: Final = ("point", "path", "id", "device", "name")
"""What tells one entry of a list from another, the first that all of them have and no two share."""
_HELD: Final = (Status.PASS, Status.NOT_APPLICABLE)
NOTHING: Final = "nothing"
_SHOWN: Final = 160
_PASSING: Final = {
    "processes": ("pid", "parent", "start"),
    "mounts": ("id", "parent"),
    **dict.fromkeys(("selinux.policy", "selinux.file"), ("zlib",)),
}
"""What another number each time says nothing of, or what another key of the same fact says in short."""


class Turn(StrEnum):
    """Which way a verdict went. What was not known, and what holds no longer, is never BETTER."""

    WORSE = "worse"
    BETTER = "better"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class FactChange:
    """A fact, or the part of it at `place` (a path of keys, empty for the whole), that is another now.

    `old` and `new` are plain JSON values; `was` and `now` say in a word what each is where it is no value: `nothing`
    for what was not there, else the outcome and its reason.
    """

    fact: str
    place: tuple[str, ...]
    old: Any
    new: Any
    was: str = ""
    now: str = ""

    def __str__(self) -> str:
        return f"{' '.join([self.fact, *self.place])}: {self.was or shown(self.old)}, now {self.now or shown(self.new)}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a side without a value has a reason instead."""
        old = {"was": self.was} if self.was else {"old": self.old}
        new = {"now": self.now} if self.now else {"new": self.new}
        return {"fact": self.fact, "place": list(self.place), **old, **new}


@dataclass(frozen=True, slots=True)
class RuleChange:
    """A verdict that is another now. `old` or `new` is empty where the rule was not judged then; `more` and `less` are
    the findings that came and went, `message` is the new one."""

    rule: str
    turn: Turn
    old: str
    new: str
    message: str = ""
    more: tuple[str, ...] = ()
    less: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = f"{self.rule}: {self.old or 'not judged'}, now {self.new or 'not judged'}"
        return f"{said}: {self.message}" if self.message else said

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "rule": self.rule,
            "turn": str(self.turn),
            "old": self.old,
            "new": self.new,
            "message": self.message,
            "findings": {"more": list(self.more), "less": list(self.less)},
        }


def facts(old: Facts, new: Facts) -> tuple[FactChange, ...]:
    """Every difference, sorted by fact. Numbers that the kernel gives anew each time (PIDs, mount ids) are none."""
    return tuple(
        change
        for name in sorted({*old.facts, *new.facts})
        for change in _fact(name, old.facts.get(name), new.facts.get(name))
    )


def _fact(name: str, old: Fact | None, new: Fact | None) -> Iterator[FactChange]:
    if old and new and old.known and new.known:
        yield from _parts(name, (), _lasting(name, old.value), _lasting(name, new.value))
        return
    was, now = _word(old), _word(new)
    if was != now:
        yield FactChange(name, (), old and old.value, new and new.value, was, now)


def _word(fact: Fact | None) -> str:
    if fact is None:
        return NOTHING
    return "" if fact.known else f"{fact.outcome} ({fact.why})" if fact.why else str(fact.outcome)


def _lasting(name: str, value: Any) -> Any:
    """A value without what changes each time."""
    passing = _PASSING.get(name, ())
    if isinstance(value, list):
        return [_lasting(name, one) for one in value]
    return {key: one for key, one in value.items() if key not in passing} if isinstance(value, dict) else value


def _parts(fact: str, place: tuple[str, ...], old: Any, new: Any) -> Iterator[FactChange]:
    """The differences of two values: of objects by key, of lists by what tells their entries apart."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            where = (*place, key)
            if key in old and key in new:
                yield from _parts(fact, where, old[key], new[key])
            elif key in old:
                yield FactChange(fact, where, old[key], None, now=NOTHING)
            else:
                yield FactChange(fact, where, None, new[key], was=NOTHING)
    elif isinstance(old, list) and isinstance(new, list):
        key = _key([*old, *new], old, new)
        if key:
            one, other = ({str(entry[key]): entry for entry in entries} for entries in (old, new))
            yield from _parts(fact, place, one, other)
        else:
            yield from _entries(fact, place, old, new)
    elif type(old) is not type(new) or old != new:  # 1 is not true
        yield FactChange(fact, place, old, new)


def _key(every: Sequence[Any], *lists: Sequence[Any]) -> str:
    """What tells the entries of these lists apart, or nothing."""
    if not all(isinstance(one, dict) for one in every):
        return ""
    for key in _KEYS:
        names = [[one.get(key) for one in entries] for entries in lists]
        if all(isinstance(name, str) for each in names for name in each) and all(len({*e}) == len(e) for e in names):
            return key
    return ""


def _entries(fact: str, place: tuple[str, ...], old: Sequence[Any], new: Sequence[Any]) -> Iterator[FactChange]:
    """Lists whose entries have no name: what is in one more often than in the other, else the order of plain values."""
    was, now = ([json.dumps(entry, sort_keys=True) for entry in entries] for entries in (old, new))
    one, other = Counter(was), Counter(now)
    for entry in sorted((one - other).elements()):
        yield FactChange(fact, place, json.loads(entry), None, now=NOTHING)
    for entry in sorted((other - one).elements()):
        yield FactChange(fact, place, None, json.loads(entry), was=NOTHING)
    if was != now and one == other and not all(isinstance(entry, dict) for entry in old):
        yield FactChange(fact, place, list(old), list(new))


def rules(old: Report, new: Report) -> tuple[RuleChange, ...]:
    """Every rule whose verdict, or whose findings, are others now, the worse first, then in the order of the rules."""
    before = {one.rule: one for one in old.results}
    after = {one.rule: one for one in new.results}
    found = [change for name in {**before, **after} for change in _rule(name, before.get(name), after.get(name))]
    return tuple(sorted(found, key=lambda change: list(Turn).index(change.turn)))


def _rule(name: str, old: Result | None, new: Result | None) -> Iterator[RuleChange]:
    was, now = (str(one.status) if one else "" for one in (old, new))
    more = tuple((Counter(new.findings if new else ()) - Counter(old.findings if old else ())).elements())
    less = tuple((Counter(old.findings if old else ()) - Counter(new.findings if new else ())).elements())
    told = bool(old and new and new.status not in _HELD and (old.digest, old.message) != (new.digest, new.message))
    if was != now or more or less or told:
        yield RuleChange(name, _turn(old, new, bool(more)), was, now, new.message if new else "", more, less)


def _turn(old: Result | None, new: Result | None, more: bool) -> Turn:
    if not (old and new):
        # A rule that held and is asked no longer hides what it would say now.
        lost = old is not None and old.status is Status.PASS
        return Turn.WORSE if lost or (new is not None and _RANK[new.status] < _RANK[Status.WAIVED]) else Turn.CHANGED
    change = _RANK[new.status] - _RANK[old.status]
    if change < 0 or (new.status is Status.FAIL and more):
        return Turn.WORSE
    return Turn.BETTER if change and _RANK[new.status] >= _RANK[Status.WAIVED] else Turn.CHANGED


def about(old: Report, new: Report) -> Iterator[str]:
    """What else is different: another host, profile, bundle or version, and how much of the host was judged."""
    pairs = [(f"host {key}", value, new.host.as_dict()[key]) for key, value in old.host.as_dict().items()]
    pairs += [("profile", old.profile, new.profile), ("bundle", old.bundle, new.bundle)]
    pairs += [("stockade", old.version, new.version), ("containers judged", _covered(old), _covered(new))]
    pairs += [("faults", "; ".join(old.faults), "; ".join(new.faults))]
    for name, was, now in pairs:
        if was != now:
            yield f"{name}: {was or 'none'}, now {now or 'none'}"


def _covered(report: Report) -> str:
    return f"{report.coverage.judged} of {report.coverage.found}" if report.coverage else ""


def less_covered(old: Report, new: Report) -> bool:
    """Are there more containers that were found and not judged?"""
    left = [one.coverage.found - one.coverage.judged if one.coverage else 0 for one in (old, new)]
    return left[1] > left[0] or (new.coverage is None and old.coverage is not None)


def shown(value: Any) -> str:
    """A value in a line, cut where it is long."""
    said = json.dumps(value, sort_keys=True)
    return said if len(said) <= _SHOWN else f"{said[: _SHOWN - 1]}…"
