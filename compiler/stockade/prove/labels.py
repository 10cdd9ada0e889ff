"""Promises on labels, held against a table of access: the source's rules, or what a kernel policy really contains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from stockade.model.access import words
from stockade.model.finding import Finding
from stockade.model.grants import Grants, rules_for
from stockade.model.host import Host, Rule
from stockade.model.policy import Policy
from stockade.model.promise import LabelPromise

DERIVED = "promises/derived.yaml"
"""The file of a policy that `stockade check --derive` writes; what is in it is a promise like any other."""

REDERIVE = "a derived guard; where the change is meant, run `stockade check --derive`"


def label_promises(policy: Policy) -> Iterator[LabelPromise]:
    """The promises that speak of labels, by name."""
    return (p for p in policy.promises.values() if isinstance(p, LabelPromise))


def breaches(promise: LabelPromise, table: Grants) -> Iterator[tuple[str, str, int]]:
    """(subject, object, access) that the table gives and the promise denies, sorted."""
    members = frozenset().union(*(part.members for part in promise.who.parts))
    for subject in sorted(members):
        for target in sorted(promise.what.members(subject)):
            if given := table.get((subject, target), 0) & promise.access:
                yield subject, target, given


def broken_promises(policy: Policy, table: Grants) -> Iterator[Finding]:
    """Every rule that gives what a promise denies; one finding for each pair of rule and promise."""
    names = names_of(policy.host)
    for promise in label_promises(policy):
        seen: set[Rule] = set()
        for subject, target, given in breaches(promise, table):
            for rule in rules_for(policy.host, subject, target, given):
                if rule in seen:
                    continue
                seen.add(rule)
                by = f", as container type `{rule.origin}` has it" if rule.origin else ""
                verbs = _verbs(policy.host, rule.access & given) or words(rule.access & given, 2)
                yield Finding(
                    rule.at,
                    f"breaks promise `{promise.name}`: `{names[subject]}` may {verbs} `{names[target]}`{by}",
                    f"{REDERIVE}: {promise.at}"
                    if promise.at.file == DERIVED
                    else f"promised at {promise.at}: {promise.why}",
                )


def incomplete_promises(policy: Policy, table: Grants) -> Iterator[Finding]:
    """Subjects that a promise leaves out although it is true of them, and excuses that excuse nothing.

    A domain that narrows another counts as given what its parent is given: a type that keeps less than it might needs
    no promise that it will never keep more.
    """
    names = names_of(policy.host)
    parents = {s.label: s.parent for s in policy.host.subjects.values()}
    subjects = policy.host.subject_labels
    for promise in label_promises(policy):
        if promise.own:
            continue
        members = frozenset().union(*(part.members for part in promise.who.parts))
        universe = subjects if members <= subjects else subjects | policy.host.object_labels
        for label in sorted(universe - members):
            name = names[label]
            if name in promise.silent_on or _given(promise, table, label, parents):
                continue
            yield Finding(
                promise.who_at,
                f"promise `{promise.name}` leaves out `{name}`, of which it is true",
                REDERIVE if promise.at.file == DERIVED else f"name `{name}` too, or say under `silent-on` why not",
            )
        for name in promise.silent_on:
            label = policy.host.subjects[name].label
            if label in members:
                message = f"promise `{promise.name}` is silent on `{name}` and names it too"
                yield Finding(promise.at, message, "take it out of `silent-on`")
            elif _given(promise, table, label, parents):
                message = f"promise `{promise.name}` is silent on `{name}`, which is given what it denies"
                yield Finding(promise.at, message, "take it out of `silent-on`")


def names_of(host: Host) -> dict[str, str]:
    """Label -> the name by which the policy's author knows it."""
    names = {subject.label: subject.name for subject in host.subjects.values()}
    return names | {thing.label: thing.name for thing in host.objects.values()}


def _given(promise: LabelPromise, table: Grants, label: str, parents: Mapping[str, str | None]) -> bool:
    current: str | None = label
    while current is not None:
        if any(table.get((current, target), 0) & promise.access for target in promise.what.members(current)):
            return True
        current = parents.get(current)
    return False


def _verbs(host: Host, access: int) -> str:
    """The verbs that an access mask is made of, empty where it is not made of whole verbs."""
    found = [verb for verb in host.verbs.values() if access & verb.access == verb.access]
    covered = 0
    for verb in found:
        covered |= verb.access
    return " and ".join(verb.name for verb in found) if covered == access else ""
