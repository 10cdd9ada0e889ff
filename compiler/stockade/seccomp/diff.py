"""What one judge of system calls answers otherwise than another, for every call there is, with a witness each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from stockade.model.seccomp import Action, Verdict
from stockade.seccomp.judge import Judge, everywhere, spell
from stockade.seccomp.regions import witness

GIVEN = {Action.ALLOW: 2, Action.LOG: 2, Action.TRACE: 1, Action.NOTIFY: 1}
"""How far an action lets a call through: fully, or where a tracer or a supervisor wants it; every other not at all."""


class Kind(StrEnum):
    """What happened to a call, or to some of its arguments."""

    WIDENED = "widened"
    NARROWED = "narrowed"
    ERRNO = "errno"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Difference:
    """A call whose answer changed from `old` to `new` on `archs`; `witness` is one instance, on the first of them.

    `call` is None for numbers without a name; `archs` is empty for architectures that the table does not have.
    """

    kind: Kind
    call: str | None
    archs: tuple[str, ...]
    old: Verdict
    new: Verdict
    witness: str


def compare(old: Judge, new: Judge) -> list[Difference]:
    """Every difference, exact over all architectures, numbers and arguments: wideners first, then by name.

    One entry for each call and pair of answers. Unprovable where a raw filter cannot be followed.
    """
    found: dict[tuple[bool, str | None, Verdict, Verdict], tuple[list[str], str]] = {}
    for place in everywhere():
        for coarse in old.parts(place):
            for region in new.parts(place._replace(region=coarse)):
                words = witness(region)
                before, after = old.decide(place, words), new.decide(place, words)
                if before == after:
                    continue
                key = (place.arch is None, place.call, before, after)
                if key not in found:
                    found[key] = ([], spell(place, words))
                archs, _ = found[key]
                if place.arch and place.arch not in archs:
                    archs.append(place.arch)
    differences = [
        Difference(kind_of(before, after), call, tuple(archs), before, after, said)
        for (_, call, before, after), (archs, said) in found.items()
    ]
    order = list(Kind)
    return sorted(differences, key=lambda one: (order.index(one.kind), one.call or "~", str(one.old), str(one.new)))


def kind_of(old: Verdict, new: Verdict) -> Kind:
    """Which way an answer moved; `changed` where it lets as much through as before but does it differently."""
    before, after = GIVEN.get(old.action, 0), GIVEN.get(new.action, 0)
    if after != before:
        return Kind.WIDENED if after > before else Kind.NARROWED
    return Kind.ERRNO if old.action is new.action is Action.ERRNO else Kind.CHANGED
