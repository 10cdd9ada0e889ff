"""Derives the guards that written promises leave missing, as promises in the words of the policy's own sets.

A guard that followed the rules wherever they went would guard nothing. So it is derived once, written down, and holds
from then on like any promise: a rule that is widened later breaks it, until somebody derives anew and commits that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stockade.model.access import spell
from stockade.model.grants import Grants
from stockade.model.host import Host
from stockade.model.policy import Policy
from stockade.prove.labels import DERIVED, names_of
from stockade.prove.mutation import Mutation, score

SELF = ""
"""Stands for a subject's own label among the objects of a guard."""

HEADER = """\
# yaml-language-server: $schema=../../compiler/stockade/source/schemas/promise.schema.json
# Derived guards, written by `stockade check --derive`: what no rule gave when it ran, and no other promise forbids.
# They hold like any promise. A change that breaks one is wrong, or is meant: then derive anew and have it reviewed.
"""


@dataclass(frozen=True, slots=True)
class Guard:
    """Nobody of `who` has `access` on any of `what`; labels, `SELF` for each one's own."""

    verb: str
    access: int
    who: frozenset[str]
    what: frozenset[str]


def derive(policy: Policy, table: Grants) -> list[Guard]:
    """Guards for every silent widening of a policy, few and large; `policy` is without guards derived before."""
    gaps: dict[tuple[str, int], dict[str, set[str]]] = {}
    for one in score(policy, table).silent:
        target = SELF if one.target == one.subject else one.target
        gaps.setdefault((one.verb, one.silent), {}).setdefault(one.subject, set()).add(target)
    return [
        Guard(verb, access, _everyone(policy.host, table, access, who, what), what)
        for (verb, access), rows in sorted(gaps.items())
        for who, what in blocks(rows)
    ]


def blocks(rows: Mapping[str, Iterable[str]]) -> list[tuple[frozenset[str], frozenset[str]]]:
    """Rectangles (rows, columns) that cover exactly what is in `rows`; the largest next, ties by name."""
    left = {row: frozenset(columns) for row, columns in rows.items() if columns}
    whole = dict(left)
    found: list[tuple[frozenset[str], frozenset[str]]] = []
    while left:
        best: tuple[int, list[str], list[str]] | None = None
        for columns in set(left.values()):
            members = sorted(row for row, has in whole.items() if columns <= has)
            gain = sum(len(columns & left.get(row, frozenset())) for row in members)
            candidate = (-gain, members, sorted(columns))
            best = candidate if best is None or candidate < best else best
        assert best is not None
        who, what = frozenset(best[1]), frozenset(best[2])
        found.append((who, what))
        left = {row: rest for row, has in left.items() if (rest := has - what if row in who else has)}
    return found


def _everyone(host: Host, table: Grants, access: int, who: frozenset[str], what: frozenset[str]) -> frozenset[str]:
    """A promise names every subject of which it is true, or whoever is left out could be given the access unseen."""
    universe = host.subject_labels if who <= host.subject_labels else host.subject_labels | host.object_labels
    return frozenset(
        label for label in universe if not any(table.get((label, target or label), 0) & access for target in what)
    )


def expression(host: Host, labels: frozenset[str], universe: str) -> str:
    """A set expression for labels: of names, largest sets first, or as what is left of `universe`; the shorter one."""
    whole = {"subjects": host.subject_labels, "objects": host.object_labels}
    whole["everything"] = whole["subjects"] | whole["objects"]
    plain = _names(host, labels - {SELF}) + (["self"] if SELF in labels else [])
    written = plain[0] if len(plain) == 1 else f"[{', '.join(plain)}]"
    if SELF in labels or not labels < whole[universe]:
        return universe if labels == whole[universe] else written
    left_out = _names(host, whole[universe] - labels)
    rest = left_out[0] if len(left_out) == 1 else f"[{', '.join(left_out)}]"
    return f"{{of: {universe}, except: {rest}}}" if len(left_out) + 1 < len(plain) else written


def _names(host: Host, labels: frozenset[str]) -> list[str]:
    names, left, found = names_of(host), set(labels), []
    sets = {name: one.labels for name, one in host.sets.items() if len(one.labels) > 1 and one.labels <= labels}
    while sets:
        name = min(sets, key=lambda n: (-len(sets[n] & left), n))
        if len(sets[name] & left) < 2:
            break
        found.append(name)
        left -= sets.pop(name)
    return sorted([*found, *(names[label] for label in left)])


def document(policy: Policy, guards: Iterable[Guard]) -> str:
    """The text of the file `promises/derived.yaml`; deterministic for the same policy."""
    host, parts, count = policy.host, [], dict[str, int]()
    for guard in guards:
        count[guard.verb] = count.get(guard.verb, 0) + 1
        what = guard.what
        kind = "subjects" if what <= host.subject_labels else "objects" if what <= host.object_labels else "everything"
        actors = "subjects" if guard.who <= host.subject_labels else "everything"
        verb = host.verbs[guard.verb]
        classes = "".join(f"    {name}: [{', '.join(perms)}]\n" for name, perms in spell(guard.access).items())
        may = f"  may: {guard.verb}\n" if guard.access == verb.access else f"  access:\n{classes}"
        parts.append(
            f"promise: derived-{guard.verb}-{count[guard.verb]}\n"
            f"why: Derived. No rule gave it, so whoever does gives it on purpose ({guard.verb}; {_plain(verb.why)}).\n"
            f"never:\n  who: {expression(host, guard.who, actors)}\n{may}  what: {expression(host, what, kind)}\n"
        )
    return HEADER + "---\n".join(parts)


def _plain(text: str) -> str:
    """A reason that needs no quotes within an unquoted YAML text."""
    return text.replace(": ", ", ").replace(" #", " ")


__all__ = ["DERIVED", "SELF", "Guard", "Mutation", "blocks", "derive", "document", "expression"]
