"""The difference of two policies in sentences: who may now do what, which way that goes, and the line that says so."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from stockade.model.container import ContainerType
from stockade.model.names import CAPABILITY_SETS
from stockade.model.policy import Policy
from stockade.model.position import Position
from stockade.oci.narrow import narrower
from stockade.prove.changes import Access, Change, Effect
from stockade.prove.labels import names_of
from stockade.prove.policy_diff import PolicyDiff
from stockade.seccomp.diff import Difference, Kind, compare
from stockade.seccomp.judge import PolicyJudge
from stockade.seccomp.prove import spell_verdict

SOCKETS = ("socket", "socketpair")
RAW = {"packet": "raw packet", "unix": "unix", "inet": "IPv4", "inet6": "IPv6"}
_EFFECTS = {Kind.WIDENED: Effect.WIDENS, Kind.NARROWED: Effect.NARROWS}
_TOKEN = re.compile(r"""["']?(@?[\w-]+)""")


@dataclass(frozen=True, slots=True, order=True)
class Sentence:
    """`who` (a container type, a subject, or empty for the policy itself) and what is `said` of it.

    `because` are the places behind it, such as "syscalls: `@network-raw` at containers/web.yaml:14". `layer` is
    `labels` or `calls`, or `type` for what else a container type says.
    """

    effect: Effect
    who: str
    said: str
    because: tuple[str, ...] = ()
    layer: str = "type"

    def __str__(self) -> str:
        reasons = f" ({'; '.join(self.because)})" if self.because else ""
        return f"{f'`{self.who}` ' if self.who else ''}{self.said}{reasons}"

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {"effect": str(self.effect), "who": self.who, "said": self.said, "because": list(self.because)}


@dataclass(frozen=True, slots=True)
class Source:
    """A policy and the texts of its files by name."""

    policy: Policy
    texts: Mapping[str, str]

    def place(self, at: Position) -> str:
        """`file:line`."""
        return _place(at)

    def word(self, at: Position) -> str:
        """The word that stands at a place, empty where none does."""
        lines = self.texts.get(at.file, "").split("\n")
        found = _TOKEN.match(lines[at.line - 1][at.column - 1 :]) if at.line <= len(lines) else None
        return found[1] if found else ""


def sentences(old: Source, new: Source, labels: PolicyDiff) -> list[Sentence]:
    """Everything that differs; `labels` is the difference of the two kernel policies. Wider first, then by who."""
    ours, theirs = new.policy.containers, old.policy.containers
    found = [_appeared(ours[name], new) for name in ours.keys() - theirs.keys()]
    found += [_went(theirs[name], old) for name in theirs.keys() - ours.keys()]
    for name in ours.keys() & theirs.keys():
        found += _layers(theirs[name], ours[name], old, new)
        found += _calls(theirs[name], ours[name], old, new)
    found += _labels(labels.widened, new, Effect.WIDENS)
    found += _labels(labels.narrowed, old, Effect.NARROWS)
    found += [_other(change) for change in labels.other]
    order = [Effect.WIDENS, Effect.CHANGES, Effect.NARROWS, Effect.NEUTRAL]
    return sorted(set(found), key=lambda one: (order.index(one.effect), one.who, one.said, one.because))


def _appeared(container: ContainerType, source: Source) -> Sentence:
    parent = f", a narrower `{container.extends}`" if container.extends else ""
    return Sentence(
        Effect.WIDENS,
        container.name,
        f"is a new container type{parent}: {container.why}",
        (source.place(container.at),),
    )


def _went(container: ContainerType, source: Source) -> Sentence:
    return Sentence(Effect.NARROWS, container.name, "is no longer a container type", (source.place(container.at),))


def _layers(before: ContainerType, after: ContainerType, old: Source, new: Source) -> Iterator[Sentence]:
    """Capabilities, address families, and all that the runtime specification holds."""
    for effect, more, less, source in (
        (Effect.WIDENS, after, before, new),
        (Effect.NARROWS, before, after, old),
    ):
        may = "may now" if effect is Effect.WIDENS else "may no longer"
        gained: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for capability in sorted(frozenset().union(*more.capabilities.values())):
            sets = tuple(
                key
                for key in CAPABILITY_SETS
                if capability in more.capabilities[key] and capability not in less.capabilities[key]
            )
            if sets:
                gained[sets].append(f"`{capability}`")
        for sets, names in gained.items():
            which = "" if sets == CAPABILITY_SETS[:3] else f" ({', '.join(sets)})"
            where = (_key(more, "capabilities", source),)
            yield Sentence(effect, after.name, f"{may} use the capability {_listed(names)}{which}", where)
        if families := more.sockets.families - less.sockets.families:
            kinds = [RAW.get(family, f"`{family}`") for family in sorted(families)]
            yield Sentence(effect, after.name, f"{may} open {_listed(kinds)} sockets", (_key(more, "sockets", source),))
        for key, reason in narrower(more, less):
            if key != "capabilities":
                other = "the old one" if effect is Effect.WIDENS else "the new one"
                text = reason.replace("the parent", other).replace(
                    "no longer ", "not " if more is before else "no longer "
                )
                said = f"is wider in `{key}`: {text}" if more is after else f"is narrower in `{key}`: before, {text}"
                yield Sentence(
                    effect,
                    after.name,
                    said,
                    (_key(more, key, source), *_elsewhere(less, key, more, "before" if more is after else "now")),
                )


def _elsewhere(less: ContainerType, key: str, more: ContainerType, word: str) -> tuple[str, ...]:
    """The same key's place in the tighter version, where that is another line."""
    ours, theirs = more.place(key), less.place(key)
    return () if _place(ours) == _place(theirs) else (f"{word} {_place(theirs)}",)


def _place(at: Position) -> str:
    return f"{at.file}:{at.line}"


def _key(container: ContainerType, key: str, source: Source) -> str:
    return f"{key} at {source.place(container.place(key))}"


def _calls(before: ContainerType, after: ContainerType, old: Source, new: Source) -> Iterator[Sentence]:
    """What is answered otherwise to system calls; calls that change alike for one reason are one sentence."""
    alike: dict[tuple[Effect, str, tuple[str, ...]], list[str]] = defaultdict(list)
    explained = _families_explain(before, after)
    archs = tuple(sorted({*before.architectures, *after.architectures}))
    if before.answered == after.answered and before.architectures == after.architectures:
        return
    judges = PolicyJudge(before.answered, before.architectures), PolicyJudge(after.answered, after.architectures)
    for one in compare(*judges):
        if explained and one.call in SOCKETS:
            continue
        effect = _EFFECTS.get(one.kind, Effect.CHANGES)
        source, container = (old, before) if effect is Effect.NARROWS else (new, after)
        rules = [rule for rule in container.syscalls.rules if rule.call == one.call]
        conditional = any(
            rule.conditions for c in (before, after) for rule in c.syscalls.rules if rule.call == one.call
        )
        because = tuple(sorted({_rule(source, rule.at) for rule in rules})) or (_key(container, "syscalls", source),)
        where = f" on {', '.join(one.archs)}" if one.archs and set(one.archs) != set(archs) else ""
        sample = f" with some arguments, such as `{one.witness}`" if conditional and one.call else ""
        alike[effect, f"{_answer(one)}{where}", because].append(
            f"`{one.call}`{sample}" if one.call else f"a call without a name, such as `{one.witness}`"
        )
    for (effect, answer, because), calls in alike.items():
        verb = {Effect.WIDENS: "may now call", Effect.NARROWS: "may no longer call"}.get(
            effect, "is answered otherwise to"
        )
        yield Sentence(effect, after.name, f"{verb} {_listed(calls)}{answer}", because, "calls")


def _answer(one: Difference) -> str:
    return f": {spell_verdict(one.new)}, was {spell_verdict(one.old)}"


def _rule(source: Source, at: Position) -> str:
    word = source.word(at)
    return f"syscalls: `{word}` at {source.place(at)}" if word else f"syscalls at {source.place(at)}"


def _families_explain(before: ContainerType, after: ContainerType) -> bool:
    """Whether both say the same of sockets beside the families; what differs of these calls are then the families."""

    def beside(container: ContainerType) -> set[object]:
        rules = container.syscalls.rules
        return {
            (rule.call, rule.verdict, rule.conditions)
            for rule in rules
            if rule.call in SOCKETS and rule.at != container.sockets.at
        }

    same_default = before.syscalls.denied == after.syscalls.denied and before.architectures == after.architectures
    return same_default and before.sockets.families != after.sockets.families and beside(before) == beside(after)


def _labels(changes: Iterable[Access], source: Source, effect: Effect) -> Iterator[Sentence]:
    names = names_of(source.policy.host)
    by_pair: dict[tuple[str, str], list[Access]] = defaultdict(list)
    for change in changes:
        by_pair[change.source, change.target].append(change)
    may = "may now" if effect is Effect.WIDENS else "may no longer"
    alike: dict[tuple[str, str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (who, target), found in sorted(by_pair.items()):
        verbs = sorted({verb for access in found for verb in access.verbs})
        rest = [f"{a.tclass} {{{' '.join(a.perms)}}}{f' if {a.condition}' if a.condition else ''}" for a in found]
        did = _listed([f"`{verb}`" for verb in verbs]) if verbs else "; ".join(rest)
        places = dict.fromkeys(place.rpartition(":")[0] for access in found for place in access.because)
        because = tuple(f"selinux: rule at {place}" for place in places)
        what = "itself" if target == who else f"`{names.get(target, target)}`"
        alike[names.get(who, who), did, because].append(what)
    for (who, did, because), whats in alike.items():
        yield Sentence(effect, who, f"{may} {did} {_listed(whats)}", because, "labels")


def _other(change: Change) -> Sentence:
    if "there" in (change.old, change.new):
        said = f"{change.what} {change.name} {'is new' if change.old is None else 'is gone'}"
    else:
        said = f"{change.what} {change.name}: {change.old or 'nothing'} -> {change.new or 'nothing'}"
    return Sentence(change.effect, "", said.replace("  ", " "), (), "labels")


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
