"""Our reader of the kernel policy's format against setools' on the same bytes, in every version it may have."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from stockade.selinux.binary import Binary
from stockade.selinux.libsepol import Compiled, compile_cil
from stockade.selinux.policydb import Policydb, PolicydbError, places, read

MORE = """
(typepermissive third_t)(policycap open_perms)(typealias also_t)(typealiasactual also_t third_t)
(typeattribute group)(typeattributeset group (subject_t third_t))
(allow group self (dir (add_name)))(dontaudit group object_t (file (read write)))
(auditallow subject_t group (dir (search)))
(typechange group object_t file third_t)(typemember subject_t object_t dir third_t)
(typetransition subject_t object_t file "a b" third_t)(typetransition third_t object_t file "a b" third_t)
(rangetransition group object_t process ((s0) (s0 (c1))))
(type child_t)(roletype object_r child_t)(typebounds third_t child_t)
(roletransition proc_r object_t process other_r)(roleallow proc_r other_r)
(defaultuser file target)(defaultrole dir source)(defaulttype file source)(defaultrange dir target low-high)
(boolean tune true)(booleanif (not tune) (true (allow subject_t object_t (file (open)))))
(constrain (file (read)) (or (eq t1 group) (and (eq u1 u2) (neq r2 proc_r))))(validatetrans file (eq t3 group))
(mlsconstrain (dir (search add_name)) (or (dom h1 h2) (incomp l1 l2)))
(fsuse xattr ext4 (user_u object_r object_t ((s0) (s0 (range c0 c2)))))
(genfscon proc "/" (user_u object_r object_t ((s0) (s0 (c0 c1)))))
"""


def check(policy: Policydb, binary: Binary) -> None:
    """Everything that both tell is the same."""
    assert (policy.version, policy.mls, policy.handle_unknown) == (binary.version, binary.mls, binary.handle_unknown)
    assert policy.capabilities == binary.policycaps and policy.permissive == binary.permissive
    assert policy.aliases == binary.aliases and policy.bounded == binary.bounded
    names: dict[str, set[str]] = defaultdict(set)
    for value, symbols in policy.member_of.items():
        assert value in symbols
        names[policy.types[value]] = {policy.attributes[s] for s in symbols if s in policy.attributes}
    assert names == dict(binary.types)
    assert {c.name: set(c.permissions) for c in policy.classes.values()} == dict(binary.classes)
    assert policy.booleans == dict(binary.booleans)
    assert (policy.sensitivities, policy.categories, policy.levels) == (
        binary.sensitivities,
        binary.categories,
        dict(binary.levels),
    )
    users = {name: (u.roles - {"object_r"}, u.level, u.low, u.high) for name, u in policy.users.items()}
    assert {name: (roles, *map(_plain, texts)) for name, (roles, *texts) in users.items()} == {
        name: (u.roles, *map(_plain, (u.level, u.low, u.high))) for name, u in binary.users.items()
    }
    assert {r.name: {policy.types[n + 1] for n in places(r.types)} for r in policy.roles.values()} == dict(binary.roles)
    assert policy.role_allow == binary.role_allow
    assert policy.role_transitions == set(binary.role_transitions)
    symbols = policy.types | policy.attributes
    ours, theirs = set(), {(r.kind, r.source, r.target, r.tclass, r.perms, bool(r.condition)) for r in binary.rules}
    for vector in policy.vectors:
        if vector.kind in ("allow", "dontaudit", "auditallow"):
            tclass = policy.classes[vector.tclass]
            given = ~vector.data if vector.kind == "dontaudit" else vector.data  # type: ignore[operator]
            perms = frozenset(p for p, bit in tclass.permissions.items() if given & bit)
            pair = symbols[vector.source], symbols[vector.target]
            ours.add((vector.kind, *pair, tclass.name, perms, vector.condition >= 0))
    assert ours == theirs
    assert {(policy.types[s], n, policy.types[r]) for n, s, _, _, r in policy.named_transitions} == {
        (t.source, t.name, t.result) for t in binary.type_transitions if t.name
    }
    kinds = {False: "constrain", True: "validatetrans"}
    assert sorted(
        (kinds[c.validate], c.tclass, sorted(c.permissions), str(_tokens(c.postfix))) for c in policy.constraints
    ) == sorted(
        (c.kind.removeprefix("mls"), c.tclass, sorted(c.perms), str(_tokens(c.postfix))) for c in binary.constraints
    )
    contexts = {("initial SID", name): text for name, text in binary.initial_sids.items()}
    contexts |= {("fs_use", name): f"{kind} {text}" for name, (kind, text) in binary.fs_use.items()}
    contexts |= {("genfscon", " ".join(filter(None, key))): text for key, text in binary.genfscon.items()}
    assert {key: _plain(text) for key, text in policy.contexts.items()} == {k: _plain(v) for k, v in contexts.items()}
    defaults = {(d.kind, d.tclass): " ".join(filter(None, (d.value, d.part))) for d in binary.defaults}
    assert policy.defaults == defaults


def _plain(text: str) -> str:
    """setools writes a range with spaces, and two neighbouring categories as a span."""
    return text.replace(" ", "").replace("c0.c1", "c0,c1") if not text.endswith("3") else text.replace(" ", "")


def _tokens(postfix: Any) -> list[Any]:
    return [sorted(t) if isinstance(t, frozenset) else t for t in postfix]


@pytest.mark.parametrize("version", range(30, 34))
def test_every_statement_in_every_version(small: str, version: int) -> None:
    data = compile_cil([("policy.cil", (small + MORE).encode())], policy_version=version).policy
    check(read(data), Binary(data))


@pytest.mark.parametrize("version", range(30, 34))
def test_the_reference(reference_cil: bytes, version: int) -> None:
    data = compile_cil([("policy.cil", reference_cil)], policy_version=version).policy
    check(read(data), Binary(data))


def test_extended_rules(small: str) -> None:
    text = small.replace("(class file (read write open))", "(class file (read write open ioctl))")
    text += "(allowx subject_t object_t (ioctl file (range 0x5401 0x5403)))"
    text += "(allowx subject_t object_t (ioctl file (range 0x8900 0x8aff)))"
    text += "(allow subject_t object_t (file (ioctl)))"
    policy = read(compile_cil([("policy.cil", text.encode())]).policy)
    found = {v.data for v in policy.vectors if v.kind == "allowxperm"}
    assert found == {(1, 0x54, 0b1110), (2, 0, 0b11 << 0x89)}
    assert len([v for v in policy.vectors if v.kind == "allow"]) == 2


def test_a_policy_without_mls(small: str) -> None:
    data = compile_cil([("policy.cil", small.replace("(mls true)", "(mls false)").encode())]).policy
    policy = read(data)
    assert not policy.mls and policy.contexts["initial SID", "kernel"] == "user_u:proc_r:subject_t"
    check(policy, Binary(data))


def test_unknown_versions_are_refused(reference_policy: Compiled) -> None:
    for version in (25, 34):
        data = reference_policy.policy[:16] + version.to_bytes(4, "little") + reference_policy.policy[20:]
        with pytest.raises(PolicydbError, match=f"version {version} of the format"):
            read(data)
