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
    """The parent's `rules`, as they stand for a domain that narrows it.

    Every drop must take something away; `whole` is false where that cannot be told, because rules were left out.
    """
    assert domain.parent is not None
    effective = [False] * len(domain.drops)
    listed = capability_access(domain.capabilities) | family_access(domain.families)
    for rule in rules:
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
        if not part.itself and part.members == frozenset([domain.parent]):
            part = Part("self", frozenset(), itself=True)
        for rest, piece in _pieces(domain, part, access, rule.audit, effective):
            if rest != NOTHING:
                kept.setdefault(rest, []).append(piece)
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


def _pieces(domain: Domain, part: Part, access: int, audit: bool, effective: list[bool]) -> Iterator[tuple[int, Part]]:
    """What is left of `access` to the labels of a term, and to which of them: together the whole term, once each.

    A piece of several labels is a set with a name, so that what is written of it does not grow with the set.
    """
    whole = frozenset([domain.label]) if part.itself else part.members
    groups = [(whole, part.name, access)] if whole else []
    named = not part.itself
    for index, (dropped, what, *_) in enumerate(domain.drops):
        hit = what.members(domain.label)
        if not access & dropped or hit.isdisjoint(whole):
            continue
        # What depends on who acts is no set that others have too.
        named = named and not what.but_itself and not any(term.itself for term in what.parts)
        words = "-".join(sorted(term.name for term in what.parts))
        split = []
        for labels, name, rest in groups:
            if inside := labels & hit:
                effective[index] = effective[index] or (audit and bool(rest & dropped))
                split.append((inside, f"{name}-in-{words}" if inside != labels else name, rest & ~dropped))
            if outside := labels - hit:
                split.append((outside, f"{name}-but-{words}" if inside else name, rest))
        groups = split
    if len({rest for *_, rest in groups}) == 1:
        yield groups[0][2], part
        return
    for labels, name, rest in groups:
        if named and len(labels) > 1:
            yield rest, Part(name, labels)
        else:
            yield from ((rest, Part(label, frozenset([label]))) for label in sorted(labels))
