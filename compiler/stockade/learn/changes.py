"""What denials ask of a policy: rules, system calls of container types, and what no change of the source would give."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from stockade.learn.records import Access, Log, Place, Seen
from stockade.model.access import NOTHING, mask, spell, words
from stockade.model.classes import CLASSES
from stockade.model.grants import grants
from stockade.model.policy import Policy
from stockade.model.seccomp import ALLOWED
from stockade.prove.labels import DERIVED, label_promises


@dataclass(frozen=True, slots=True)
class NewRule:
    """A rule to be added: `who` may do `access` to each of `what`, by the names of the policy.

    `verbs` say it in the policy's words; with them goes what `more` has, which nobody asked for.
    """

    who: str
    what: tuple[str, ...]
    access: int
    verbs: tuple[str, ...]
    more: int
    count: int
    first: Place


@dataclass(frozen=True, slots=True)
class NewCalls:
    """System calls to be allowed to a container type, each with how often it was denied."""

    container: str
    calls: tuple[tuple[str, int], ...]
    first: Place


@dataclass(slots=True)
class Changes:
    """What would let everything pass that was denied, and what cannot; `refused` names the promises in the way.

    `strangers` are labels that the policy does not have: how many denials of each were passed over, and the first.
    """

    rules: list[NewRule] = field(default_factory=list)
    calls: list[NewCalls] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    unmoved: list[str] = field(default_factory=list)
    strangers: dict[str, Seen] = field(default_factory=dict)

    def pass_over(self, label: str, first: Place, count: int) -> None:
        """Count denials that are about a label which the policy does not have."""
        seen = self.strangers.setdefault(label, Seen(first))
        seen.first, seen.count = min(seen.first, first), seen.count + count


class Learner:
    """Turns a log into changes of one policy. `exact` writes permissions out in place of verbs."""

    def __init__(self, policy: Policy, exact: bool = False) -> None:
        self.policy = policy
        self.exact = exact
        self.table = grants(policy.host)
        host = policy.host
        self.subjects = {label: s.name for s in host.subjects.values() for label in (s.label, *s.aliases)}
        self.objects = {label: o.name for o in host.objects.values() for label in (o.label, *o.aliases)}
        self.labels = {label: s.label for s in host.subjects.values() for label in (s.label, *s.aliases)}
        self.labels |= {label: o.label for o in host.objects.values() for label in (o.label, *o.aliases)}
        self.recording = {c.domain for c in policy.containers.values() if c.records}
        """Labels whose every access is written down, so that a record of what a rule gives is no wonder."""
        self.parents = {s.label: s.parent for s in host.subjects.values() if s.parent is not None}

    def learn(self, log: Log, container: str | None) -> Changes:
        """The changes; `container` is whose calls they were where a record does not say."""
        found = Changes()
        self._rules(log, found)
        self._calls(log, container, found)
        return found

    def _rules(self, log: Log, found: Changes) -> None:
        pairs: dict[tuple[str, str], dict[Access, Seen]] = defaultdict(dict)
        for key, seen in log.access.items():
            pairs[key[:2]][key] = seen
        asked: dict[tuple[str, int], dict[str, Seen]] = defaultdict(dict)
        for (source, target), accesses in sorted(pairs.items()):
            first = min(seen.first for seen in accesses.values())
            if source not in self.subjects or target not in self.labels:
                self._stranger(source, target, first, _total(accesses), found)
                continue
            subject, thing = self.labels[source], self.labels[target]
            access = self._known(accesses, found)
            held = access & self.table.get((subject, thing), NOTHING)
            if held and subject not in self.recording:
                why = "levels or categories differ" if log.levels[source, target] else "the host runs another policy"
                found.unmoved.append(
                    f"{first}: a rule gives {self.subjects[source]} {words(held, 2)} on {self._name(thing)}: {why}"
                )
            if wanted := access & ~held:
                self._ask(subject, thing, wanted, Seen(first, _total(accesses)), asked, found)
        for (subject, access), targets in sorted(asked.items(), key=lambda item: min(item[1].items())[1].first):
            found.rules.append(self._rule(subject, access, targets))

    def _stranger(self, source: str, target: str, first: Place, count: int, found: Changes) -> None:
        """Note that a rule has no words for one of two labels: the policy lacks it, or it is no subject's."""
        for label in (source, target):
            if label not in self.labels:
                found.pass_over(label, first, count)
                return
        found.unmoved.append(f"{first}: {self._name(self.labels[source])} is no subject, and only subjects have rules")

    def _known(self, accesses: Iterable[Access], found: Changes) -> int:
        access = NOTHING
        for source, target, name, permission in accesses:
            if name in CLASSES and permission in CLASSES[name]:
                access |= mask(name, [permission])
            else:
                found.unmoved.append(f"{source} on {target}: the kernels of this policy have no {name} {permission}")
        return access

    def _ask(
        self,
        subject: str,
        thing: str,
        wanted: int,
        seen: Seen,
        asked: dict[tuple[str, int], dict[str, Seen]],
        found: Changes,
    ) -> None:
        """Note a wish, unless a promise that somebody wrote is in its way; what narrows another is given by that."""
        for promise in label_promises(self.policy):
            if promise.at.file == DERIVED:
                continue
            about = any(subject in part.members for part in promise.who.parts)
            if about and promise.access & wanted and thing in promise.what.members(subject):
                denied = f"{self.subjects[subject]} {words(promise.access & wanted, 2)} on {self._name(thing)}"
                found.refused.append(
                    f"{seen.first}: {denied} would break `{promise.name}`, promised at {promise.at}: {promise.why}"
                )
                return
        if subject in self.parents:
            kept = self.table.get((self.parents[subject], thing), NOTHING) & wanted
            name, parent = self.subjects[subject], self.subjects[self.parents[subject]]
            by = (
                f"its `may-not` takes {words(kept, 2)} away"
                if kept
                else f"`{parent}`, which it narrows, has it not either"
            )
            found.unmoved.append(f"{seen.first}: {name} {words(wanted, 2)} on {self._name(thing)}: {by}")
            return
        targets = asked[subject, wanted]
        earlier = targets.get(thing)
        targets[thing] = Seen(min(seen.first, earlier.first), seen.count + earlier.count) if earlier else seen

    def _rule(self, subject: str, access: int, targets: dict[str, Seen]) -> NewRule:
        verbs = () if self.exact else tuple(self._verbs(access))
        given = access
        for verb in verbs:
            given |= self.policy.host.verbs[verb].access & self._classes(access)
        return NewRule(
            who=self.subjects[subject],
            what=tuple(sorted(self._name(thing) if thing != subject else "self" for thing in targets)),
            access=access,
            verbs=verbs,
            more=given & ~access,
            count=sum(seen.count for seen in targets.values()),
            first=min(seen.first for seen in targets.values()),
        )

    def _verbs(self, access: int) -> Iterator[str]:
        """The verbs that access belongs to: every permission is in exactly one."""
        return (name for name, verb in self.policy.host.verbs.items() if verb.access & access)

    def _classes(self, access: int) -> int:
        whole = NOTHING
        for name in spell(access):
            whole |= mask(name, CLASSES[name])
        return whole

    def _name(self, label: str) -> str:
        return self.objects.get(label) or self.subjects[label]

    def _calls(self, log: Log, container: str | None, found: Changes) -> None:
        domains: dict[str, list[str]] = defaultdict(list)
        for name, one in self.policy.containers.items():
            domains[one.domain].append(name)
        asked: dict[str, dict[str, Seen]] = defaultdict(dict)
        for (label, call), seen in sorted(log.calls.items()):
            if label and label not in self.labels:
                found.pass_over(label, seen.first, seen.count)
                continue
            names = domains.get(self.labels.get(label, label), [])
            if container and (not names or container in names):  # the runtime starts it, in a label of its own
                names = [container]
            if len(names) != 1:
                whose = (
                    f"types {', '.join(names)} share the label {label}" if names else f"no type has the label {label!r}"
                )
                found.unmoved.append(f"{seen.first}: {call} was denied, and {whose}: say whose it was with --type")
                continue
            whose_calls = self.policy.containers[names[0]]
            rules = [rule for rule in whose_calls.syscalls.rules if rule.call == call]
            if whose_calls.records and any(rule.verdict == ALLOWED for rule in rules):
                continue  # it writes down what it allows
            if rules:
                found.unmoved.append(f"{seen.first}: {call} is decided by an entry at {rules[0].at}: {rules[0].why}")
            else:
                asked[names[0]][call] = seen
        for name, calls in sorted(asked.items()):
            listed = tuple((call, seen.count) for call, seen in sorted(calls.items()))
            found.calls.append(NewCalls(name, listed, min(seen.first for seen in calls.values())))


def _total(accesses: dict[Access, Seen]) -> int:
    return sum(seen.count for seen in accesses.values())
