"""Mutation of the rules: every widening there could be, whether a promise refuses it, and what none speaks of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from stockade.model.access import words
from stockade.model.finding import Finding
from stockade.model.grants import Grants
from stockade.model.host import Host
from stockade.model.policy import Policy
from stockade.model.promise import LabelPromise, Waiver
from stockade.prove.labels import label_promises, names_of

Access = dict[tuple[str, str], int]


@dataclass(frozen=True, slots=True, order=True)
class Mutation:
    """A widening: `subject` gets all of `verb` on `target`; `silent` is what of it nothing gives or forbids."""

    verb: str
    subject: str
    target: str
    silent: int


@dataclass(frozen=True, slots=True)
class Score:
    """What became of every widening; `tried` and `rejected` count them by verb.

    `survivors` are those that no promise refuses, `partly` those refused for some of their permissions only: the rest
    could be given by itself. `waived` are those of both whose silence the policy states and explains.
    """

    tried: Mapping[str, int]
    rejected: Mapping[str, int]
    survivors: tuple[Mutation, ...]
    partly: tuple[Mutation, ...]
    waived: tuple[Mutation, ...]

    @property
    def total(self) -> int:
        """How many widenings there are."""
        return sum(self.tried.values())

    @property
    def share(self) -> float:
        """Widenings refused, among those that the policy does not waive; 1.0 is all of them."""
        waived = sum(self.tried.values()) - sum(self.rejected.values()) - len(self.survivors)
        counted = self.total - waived
        return sum(self.rejected.values()) / counted if counted else 1.0

    @property
    def silent(self) -> tuple[Mutation, ...]:
        """Everything of which nothing is said: what needs a promise, a guard or a waiver."""
        return tuple(sorted((*self.survivors, *self.partly)))


def measure(
    sources: Iterable[str],
    targets: Iterable[str],
    verbs: Mapping[str, int],
    given: Grants,
    forbidden: Grants,
    waived: Grants | None = None,
) -> Score:
    """Tries `verbs` (name -> access mask) of every source on every target where `given` has not the whole of it."""
    tried: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    survivors: list[Mutation] = []
    partly: list[Mutation] = []
    excused: list[Mutation] = []
    open_ = waived or {}

    @cache  # a policy has few distinct rows of access, however many labels it has
    def outcomes(has: int, denied: int) -> tuple[tuple[str, bool, int], ...]:
        missing = ((name, access, access & ~has) for name, access in verbs.items())
        return tuple((name, bool(access & denied), left & ~denied) for name, access, left in missing if left)

    rows: Counter[tuple[int, int]] = Counter()
    columns = sorted(targets)
    for subject in sorted(sources):
        for target in columns:
            pair = (subject, target)
            key = (given.get(pair, 0), forbidden.get(pair, 0))
            rows[key] += 1
            for name, refused, silent in outcomes(*key):
                if silent:
                    mutation = Mutation(name, subject, target, silent)
                    kept = silent & ~open_.get(pair, 0) == 0
                    (excused if kept else partly if refused else survivors).append(mutation)
    for key, count in rows.items():
        for name, refused, _ in outcomes(*key):
            tried[name] += count
            rejected[name] += count if refused else 0
    return Score(tried, rejected, tuple(sorted(survivors)), tuple(sorted(partly)), tuple(sorted(excused)))


def forbidden(policy: Policy) -> Access:
    """(subject, target) -> what promises on labels deny."""
    found: Access = {}
    for promise in label_promises(policy):
        for subject in frozenset[str]().union(*(part.members for part in promise.who.parts)):
            for target in promise.what.members(subject):
                pair = (subject, target)
                found[pair] = found.get(pair, 0) | promise.access
    return found


def score(policy: Policy, table: Grants) -> Score:
    """Every widening of the policy's rules; labels of files are tried as subjects too. `table` is `grants(host)`."""
    labels = policy.host.subject_labels | policy.host.object_labels
    waived: Access = {}
    for waiver in policy.waivers.values():
        for pair in _pairs(waiver):
            waived[pair] = waived.get(pair, 0) | waiver.access
    return measure(labels, labels, _verbs(policy.host), table, forbidden(policy), waived)


def rejected(policy: Policy, table: Grants) -> Iterator[Mutation]:
    """Every widening that a promise refuses, sorted; what is silent of it is with it."""
    verbs, denied = sorted(_verbs(policy.host).items()), forbidden(policy)
    labels = sorted(policy.host.subject_labels | policy.host.object_labels)
    for verb, access in verbs:
        for subject in labels:
            for target in labels:
                no = denied.get((subject, target), 0)
                if access & no:
                    yield Mutation(verb, subject, target, access & ~no & ~table.get((subject, target), 0))


def stale_waivers(policy: Policy, table: Grants) -> Iterator[Finding]:
    """Waivers that speak of what a promise forbids, or of what is given anyway."""
    if not policy.waivers:
        return
    names, denied = names_of(policy.host), forbidden(policy)
    for waiver in policy.waivers.values():
        for subject, target in sorted(_pairs(waiver)):
            who, what = names[subject], names[target]
            if clash := waiver.access & denied.get((subject, target), 0):
                promise = next(p for p in label_promises(policy) if p.access & clash and _speaks(p, subject, target))
                message = f"waiver `{waiver.name}` leaves open what promise `{promise.name}` forbids: "
                message += f"`{who}` on `{what}` {words(promise.access & clash, 2)}"
                yield Finding(waiver.at, message, f"promised at {promise.at}")
                break
            given = table.get((subject, target), 0)
            if whole := [step for step in waiver.steps if step & ~given == 0]:
                message = (
                    f"waiver `{waiver.name}` leaves open what rules give: `{who}` on `{what}` {words(whole[0], 2)}"
                )
                yield Finding(waiver.at, message, "take it out of the waiver")
                break


def unguarded(policy: Policy, table: Grants) -> Iterator[Finding]:
    """Where a policy asks for guards without a gap: what no rule gives, no promise forbids and no waiver names."""
    if not policy.complete:
        return
    for verb, who, what, some in grouped(policy.host, score(policy, table).silent):
        message = f"nothing forbids that {_listed(who)} may {some or verb} {_listed(what)}, and nothing gives it"
        yield Finding(policy.header, message, "promise it, waive it (`open`), or run `stockade check --derive`")


def grouped(host: Host, silent: Iterable[Mutation]) -> list[tuple[str, tuple[str, ...], tuple[str, ...], str]]:
    """(verb, subjects, objects, permissions) that widenings come to, by name; `self` is a subject's own label.

    The permissions are empty where the whole verb is meant.
    """
    names = names_of(host)
    reach: dict[tuple[str, int, str], set[str]] = {}
    for one in silent:
        target = "self" if one.target == one.subject else names[one.target]
        reach.setdefault((one.verb, one.silent, names[one.subject]), set()).add(target)
    blocks: dict[tuple[str, int, tuple[str, ...]], list[str]] = {}
    for (verb, mask, subject), targets in sorted(reach.items()):
        blocks.setdefault((verb, mask, tuple(sorted(targets))), []).append(subject)
    return [
        (verb, tuple(subjects), targets, "" if mask == host.verbs[verb].access else words(mask, 3))
        for (verb, mask, targets), subjects in sorted(blocks.items())
    ]


def _pairs(waiver: Waiver) -> Iterator[tuple[str, str]]:
    for subject in frozenset[str]().union(*(part.members for part in waiver.who.parts)):
        for target in waiver.what.members(subject):
            yield subject, target


def _speaks(promise: LabelPromise, subject: str, target: str) -> bool:
    return any(subject in part.members for part in promise.who.parts) and target in promise.what.members(subject)


def _verbs(host: Host) -> dict[str, int]:
    return {name: verb.access for name, verb in host.verbs.items()}


def _listed(names: Iterable[str]) -> str:
    found = [f"`{name}`" for name in names]
    return ", ".join(found) if len(found) < 6 else f"{', '.join(found[:4])} and {len(found) - 4} others"
