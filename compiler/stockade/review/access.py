"""Who may do what to what: every label to every label by the compiled kernel policy, down to the rule behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from stockade.model.access import mask, spell
from stockade.model.classes import CLASSES
from stockade.model.grants import rules_for
from stockade.model.host import Rule, Verb
from stockade.page.heat import Mark, Row, heat, key
from stockade.page.markup import Child, Html, element, joined
from stockade.page.parts import code, disclosure, facts, listed, paragraph, place
from stockade.prove.channels import READ, WRITE
from stockade.review.gather import Review

MOST = 48
"""Subjects beside each other; of a policy with more, those with the same access share a column, then it is too many."""

KEY = (
    (4, "·", "looks or speaks"), (3, "r", "takes data out"), (2, "x", "executes"), (1, "w", "puts data in"),
    (0, "+", "labels, mounts, traces or enters"),
)  # fmt: skip
"""Tone, letter and meaning of a field; one with several letters has the tone of the strongest."""

Vectors = Mapping[str, frozenset[str]]


class Strength(NamedTuple):
    """What some access comes to: its letters, its tone on the page, and the same in words."""

    letters: str
    tone: int | None
    says: str


def strength(vectors: Vectors) -> Strength:
    """The letters of an access: r takes data out, w puts data in, x executes, + is more than that, · only looks."""
    letters, says = "", list[str]()
    tone: int | None = None
    for tone_, letter, word, found in (
        (3, "r", "reads", any(perms & READ.get(c, frozenset()) - {"execute"} for c, perms in vectors.items())),
        (2, "x", "executes", any(perms & _RUNS for perms in vectors.values())),
        (1, "w", "writes", any(perms & WRITE.get(c, frozenset()) for c, perms in vectors.items())),
        (0, "+", "labels, mounts, traces or enters", any(perms & _RULES for perms in vectors.values())),
    ):
        if found:
            letters, tone = letters + letter, tone_
            says.append(word)
    if not letters and vectors:
        return Strength("·", 4, "looks or speaks")
    return Strength(letters, tone, ", ".join(says) or "nothing")


_RUNS = frozenset({"execute", "execute_no_trans", "execmod"})
_RULES = frozenset(
    "relabelfrom relabelto mounton mount remount unmount entrypoint transition dyntransition ptrace load_policy "
    "setenforce setbool module_load module_request set_context_mgr".split()
)


def access_map(review: Review) -> Html:
    """A row for each label that things have, a field for each subject: what it may do; behind a row, the rules."""
    subjects = sorted(review.table.domains(), key=review.name)
    columns = _alike(review, subjects)
    if len(columns) > MOST:
        return paragraph(
            f"{len(subjects)} subjects of {len(columns)} kinds are too many side by side; ask ",
            code("stockade can SUBJECT VERB:OBJECT"), " about any of them.",
        )  # fmt: skip
    objects = sorted(set(review.table.values) - set(subjects), key=review.name)
    objects = [label for label in objects if any(label in review.table.given(group[0]) for group in columns)]
    groups = [
        ("files and other things", [_row(review, label, columns) for label in objects]),
        ("processes", [_row(review, label, columns) for label in subjects[: MOST * 2]]),
    ]
    names = [_heading(review, group) for group in columns]
    return joined(key(KEY, letters=True), heat(names, groups, given=True, letters=True), glossary(review))


def _heading(review: Review, group: Sequence[str]) -> str:
    name = review.name(group[0])
    return name if len(group) == 1 else f"{name} and {len(group) - 1} like it"


def _alike(review: Review, subjects: Sequence[str]) -> list[list[str]]:
    """Subjects with the same access to everything but each other, together where there are many."""
    if len(subjects) <= MOST // 2:
        return [[label] for label in subjects]
    found: dict[object, list[str]] = {}
    for label in subjects:
        given = review.table.given(label)
        others = frozenset((t, c, perms) for t, v in given.items() if t not in subjects for c, perms in v.items())
        found.setdefault(others, []).append(label)
    return list(found.values())


def _row(review: Review, target: str, columns: Sequence[Sequence[str]]) -> Row:
    fields: list[Mark] = []
    kinds: dict[tuple[tuple[Rule, ...], int], list[Sequence[str]]] = {}
    for group in columns:
        vectors = review.table.given(group[0]).get(target, {})
        letters, tone, says = strength(vectors)
        fields.append(Mark(letters or "–", tone, says))
        if vectors:
            kinds.setdefault((_behind(review, group[0], target), access_of(vectors)), []).append(group)
    why, where = review.why(target)
    about = paragraph(code(target), " ", why, " ", place(where) if where else None)
    body = [
        _kind(review, target, groups, access, behind)
        for (behind, access), groups in sorted(kinds.items(), key=lambda item: item[1])
    ]
    return Row(review.name(target), fields, [about, *body], anchor=f"access-{target.replace('_', '-')}")


def access_of(vectors: Vectors) -> int:
    """Permissions by class as a mask."""
    total = 0
    for tclass, perms in vectors.items():
        total |= _masked(tclass, perms)
    return total


@lru_cache(maxsize=4096)
def _masked(tclass: str, perms: frozenset[str]) -> int:
    return mask(tclass, perms & CLASSES[tclass])


def _behind(review: Review, subject: str, target: str) -> tuple[Rule, ...]:
    if review.source is None:
        return ()
    access = access_of(review.table.given(subject)[target])
    return tuple(rules_for(review.source.policy.host, subject, target, access))


def _kind(review: Review, target: str, groups: Sequence[Sequence[str]], access: int, rules: Sequence[Rule]) -> Html:
    """One access that some subjects have: the rules behind it, and the permissions that no verb says."""
    verbs = verbs_of(review, access)
    rest = access
    for verb in verbs:
        rest &= ~verb.access
    said = [verb.name for verb in verbs] + (["single permissions"] if rest else [])
    items: list[Child] = [
        [
            element("strong", ", ".join(rule.verbs) or "single permissions"), f" on {rule.what}: {rule.why} ",
            place(f"{rule.at.file}:{rule.at.line}"),
        ]
        for rule in rules
    ]  # fmt: skip
    spelled = [element("li", code(tclass), " ", " ".join(perms)) for tclass, perms in spell(rest).items()]
    return disclosure(
        joined(element("strong", ", ".join(_heading(review, group) for group in groups)), f": {', '.join(said)}"),
        listed(items, name="reasons") if items else None,
        [paragraph("single permissions:"), element("ul", spelled, class_="reasons")] if spelled else None,
    )


def verbs_of(review: Review, access: int) -> list[Verb]:
    """The verbs of the source all of whose permissions an access has, as far as the kernel policy knows them."""
    if review.source is None:
        return []
    known = access_of({c.name: frozenset(c.permissions) for c in review.policy.classes.values()})
    verbs = review.source.policy.host.verbs.values()
    return [verb for verb in verbs if verb.access & access and not verb.access & known & ~access]


def glossary(review: Review) -> Html | None:
    """What each verb of the source means, permission by permission."""
    if review.source is None:
        return None
    rows: list[tuple[Child, Child]] = []
    for verb in review.source.policy.host.verbs.values():
        spelled = [element("li", code(tclass), " ", " ".join(perms)) for tclass, perms in spell(verb.access).items()]
        about = paragraph(verb.why, " ", place(f"{verb.at.file}:{verb.at.line}"))
        rows.append((verb.name, [about, element("ul", spelled, class_="reasons")]))
    return disclosure(f"{len(rows)} verbs, and the permissions they stand for", facts(rows))
