"""Our own decisions against libsepol's, and against the decisions the reference policy was made of."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from stockade.selinux.decide import Table, UnknownContext
from stockade.selinux.libsepol import Compiled, Decisions, UnknownName, compile_cil
from stockade.selinux.policydb import read

SUBJECT = "user_u:proc_r:subject_t:s0-s0:c0.c2"
OBJECT = "user_u:object_r:object_t:s0:c1"


@pytest.fixture(scope="module")
def table(reference_policy: Compiled) -> Table:
    return Table(read(reference_policy.policy))


def made(small: str, rules: str) -> Table:
    return Table(read(compile_cil([("base.cil", (small + rules).encode())], policy_version=33).policy))


def allowed(table: Table, scon: str, tcon: str, tclass: str) -> frozenset[str]:
    return table.allowed(table.context(scon), table.context(tcon), tclass)


def transition(table: Table, scon: str, tcon: str, tclass: str, name: str = "") -> str:
    return table.text(table.transition(table.context(scon), table.context(tcon), tclass, name))


def label(decisions: dict[str, Any], name: str, level: str) -> str:
    return f"system_u:{'system_r' if name in decisions['roles']['system_r'] else 'object_r'}:{name}:{level}"


def test_rules_are_those_written_down(reference: Any, decisions: dict[str, Any], table: Table) -> None:
    for source, target in itertools.product(decisions["types"], repeat=2):
        written = reference.permissions(decisions, source, target)
        assert table.given(source).get(target, {}) == written


@pytest.mark.parametrize(
    ("low", "high", "every"), [("s0:c1,c2", "s0:c3", 1), ("s0:c1", "s0", 5), ("s0-s0:c0.c1023", "s0:c5", 5)]
)
def test_every_pair_and_class_is_answered_alike(
    decisions: dict[str, Any], table: Table, reference_policy: Compiled, low: str, high: str, every: int
) -> None:
    granted = 0
    with Decisions(reference_policy.policy) as policy:
        for source, target in itertools.product(decisions["types"], repeat=2):
            scon, tcon = label(decisions, source, low), label(decisions, target, high)
            for tclass in list(decisions["classes"])[::every]:
                ours = allowed(table, scon, tcon, tclass)
                assert ours == policy.allowed(scon, tcon, tclass), (scon, tcon, tclass)
                granted += len(ours)
    assert granted > 50_000 // every


@pytest.mark.parametrize("tclass", ["file", "dir", "process"])
def test_relabelling_is_answered_alike(
    decisions: dict[str, Any], table: Table, reference_policy: Compiled, tclass: str
) -> None:
    labels = [label(decisions, name, level) for name in ("data_t", "local_t") for level in ("s0", "s0:c1", "s0-s0:c4")]
    tasks = [label(decisions, name, "s0:c1") for name in decisions["roles"]["system_r"]]
    answers = set()
    with Decisions(reference_policy.policy) as policy:
        for old, new, task in itertools.product(labels, labels, tasks):
            ours = table.may_relabel(*map(table.context, (old, new, task)), tclass)
            assert ours == policy.relabel(old, new, task, tclass).allowed, (old, new, task)
            answers.add(ours)
    assert answers == ({True} if tclass == "process" else {True, False})


CONSTRAINTS = [
    "(constrain (file (read)) (eq u1 u2))",
    "(constrain (file (read)) (neq r1 r2))",
    "(constrain (file (read)) (eq r1 other_r))",
    "(constrain (file (read)) (not (eq t1 (subject_t third_t))))",
    "(constrain (file (read)) (or (eq t2 third_t) (and (eq u1 user_u) (neq t1 t2))))",
    *(f"(mlsconstrain (file (read)) ({op} {pair}))" for op in ("eq", "neq", "dom", "domby", "incomp")
      for pair in ("l1 l2", "h1 h2", "l1 h2", "h1 l2", "l1 h1", "l2 h2")),
]  # fmt: skip
LEVELS = ["s0", "s0:c0", "s0:c1", "s0:c0.c2", "s0-s0:c1", "s0:c1-s0:c0.c2"]


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_constraints_are_answered_alike(small: str, constraint: str) -> None:
    rules = "(allow subject_t object_t (file (read write)))(allow third_t object_t (file (read)))" + constraint
    policy = compile_cil([("base.cil", (small + rules).encode())]).policy
    ours, answers = Table(read(policy)), set()
    with Decisions(policy) as theirs:
        for low, high in itertools.product(LEVELS, repeat=2):
            for scon in (f"user_u:proc_r:subject_t:{low}", f"user_u:other_r:third_t:{low}"):
                tcon = f"user_u:object_r:object_t:{high}"
                answer = allowed(ours, scon, tcon, "file")
                assert answer == theirs.allowed(scon, tcon, "file"), (scon, tcon)
                answers.add("read" in answer)
    assert answers


@pytest.mark.parametrize(
    "text",
    [
        "system_u:system_r:container_t:s0",
        "system_u:system_r:container_t:s0:c1,c2",
        "system_u:system_r:container_t:s0:c1.c2",
        "system_u:system_r:container_t:s0:c0.c1023",
        "system_u:system_r:container_t:s0-s0:c0.c1023",
        "system_u:system_r:container_t:s0:c3-s0:c1",
        "system_u:system_r:container_t:s0:c1024",
        "system_u:system_r:container_t:s0:c9.c3",
        "system_u:system_r:container_t:s1",
        "system_u:system_r:container_t",
        "system_u:system_r:data_t:s0",
        "system_u:object_r:data_t:s0",
        "system_u:object_r:container_t:s0",
        "system_u:system_r:spc_t:s0",
        "other_u:system_r:container_t:s0",
        "system_u:other_r:container_t:s0",
        "system_u:system_r:other_t:s0",
        "",
    ],
)
def test_contexts_are_valid_alike(table: Table, reference_policy: Compiled, text: str) -> None:
    with Decisions(reference_policy.policy) as policy:
        try:
            policy.allowed(text, text, "file")
            valid = True
        except UnknownName:
            valid = False
    if valid:
        table.context(text)
    else:
        with pytest.raises(UnknownContext):
            table.context(text)


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("s0:c2,c1", "s0:c1,c2"),
        ("s0:c1.c3", "s0:c1.c3"),
        ("s0:c1,c2,c3,c7", "s0:c1.c3,c7"),
        ("s0-s0", "s0"),
        ("s0-s0:c0.c1023", "s0-s0:c0.c1023"),
    ],
)
def test_contexts_are_written_as_the_kernel_does(table: Table, level: str, written: str) -> None:
    context = table.context(f"system_u:system_r:container_t:{level}")
    assert table.text(context) == f"system_u:system_r:container_t:{written}"


@pytest.mark.parametrize(
    ("source", "target", "tclass", "name", "result"),
    [
        ("kernel_t:s0", "init_exec_t:s0", "process", "", "system_u:system_r:init_t:s0"),
        ("runtime_t:s0", "data_t:s0", "process", "", "system_u:system_r:control_t:s0-s0:c0.c1023"),
        ("runtime_t:s0-s0:c0.c1023", "cni_exec_t:s0", "process", "", "system_u:system_r:container_t:s0"),
        ("container_t:s0:c1,c2", "os_t:s0", "process", "", "system_u:system_r:container_t:s0:c1,c2"),
        ("container_t:s0:c1,c2", "data_t:s0:c1,c2", "file", "", "system_u:object_r:data_t:s0:c1,c2"),
        ("container_t:s0:c1,c2", "data_t:s0", "dir", "", "system_u:object_r:data_t:s0"),
        ("container_t:s0:c1,c2", "data_t:s0", "tcp_socket", "", "system_u:system_r:container_t:s0:c1,c2"),
        ("runtime_t:s0", "local_t:s0", "dir", "overlay2", "system_u:object_r:cache_t:s0"),
        ("runtime_t:s0", "local_t:s0", "dir", "overlay", "system_u:object_r:local_t:s0"),
        ("api_t:s0", "any_t:s0", "sock_file", "api.sock", "system_u:object_r:api_socket_t:s0"),
        ("api_t:s0", "any_t:s0", "file", "api.sock", "system_u:object_r:any_t:s0"),
    ],
)
def test_labels_of_new_things(
    decisions: dict[str, Any], table: Table, source: str, target: str, tclass: str, name: str, result: str
) -> None:
    scon, tcon = (label(decisions, *text.split(":", 1)) for text in (source, target))
    assert transition(table, scon, tcon, tclass, name) == result


@pytest.mark.parametrize(
    ("rules", "tclass", "result"),
    [
        ("", "file", "user_u:object_r:object_t:s0"),
        ("", "tcp_socket", SUBJECT),
        ("(defaulttype file source)(roletype object_r subject_t)", "file", "user_u:object_r:subject_t:s0"),
        ("(defaultrole file source)(roletype proc_r object_t)", "file", "user_u:proc_r:object_t:s0"),
        ("(defaultrange file source high)", "file", "user_u:object_r:object_t:s0:c0.c2"),
        ("(defaultrange file source low-high)", "file", "user_u:object_r:object_t:s0-s0:c0.c2"),
        ("(defaultrange file target low)", "file", "user_u:object_r:object_t:s0:c1"),
        ("(defaultrange file glblub)", "file", "user_u:object_r:object_t:s0-s0:c1"),
        ("(roletransition proc_r object_t process other_r)(typetransition subject_t object_t process third_t)",
         "process", "user_u:other_r:third_t:s0-s0:c0.c2"),
        ("(rangetransition subject_t object_t process ((s0 (c2)) (s0 (c2))))", "process",
         "user_u:proc_r:subject_t:s0:c2"),
        ("(typetransition subject_t object_t file third_t)(roletype object_r third_t)", "file",
         "user_u:object_r:third_t:s0"),
    ],
)  # fmt: skip
def test_what_a_new_label_follows(small: str, rules: str, tclass: str, result: str) -> None:
    assert transition(made(small, rules), SUBJECT, OBJECT, tclass) == result


def test_an_invalid_outcome_is_refused(small: str) -> None:
    with pytest.raises(UnknownContext, match=r"user_u:proc_r:third_t.* is not valid"):
        transition(made(small, "(typetransition subject_t object_t process third_t)"), SUBJECT, OBJECT, "process")


def test_bounds_are_refused(small: str) -> None:
    with pytest.raises(UnknownContext, match="typebounds"):
        made(small, "(typebounds subject_t third_t)(allow subject_t subject_t (dir (search)))")


def test_a_class_that_is_not_there_has_no_labels(small: str) -> None:
    with pytest.raises(UnknownContext, match="class `bird`"):
        transition(made(small, ""), SUBJECT, OBJECT, "bird")


def test_sensitivities_roles_and_ranges_are_answered_alike(small: str) -> None:
    """Two sensitivities, a user confined to part of them, and roles that may and may not change."""
    text = small.replace(
        "(sensitivityorder (s0))", "(sensitivity s1)(sensitivityorder (s0 s1))(sensitivitycategory s1 (c0))"
    )
    text = text.replace("(userrange user_u ((s0) (s0 (range c0 c2))))", "(userrange user_u ((s0) (s1 (c0))))")
    rules = """
        (user low_u)(userrole low_u proc_r)(userrole low_u object_r)(userlevel low_u (s0))
        (userrange low_u ((s0) (s0 (c0))))
        (roleallow proc_r other_r)(roletype other_r subject_t)(roletype proc_r third_t)
        (typeattribute all_types)(typeattributeset all_types (all))
        (allow all_types all_types (process (transition dyntransition fork)))(allow all_types all_types (file (read)))
        (mlsconstrain (file (read)) (dom h1 h2))(mlsconstrain (process (fork)) (incomp l1 h2))
    """
    policy = compile_cil([("base.cil", (text + rules).encode())]).policy
    ours, valid, refused, answers = Table(read(policy)), [], [], set()
    levels = ["s0", "s1", "s0:c0", "s1:c0", "s0-s1", "s0:c0-s1:c0", "s1-s0", "s1:c1", "s0-s0:c0"]
    with Decisions(policy) as theirs:
        for user, role, type_, level in itertools.product(
            ("user_u", "low_u"), ("proc_r", "other_r", "object_r"), ("subject_t", "third_t"), levels
        ):
            context = f"{user}:{role}:{type_}:{level}"
            try:
                theirs.allowed(context, context, "file")
                ours.context(context)
                valid.append(context)
            except UnknownName:
                with pytest.raises(UnknownContext):
                    ours.context(context)
                refused.append(context)
        for scon, tcon in itertools.product(valid, repeat=2):
            for tclass in ("file", "process"):
                answer = allowed(ours, scon, tcon, tclass)
                assert answer == theirs.allowed(scon, tcon, tclass), (scon, tcon)
                answers.add(answer)
    assert len(valid) > 20 and len(refused) > 20
    assert len(answers) > 4
