"""Domains that differ in nothing but their names, and the same policy with no more than two of each kind.

What a policy says of labels, it says by sets that they are in and by naming them. Two domains are of one kind when they
can change places without any statement changing: they are in the same sets, nothing else names them, and what each
says of itself is the same. Then all of a kind can be permuted, and a statement about any two labels is true of the
whole policy exactly when it is true where two of each kind are left. Access is such a statement; so is every promise.

Proofs that ask about pairs of labels would grow with the square of the number of container types. This way they grow
with the square of the number of kinds, whatever is not alike being a kind by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from stockade.model.action import ActionCase, NeedsAccess
from stockade.model.container import ContainerType
from stockade.model.host import Constraint, Host, Labels, Part, Rule
from stockade.model.policy import Policy
from stockade.model.promise import LabelPromise, Promise, Waiver

_SELF = -1


@dataclass(frozen=True, slots=True)
class Kinds:
    """Label -> the first and the second of its kind; a label that is not there is a kind by itself."""

    first: Mapping[str, str] = field(default_factory=dict)
    second: Mapping[str, str] = field(default_factory=dict)

    def pair(self, one: str, other: str) -> tuple[str, str]:
        """Two labels that are to each other what these two are, from those that are left."""
        left, right = self.first.get(one, one), self.first.get(other, other)
        return (left, self.second[other]) if one != other and left == right else (left, right)

    @property
    def left_out(self) -> frozenset[str]:
        """The labels that others of their kind stand for."""
        return frozenset(self.first) - frozenset(self.first.values()) - frozenset(self.second.values())


def kinds(policy: Policy, more: Callable[[str], Hashable] | None = None) -> Kinds:
    """The kinds of the domains that container types declare; `more` says in what else they must be alike."""
    named = _named(policy)
    own = {s.label: s for s in policy.host.subjects.values() if s.declared_by and s.label not in named}
    numbers: dict[frozenset[str], int] = {}
    for labels in _sets(policy, own.keys()):
        numbers.setdefault(labels, len(numbers))
    of: dict[str, list[Hashable]] = {label: [subject.parent] for label, subject in own.items()}
    for labels, number in numbers.items():
        for label in labels & own.keys():
            of[label].append(number)
    said: dict[str, list[tuple[object, ...]]] = {label: [] for label in own}
    for rule in policy.host.rules:
        if label := _alone(rule.who, own.keys()):
            said[label].append((0, rule.access, rule.audit, *_terms(rule.what, label, numbers)))
    for promise in policy.promises.values():
        if isinstance(promise, LabelPromise) and (label := _alone(promise.who, own.keys())):
            said[label].append((1, promise.access, promise.own is None, *_terms(promise.what, label, numbers)))
    listed: dict[str, list[ContainerType]] = {}
    for container in policy.containers.values():
        listed.setdefault(container.domain, []).append(container)
    groups: dict[Hashable, list[str]] = {}
    for label in sorted(own):
        types = listed.get(label, [])
        layers = (
            frozenset().union(*(c.capabilities["bounding"] for c in types)),
            frozenset().union(*(c.sockets.families for c in types)),
            any(c.complains for c in types),
        )
        key = (tuple(of[label]), tuple(sorted(said[label])), layers, more(label) if more else None)
        groups.setdefault(key, []).append(label)
    many = [group for group in groups.values() if len(group) > 2]
    return Kinds(
        {label: group[0] for group in many for label in group},
        {label: group[1] for group in many for label in group},
    )


def few(policy: Policy, known: Kinds) -> Policy:
    """The policy without the domains that others stand for, and without the container types that have them."""
    gone = known.left_out
    if not gone:
        return policy
    smaller: dict[frozenset[str], frozenset[str]] = {}

    def rest(labels: frozenset[str]) -> frozenset[str]:
        if labels not in smaller:
            smaller[labels] = labels if labels.isdisjoint(gone) else labels - gone
        return smaller[labels]

    def of(labels: Labels) -> Labels:
        return Labels(tuple(Part(p.name, rest(p.members), p.itself) for p in labels.parts), labels.but_itself)

    def of_constraint(found: Constraint) -> Constraint:
        return replace(found, any_of=tuple(replace(leaf, labels=rest(leaf.labels)) for leaf in found.any_of))

    def of_promise(found: Promise) -> Promise:
        return replace(found, who=of(found.who), what=of(found.what)) if isinstance(found, LabelPromise) else found

    def of_waiver(found: Waiver) -> Waiver:
        return replace(found, who=of(found.who), what=of(found.what))

    def of_action(found: ActionCase) -> ActionCase:
        ways = tuple(
            tuple(replace(need, targets=rest(need.targets)) if isinstance(need, NeedsAccess) else need for need in way)
            for way in found.ways
        )
        return replace(found, ways=ways)

    host = policy.host
    return replace(
        policy,
        host=replace(
            host,
            subjects={name: s for name, s in host.subjects.items() if s.label not in gone},
            sets={name: replace(found, labels=rest(found.labels)) for name, found in host.sets.items()},
            rules=tuple(
                replace(rule, who=of(rule.who), what=of(rule.what)) for rule in host.rules if not _alone(rule.who, gone)
            ),
            constraints=tuple(map(of_constraint, host.constraints)),
        ),
        containers={name: c for name, c in policy.containers.items() if c.domain not in gone},
        promises={
            name: of_promise(promise)
            for name, promise in policy.promises.items()
            if not isinstance(promise, LabelPromise) or not _alone(promise.who, gone)
        },
        actions={name: of_action(action) for name, action in policy.actions.items()},
        waivers={name: of_waiver(waiver) for name, waiver in policy.waivers.items()},
    )


def _alone(who: Labels, labels: Container[str]) -> str:
    """The one of `labels` that a statement is about, nothing for a statement about others or about more."""
    if len(who.parts) != 1 or len(who.parts[0].members) != 1:
        return ""
    (label,) = who.parts[0].members
    return label if label in labels else ""


def _terms(what: Labels, label: str, numbers: Mapping[frozenset[str], int]) -> Iterator[object]:
    """What a statement of `label` about itself is about, without its name."""
    yield what.but_itself
    yield tuple(sorted(_SELF if p.itself or p.members == {label} else numbers[p.members] for p in what.parts))


def _sets(policy: Policy, own: Container[str]) -> Iterator[frozenset[str]]:
    """Every set of labels in a statement but those of a domain that stands there for itself."""
    statements: list[Rule | LabelPromise | Waiver] = [*policy.host.rules, *policy.waivers.values()]
    statements += [promise for promise in policy.promises.values() if isinstance(promise, LabelPromise)]
    for statement in statements:
        label = "" if isinstance(statement, Waiver) else _alone(statement.who, own)
        for part in (*statement.what.parts, *(() if label else statement.who.parts)):
            if not label or part.members != {label}:
                yield part.members
    needs = (need for action in policy.actions.values() for way in action.ways for need in way)
    yield from (need.targets for need in needs if isinstance(need, NeedsAccess))
    yield from (found.labels for found in policy.host.sets.values())
    yield from (leaf.labels for constraint in policy.host.constraints for leaf in constraint.any_of)


def _named(policy: Policy) -> frozenset[str]:
    """Labels that something names outright, so that they are like no other."""
    host: Host = policy.host
    subjects = {name: subject.label for name, subject in host.subjects.items()}
    names = {name for promise in policy.promises.values() for name in promise.silent_on}
    names |= {name for expectation in policy.expectations.values() for name in expectation.who}
    types = {c.extends for c in policy.containers.values() if c.extends} | {policy.default} | names
    found = {subjects[name] for name in names & subjects.keys()}
    found |= {policy.containers[name].domain for name in types & policy.containers.keys()}
    found |= {subject.parent for subject in host.subjects.values() if subject.parent}
    found |= {label for t in host.transitions for label in (t.who, t.source, t.target)}
    found |= {subject.label for subject in host.subjects.values() if subject.aliases}
    return frozenset(found | set(host.initial.values()) | {fs.label for fs in host.filesystems})
