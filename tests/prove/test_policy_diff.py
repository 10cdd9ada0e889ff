"""The semantic difference of kernel policies, against setools' and against an expansion of everything."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections import defaultdict
from typing import Any

import pytest
from stockade.bundle.compile import Compiled
from stockade.prove.policy_diff import Effect, PolicyDiff, diff
from stockade.selinux.binary import Binary
from stockade.selinux.decide import Table
from stockade.selinux.libsepol import Decisions, compile_cil
from stockade.selinux.policydb import PolicydbError, read

from tests.prove.policies import BOOLEANS, HEAD, TYPES, Maker, compiled, sediff


def vectors(found: PolicyDiff) -> set[tuple[Any, ...]]:
    sides = ((True, found.widened), (False, found.narrowed))
    return {(g, a.source, a.target, a.tclass, frozenset(a.perms)) for g, side in sides for a in side}


def listed(found: PolicyDiff, kind: str) -> set[tuple[Any, ...]]:
    """The changes of one kind of rule, in the shape that `sediff` gives them."""
    rows = set()
    for change in found.other:
        if change.what == kind:
            source, target, *named = change.name.split(" ")
            target, _, tclass = target.partition(":")
            texts = ((True, change.new), (False, change.old))
            if kind in ("dontaudit", "auditallow"):
                rows |= {(g, source, target, tclass, frozenset(text.split())) for g, text in texts if text}
            else:
                name = named[0].strip('"') if named else ""
                rows |= {(g, source, target, tclass, name, _levels(kind, text)) for g, text in texts if text}
    return rows


def _levels(kind: str, text: str) -> str:
    return text.replace("-", " - ") if kind == "range_transition" else text


def pair_of(seed: int) -> tuple[bytes, bytes]:
    """Two policies that share most of their statements; some have other attributes and types too."""
    maker = Maker(seed)
    frame = maker.frame()
    rules = [maker.rule() for _ in range(14)] + [maker.extended() for _ in range(2)]
    moves = list({move.rpartition(" ")[0]: move for move in (maker.transition() for _ in range(8))}.values())
    changed = [rule for rule in rules if maker.random.random() < 0.8] + [maker.rule() for _ in range(2)]
    moved = {move.rpartition(" ")[0]: move for move in [*moves[2:], maker.transition(), maker.transition()]}
    other = list(frame)
    if seed % 2:
        other.append(f"(typeattributeset few ({maker.random.choice(TYPES)}))")
    if seed % 3 == 0:
        other.append("(type extra)(roletype object_r extra)(typeattributeset wide (extra))")
        changed.append("(allow extra some (file (read)))")
    if seed % 5 == 0:
        other.reverse()
    both = [[*frame, *rules, *moves], [*other, *changed, *moved.values()]]
    if seed % 7 == 0:
        both.reverse()
    return compiled(HEAD + "\n".join(both[0])), compiled(HEAD + "\n".join(both[1]), 31 + seed % 3)


@pytest.mark.parametrize("seed", range(40))
def test_what_sediff_finds(seed: int) -> None:
    old, new = pair_of(seed)
    ours, theirs = diff(old, new), sediff(old, new)
    assert vectors(ours) == theirs["allow"]
    for kind in ("dontaudit", "auditallow", "type_transition", "type_change", "type_member", "range_transition"):
        assert listed(ours, kind) == theirs[kind], kind
    assert vectors(diff(new, old)) == {(not gained, *rest) for gained, *rest in theirs["allow"]}


def test_the_pairs_above_differ_in_everything() -> None:
    kinds: dict[str, int] = defaultdict(int)
    for seed in range(40):
        found = diff(*pair_of(seed))
        kinds["allow"] += len(found.widened) + len(found.narrowed)
        for change in found.other:
            kinds[change.what] += 1
    for kind in ("allow", "dontaudit", "auditallow", "type_transition", "range_transition", "type", "allowxperm"):
        assert kinds[kind] > 5, kind


@pytest.mark.parametrize("seed", range(12))
def test_conditions_are_decided(seed: int) -> None:
    """Widened is what some setting of the booleans allows in the new policy and not in the old, by full expansion."""
    maker = Maker(seed, TYPES[:4])
    frame = maker.frame()
    both = [[maker.rule(("allow",)) for _ in range(4)] + [maker.conditional() for _ in range(6)] for _ in range(2)]
    shared = [maker.conditional() for _ in range(3)]
    texts = [HEAD + BOOLEANS + "\n".join([*frame, *shared, *rules]) for rules in both]
    found = diff(*map(compiled, texts))
    wanted: dict[bool, set[tuple[str, ...]]] = {True: set(), False: set()}
    for setting in itertools.product(("true", "false"), repeat=2):
        defaults = f"(boolean b0 {setting[0]})(boolean b1 {setting[1]})"
        old, new = (_flat(Binary(compiled(text.replace(BOOLEANS, defaults)))) for text in texts)
        wanted[True] |= new - old
        wanted[False] |= old - new
    for gained, side in ((True, found.widened), (False, found.narrowed)):
        assert {(a.source, a.target, a.tclass, p) for a in side for p in a.perms} == wanted[gained]
    assert any(a.condition for a in found.widened + found.narrowed)


def _flat(binary: Binary) -> set[tuple[str, ...]]:
    return {(*pair, c, p) for pair, vector in binary.allow.items() for c, perms in vector.items() for p in perms}


def test_conditions_that_mean_the_same_are_no_change() -> None:
    rule = "(allow base base (file (read)))"
    texts = [
        f"(booleanif (and b0 (not b1)) (true {rule}))",
        f"(booleanif (or (not b0) b1) (false {rule}))",
        f"(booleanif b0 (true {rule}))",
    ]
    one, two, three = (compiled(HEAD + BOOLEANS + text) for text in texts)
    assert diff(one, two).same
    (access,) = diff(one, three).widened
    assert (access.condition, access.perms) == ("b0 and b1", ("read",))
    (taken,) = diff(compiled(HEAD + BOOLEANS + rule), one).narrowed
    assert taken.condition == "(not b0 and not b1) or (not b0 and b1) or (b0 and b1)"
    (default,) = diff(one, compiled(HEAD + BOOLEANS.replace("b0 false", "b0 true") + texts[0])).other
    assert (default.what, default.name, default.old, default.new) == ("boolean", "b0", "off", "on")


def test_a_condition_on_what_is_given_anyway_is_not_told() -> None:
    rule = "(allow new base (file (read)))"
    more = f"(type new)(roletype object_r new){rule}(booleanif b0 (true {rule}(allow new base (file (write)))))"
    found = diff(compiled(HEAD + BOOLEANS), compiled(HEAD + BOOLEANS + more))
    assert [(a.perms, a.condition) for a in found.widened] == [(("read",), ""), (("write",), "b0")]


def test_ioctl_commands_are_told() -> None:
    rule = "(allow base base (file (ioctl)))"
    some = "(allowx base base (ioctl file (range 0x5401 0x5403)))(allowx base base (ioctl file (0x5410)))"
    every = "(allowx base base (ioctl file (range 0x5400 0x54ff)))"
    (change,) = diff(compiled(HEAD + rule + some), compiled(HEAD + rule + every)).other
    assert (change.what, change.name, change.effect) == ("allowxperm", "base base:file ioctl 0x54", Effect.CHANGES)
    # What both give is in neither text.
    assert (change.old, change.new) == (None, "0x00 0x04-0x0f 0x11-0xff")
    (change,) = diff(compiled(HEAD + rule), compiled(HEAD + rule + every)).other
    assert (change.old, change.new) == (None, "all")


def test_form_makes_no_difference(compiled: Compiled) -> None:
    """The shipped policy optimised, expanded and in another version of the format decides the same."""
    again = compile_cil(compiled.cil, policy_version=33, optimize=True).policy
    assert again != compiled.kernel_policy
    (version,) = diff(compiled.kernel_policy, again).other
    assert (version.what, version.effect) == ("format version", Effect.NEUTRAL)
    found = diff(compiled.kernel_policy, again)
    assert not found.widened and not found.narrowed and not found.widens


MUTATIONS = (
    "(allow container_t private_t (file (write append)))",
    "(allow container_t self (bpf (prog_load)))(dontaudit control_t os_t (file (write)))",
    "(type strange_t)(roletype object_r strange_t)(allow container_t strange_t (file (read)))",
    "(typetransition container_t data_t file api_socket_t)",
    "(typeattribute both)(typeattributeset both (container_t control_t))(allow both both (file (entrypoint)))",
)


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_the_shipped_policy_mutated(compiled: Compiled, mutation: str) -> None:
    old = compiled.kernel_policy
    new = compile_cil([*compiled.cil, ("mutation.cil", mutation.encode())], neverallow=False).policy
    ours, theirs = diff(old, new), sediff(old, new)
    assert vectors(ours) == theirs["allow"]
    for kind in ("dontaudit", "type_transition"):
        assert listed(ours, kind) == theirs[kind]
    assert not ours.same


@pytest.mark.parametrize(
    ("old", "new", "what", "effect"),
    [
        ("", "(typepermissive base)", "permissive type", Effect.WIDENS),
        ("(handleunknown deny)", "(handleunknown allow)", "handle unknown", Effect.WIDENS),
        ("(handleunknown allow)", "(handleunknown reject)", "handle unknown", Effect.NARROWS),
        ("", "(policycap open_perms)", "policy capability", Effect.CHANGES),
        ("", "(roleallow r r2)", "role allow", Effect.WIDENS),
        ("(roleallow r r2)", "", "role allow", Effect.NARROWS),
        ("", "(roletransition r base process r2)", "role_transition", Effect.CHANGES),
        ("", "(typealias other)(typealiasactual other base)", "type alias", Effect.CHANGES),
        ("", "(type new)(roletype object_r new)", "type", Effect.NEUTRAL),
        ("(range c0 c2))))\n", "(range c0 c1))))\n", "range of user", Effect.NARROWS),
        ("", "(user u2)(userrole u2 r)(userlevel u2 (s0))(userrange u2 ((s0) (s0)))", "user", Effect.WIDENS),
        ("(userrole u r2)", "", "role of user", Effect.NARROWS),
        ("", "(fsuse xattr ext4 (u object_r base ((s0) (s0))))", "fs_use", Effect.CHANGES),
        ("", '(genfscon proc "/x" (u object_r base ((s0) (s0))))', "genfscon", Effect.CHANGES),
        ("base ((s0) (s0))))(sidorder", "base ((s0) (s0 (c1)))))(sidorder", "initial SID", Effect.CHANGES),
        ("", "(portcon tcp 80 (u object_r base ((s0) (s0))))", "portcon", Effect.CHANGES),
        ("", "(nodecon (127.0.0.0) (255.0.0.0) (u object_r base ((s0) (s0))))", "nodecon", Effect.CHANGES),
        ("", "(netifcon lo (u object_r base ((s0) (s0))) (u object_r base ((s0) (s0))))", "netifcon", Effect.CHANGES),
        ("", "(nodecon (::1) (ffff::) (u object_r base ((s0) (s0))))", "nodecon", Effect.CHANGES),
        ("", "(ibpkeycon fe80:: (0 0x10) (u object_r base ((s0) (s0))))", "ibpkeycon", Effect.CHANGES),
        ("", "(ibendportcon mlx4_0 1 (u object_r base ((s0) (s0))))", "ibendportcon", Effect.CHANGES),
        ("", "(defaultrole file source)", "default", Effect.CHANGES),
        ("(class dir (search write))", "(class dir (search write add))", "permission", Effect.CHANGES),
        ("", "(boolean b true)", "boolean", Effect.NEUTRAL),
    ],
)  # fmt: skip
def test_other_parts(old: str, new: str, what: str, effect: Effect) -> None:
    texts = (HEAD.replace(new, old, 1), HEAD.replace(old, new, 1)) if old in HEAD and old else (HEAD + old, HEAD + new)
    if old == "(handleunknown allow)":
        texts = (HEAD.replace("(handleunknown deny)", old), HEAD.replace("(handleunknown deny)", new))
    found = diff(*map(compiled, texts))
    assert (what, effect) in {(c.what, c.effect) for c in found.other}
    assert {c.what for c in found.other} <= {what, "type of role"}
    assert diff(compiled(texts[0]), compiled(texts[0])).same
    assert found.as_dict()["other"]


BOTH = {Effect.WIDENS, Effect.NARROWS}
LOCKED = "(mlsconstrain (file (read write)) (or (dom h1 h2) (eq t1 base)))"


@pytest.mark.parametrize(
    ("old", "new", "directions"),
    [
        (LOCKED, "", {Effect.WIDENS}),
        ("", LOCKED, {Effect.NARROWS}),
        (LOCKED, LOCKED.replace("base", "(base s1)"), {Effect.WIDENS}),
        (LOCKED, LOCKED.replace("base", "s1"), {Effect.WIDENS, Effect.NARROWS}),
        (LOCKED, LOCKED.replace("dom h1 h2", "dom l1 h2"), {Effect.NARROWS}),
        (LOCKED, LOCKED.replace("dom h1 h2", "eq l1 l2"), {Effect.WIDENS, Effect.NARROWS}),
        (LOCKED, "(mlsconstrain (file (read write)) (or (eq t1 base) (dom h1 h2)))", set()),
        (LOCKED, "(mlsconstrain (file (read write)) (not (and (neq t1 base) (not (dom h1 h2)))))", set()),
        ("(constrain (dir (search)) (eq r1 r2))", "(constrain (dir (search)) (eq u1 u2))", {Effect.WIDENS}),
        ("(constrain (dir (search)) (eq r1 r))", "(constrain (dir (search)) (eq t1 t2))", BOTH),
    ],
)  # fmt: skip
def test_constraints_are_decided(old: str, new: str, directions: set[Effect]) -> None:
    frame = "".join(f"(type {t})(roletype r {t})(roletype r2 {t})(roletype object_r {t})" for t in ("s1", "s2"))
    frame += "(typeattribute any)(typeattributeset any (all))(allow any any (file (read write)))"
    frame += "(allow any any (dir (search)))"
    # A witness is a context that the user may have.
    head = HEAD.replace("(userrange u ((s0)", "(userrange u ((s0 (c2))").replace(
        "base ((s0) (s0))", "base ((s0 (c2)) (s0 (c2)))"
    )
    head = head.replace("(userlevel u (s0))", "(userlevel u (s0 (c2)))")
    before, after = compiled(head + frame + old), compiled(head + frame + new)
    found = diff(before, after)
    assert {c.effect for c in found.other} == directions
    assert not found.widened and not found.narrowed
    for change in found.other:
        tclass, permission = change.name.split()[0], change.name.split()[2]
        answers = []
        for policy in (before, after):
            with Decisions(policy) as decisions:
                answers.append(decisions.access(*change.witness, tclass, permission).allowed)
        assert answers == ([False, True] if change.effect is Effect.WIDENS else [True, False])


def test_relabelling_is_decided() -> None:
    frame = "(type s1)(roletype object_r s1)(roletype r s1)"
    rule = "(mlsvalidatetrans file (or (eq l1 l2) (eq t3 base)))"
    before, after = compiled(HEAD + frame + rule), compiled(HEAD + frame + rule.replace("base", "s1"))
    found = diff(before, after).other
    assert {c.effect for c in found} == {Effect.WIDENS, Effect.NARROWS}
    for change in found:
        tables = [Table(read(policy)) for policy in (before, after)]
        answers = [table.may_relabel(*map(table.context, change.witness), "file") for table in tables]
        assert answers == ([False, True] if change.effect is Effect.WIDENS else [True, False])


@pytest.mark.parametrize(
    "spoil", [lambda p: b"", lambda p: p[:-1], lambda p: p + b"\0", lambda p: p[:1000], lambda p: bytes(200)]
)
def test_what_is_no_policy_is_refused(spoil: Any, compiled: Compiled) -> None:
    with pytest.raises(PolicydbError, match="not a kernel policy"):
        diff(spoil(compiled.kernel_policy), compiled.kernel_policy)


def test_damage_never_passes_for_a_policy_unnoticed() -> None:
    """Any cut is refused, and any one changed byte is refused or read; never another error."""
    policy = compiled(HEAD + "\n".join(Maker(3).frame()) + Maker(3).rule())
    for length in range(len(policy)):
        with pytest.raises(PolicydbError):
            diff(policy[:length], policy)
    chance = random.Random(7)
    for _ in range(1500):
        damaged = bytearray(policy)
        damaged[chance.randrange(len(policy))] ^= 1 << chance.randrange(8)
        with contextlib.suppress(PolicydbError):
            diff(bytes(damaged), policy)
