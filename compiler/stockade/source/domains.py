"""The SELinux side of container types: which domain each uses, what its layers allow it, and what it narrows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from stockade.model.access import NOTHING
from stockade.model.host import Labels, Part, Rule
from stockade.model.layers import capability_access, family_access
from stockade.model.names import CAPABILITIES, FAMILIES
from stockade.model.position import Position
from stockade.model.promise import LabelPromise
from stockade.source.diagnostics import Diagnostics


@dataclass(slots=True)
class Domain:
    """A domain that container types use; `subject` is its name among the subjects.

    `parent` is the label it narrows, `drops` what it gives up of the parent's access: (access, from what, where, why).
    `capabilities` and `families` are the union over the container types that use the domain.
    """

    name: str
    label: str
    subject: str
    why: str
    at: Position
    parent: str | None = None
    drops: list[tuple[int, Labels, Position, str]] = field(default_factory=list)
    capabilities: set[str] = field(default_factory=set)
    families: set[str] = field(default_factory=set)


def layer_access(domain: Domain, layer: str) -> int:
    """The SELinux access that goes with what the domain's container types list for another layer."""
    return capability_access(domain.capabilities) if layer == "capabilities" else family_access(domain.families)


_LAYERED = capability_access(CAPABILITIES) | family_access(FAMILIES)


def narrowed_rules(domain: Domain, rules: Sequence[Rule], report: Diagnostics, *, whole: bool = True) -> Iterator[Rule]:
    """The parent's rules as they stand for a domain that narrows it.

    Every drop must take something away; `whole` is false where that cannot be told, because rules were left out.
    """
    assert domain.parent is not None
    effective = [False] * len(domain.drops)
    listed = capability_access(domain.capabilities) | family_access(domain.families)
    for rule in rules:
        if not any(domain.parent in part.members for part in rule.who.parts):
            continue
        access = rule.access & (listed | ~_LAYERED)
        if access:
            yield from _without_drops(domain, rule, access, effective)
    for (_, what, at, _), used in zip(domain.drops, effective, strict=True):
        if not used and whole:
            report.error(at, f"takes nothing away: the parent has none of this on {what}")


def own_promises(domain: Domain, domains: Mapping[str, Domain], universe: frozenset[str]) -> Iterator[LabelPromise]:
    """What a domain that narrows another says of itself, as promises: its drops, and that its lists are whole.

    What those that it narrows have dropped is dropped here too; `domains` are all, by label.
    """
    if domain.parent is None:
        return
    everything = Labels((Part("everything", universe),))
    unlisted = _LAYERED & ~(capability_access(domain.capabilities) | family_access(domain.families))
    drops, above = list(domain.drops), domains.get(domain.parent)
    while above is not None:
        drops += above.drops
        above = domains.get(above.parent) if above.parent else None
    # Numbered by what they say, so that the order in which they are written changes no name.
    drops.sort(key=lambda drop: (drop[0], sorted(part.name for part in drop[1].parts), drop[3]))
    said = [(f"{number}", *drop) for number, drop in enumerate(drops, 1)]
    said += [("lists", unlisted, everything, domain.at, "It lists every capability and every kind of socket it has.")]
    for word, access, what, at, why in said:
        if access:
            yield LabelPromise(
                name=f"{domain.name}-may-not-{word}",
                who=Labels((Part(domain.subject, frozenset([domain.label])),)),
                what=what,
                access=access,
                verbs=(),
                silent_on={},
                who_at=at,
                own=domain.name,
                why=why,
                at=at,
            )


def _without_drops(domain: Domain, rule: Rule, access: int, effective: list[bool]) -> Iterator[Rule]:
    alone = Labels((Part(domain.subject, frozenset([domain.label])),))
    kept: dict[int, list[Part]] = {}
    for part in rule.what.parts:
        labels = frozenset([domain.label]) if part.itself else part.members
        if not part.itself and part.members == frozenset([domain.parent]):
            part, labels = Part("self", frozenset(), itself=True), frozenset([domain.label])
        rests: dict[int, list[str]] = {}
        for label in sorted(labels):
            rests.setdefault(_rest(domain, label, access, rule.audit, effective), []).append(label)
        for rest, members in rests.items():
            if rest == NOTHING:
                continue
            whole = len(rests) == 1
            kept.setdefault(rest, []).extend(
                [part] if whole else [Part(label, frozenset([label])) for label in members]
            )
    for rest, parts in kept.items():
        yield Rule(
            who=alone,
            what=Labels(tuple(parts), rule.what.but_itself),
            access=rest,
            verbs=rule.verbs if rest == rule.access else (),
            audit=rule.audit,
            origin=domain.name,
            why=rule.why,
            at=rule.at,
        )


def _rest(domain: Domain, label: str, access: int, audit: bool, effective: list[bool]) -> int:
    for index, (dropped, what, *_) in enumerate(domain.drops):
        if label in what.members(domain.label) and access & dropped:
            effective[index] = effective[index] or audit
            access &= ~dropped
    return access
