"""Mutation of CIL that others wrote: every widening in its own words, and whether its neverallow rules refuse it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from stockade.prove.mutation import Mutation, Score
from stockade.selinux.cil_maps import class_maps
from stockade.selinux.decide import Table, UnknownContext
from stockade.selinux.libsepol import CilError, compile_cil, refused_lines
from stockade.selinux.policydb import read
from stockade.selinux.policydb_values import Policydb

Files = Sequence[tuple[str, bytes]]

AT_ONCE = 2000
"""Widenings in one compilation: libsepol names every rule that a neverallow refuses, so they do not hide each other."""
MOST = 500_000
"""More widenings than this are no answer in a person's time."""
_PROBE = "stockade_probe"


class Unscored(Exception):
    """The policy cannot be scored as asked; the text says why."""


@dataclass(frozen=True, slots=True)
class Words:
    """What is tried: the types on both sides, and verb -> (class, permission) pairs, as the policy resolves them.

    `spelled` is verb -> how a rule of the policy says it.
    """

    subjects: frozenset[str]
    objects: frozenset[str]
    verbs: Mapping[str, frozenset[tuple[str, str]]]
    spelled: Mapping[str, str]


def score(files: Files, subjects: str | None = None, objects: str | None = None, verbs: str | None = None) -> Score:
    """Tries every verb of every subject on every object where the policy does not give the whole of it.

    `subjects` and `objects` are attributes or types; the types of processes, and all types, when None. `verbs` is a
    class map, and its permissions are the verbs; those of all class maps when None, and where the policy has none,
    every permission by itself. libsepol resolves all names and refuses the widenings; ours is the counting.
    Raises Unscored; CilError where the policy does not compile by itself, its neverallow rules included.
    """
    compiled = compile_cil(files)
    words = resolve(files, read(compiled.policy), subjects, objects, verbs)
    count = len(words.subjects) * len(words.objects) * len(words.verbs)
    if count > MOST:
        raise Unscored(f"{count} widenings to try, more than {MOST}: name fewer subjects, objects or verbs")
    tried = list(_missing(read(compiled.policy), words))
    refused: set[Mutation] = set()
    for start in range(0, len(tried), AT_ONCE):
        batch = tried[start : start + AT_ONCE]
        lines = "".join(f"(allow {m.subject} {m.target} {words.spelled[m.verb]})\n" for m in batch)
        numbers = refused_lines(files, lines.encode())
        refused |= {one for number, one in enumerate(batch, 1) if number in numbers}
    return Score(
        Counter(one.verb for one in tried),
        Counter(one.verb for one in refused),
        tuple(sorted(one for one in tried if one not in refused)),
        (),
        (),
    )


def _missing(policy: Policydb, words: Words) -> Iterator[Mutation]:
    try:
        table = Table(policy)
    except UnknownContext as error:
        raise Unscored(str(error)) from None
    for subject in sorted(words.subjects):
        given = table.given(subject)
        for target in sorted(words.objects):
            has = given.get(target, {})
            for verb, pairs in sorted(words.verbs.items()):
                if any(permission not in has.get(tclass, ()) for tclass, permission in pairs):
                    yield Mutation(verb, subject, target, 0)


def resolve(files: Files, policy: Policydb, subjects: str | None, objects: str | None, verbs: str | None) -> Words:
    """What the names stand for.

    Attributes and class maps need not be left in what was compiled. So each name is put into a rule of its own on a
    type made for that, and read back from there; they are auditallow rules, since those grant nothing.
    """
    maps = class_maps(files)
    if verbs is not None and verbs not in maps:
        known = f": there are {', '.join(maps)}" if maps else ""
        raise Unscored(f"no class map `{verbs}` at the top level of the policy{known}")
    spelled = {perm if verbs or len(maps) == 1 else f"{name}.{perm}": f"({name} ({perm}))"
               for name, perms in maps.items() if verbs in (None, name) for perm in perms}  # fmt: skip
    if not spelled:
        spelled = {f"{c.name}.{p}": f"({c.name} ({p}))" for c in policy.classes.values() for p in c.permissions}
    tclass = next(c for c in policy.classes.values() if c.permissions)
    one = f"({tclass.name} ({next(iter(tclass.permissions))}))"
    numbered = list(spelled)
    lines = [f"(type {_PROBE}_what)"]
    lines += [
        f"(type {_PROBE}_{n})(auditallow {_PROBE}_{n} {_PROBE}_what {spelled[v]})" for n, v in enumerate(numbered)
    ]
    for side, name in (("subjects", subjects), ("objects", objects)):
        if name is not None:
            lines.append(f"(type {_PROBE}_{side})(auditallow {name} {_PROBE}_{side} {one})")
    probes = (f"{_PROBE}.cil", "\n".join(lines).encode())
    try:
        probed = read(compile_cil([*files, probes], neverallow=False).policy)
    except CilError as error:
        for side, name in (("subjects", subjects), ("objects", objects)):
            if error.file == probes[0] and name is not None and f"_{side})" in lines[(error.line or 1) - 1]:
                raise Unscored(f"no attribute and no type `{name}`") from None
        raise
    audited: dict[tuple[str, str], set[tuple[str, str]]] = {}
    members: dict[int, list[str]] = {}
    for value, symbols in probed.member_of.items():
        for symbol in symbols:
            members.setdefault(symbol, []).append(probed.types[value])
    for vector in probed.vectors:
        if vector.kind == "auditallow" and not isinstance(vector.data, tuple):
            target = probed.types.get(vector.target, "")
            if target.startswith(_PROBE):
                kind = probed.classes[vector.tclass]
                perms = {(kind.name, perm) for perm, bit in kind.permissions.items() if vector.data & bit}
                for source in members[vector.source]:
                    audited.setdefault((source, target), set()).update(perms)
    sides = {
        side: frozenset(s for s, t in audited if t == f"{_PROBE}_{side}" and not s.startswith(_PROBE))
        for side in ("subjects", "objects")
    }
    for side, name in (("subjects", subjects), ("objects", objects)):
        if name is not None and not sides[side]:
            raise Unscored(f"no type is in `{name}`")
    found = {verb: frozenset(audited[f"{_PROBE}_{n}", f"{_PROBE}_what"]) for n, verb in enumerate(numbered)}
    table = Table(policy)
    return Words(
        sides["subjects"] if subjects is not None else table.domains(),
        sides["objects"] if objects is not None else frozenset(policy.types.values()),
        found,
        spelled,
    )
