"""What a container type may do and was not seen to do: the grants of its label, verb by object, and its calls."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from stockade.learn.records import Log
from stockade.model.access import NOTHING, mask
from stockade.model.classes import CLASSES
from stockade.model.container import ContainerType
from stockade.model.grants import grants
from stockade.model.policy import Policy
from stockade.model.seccomp import ALLOWED


@dataclass(frozen=True, slots=True)
class Drop:
    """An entry for `may-not`: these verbs on everything but `kept`, names of the policy; `self` is the type itself."""

    verbs: tuple[str, ...]
    kept: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unused:
    """What a recording says of a type.

    `used` and `unused` are grants, (verb, name of the object); a verb of which one permission was used is used. `drops`
    say the unused ones in the language. `calls` are system calls that are allowed and were not made.
    """

    container: str
    label: str
    used: tuple[tuple[str, str], ...]
    unused: tuple[tuple[str, str], ...]
    drops: tuple[Drop, ...]
    calls: tuple[str, ...]


def granted(policy: Policy, container: ContainerType) -> dict[tuple[str, str], int]:
    """(verb, name of the object) -> access, for all that the rules give a type's label."""
    host = policy.host
    names = {label: s.name for s in host.subjects.values() for label in (s.label, *s.aliases)}
    names |= {o.label: o.name for o in host.objects.values()} | {container.domain: "self"}
    return {
        (verb.name, names[target]): access & verb.access
        for (subject, target), access in grants(host).items()
        if subject == container.domain
        for verb in host.verbs.values()
        if access & verb.access
    }


def unused(policy: Policy, container: ContainerType, log: Log) -> Unused:
    """What this type's label was given and did not use, by the records of a log in which all that it did is written."""
    host = policy.host
    names = {label: s.name for s in host.subjects.values() for label in (s.label, *s.aliases)}
    names |= {label: o.name for o in host.objects.values() for label in (o.label, *o.aliases)}
    names[container.domain] = "self"
    seen: dict[str, int] = defaultdict(int)
    for source, target, name, permission in log.access:
        if source == container.domain and target in names and permission in CLASSES.get(name, ()):
            seen[names[target]] |= mask(name, [permission])
    given = granted(policy, container)
    used = sorted(grant for grant, access in given.items() if access & seen.get(grant[1], NOTHING))
    gone = sorted(given.keys() - set(used))
    made = {call for label, call in log.calls if label in ("", container.domain)}
    allowed = {rule.call for rule in container.syscalls.rules if rule.verdict == ALLOWED}
    return Unused(
        container.name,
        container.domain,
        tuple(used),
        tuple(gone),
        tuple(_drops(used, gone)),
        tuple(sorted(allowed - made)),
    )


def _drops(used: list[tuple[str, str]], gone: list[tuple[str, str]]) -> list[Drop]:
    """One entry for all verbs that are used on the same objects, which it names: whatever is new starts restricted."""
    kept: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for verb in sorted({verb for verb, _ in gone}):
        kept[tuple(sorted(name for other, name in used if other == verb))].append(verb)
    return [Drop(tuple(verbs), names) for names, verbs in sorted(kept.items())]
