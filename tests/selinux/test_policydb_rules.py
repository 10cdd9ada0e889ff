"""Exchanging the rules of some types in a kernel policy: to the last byte what libsepol would have written."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from stockade.selinux.libsepol import compile_cil
from stockade.selinux.policydb import PolicydbError
from stockade.selinux.policydb_rules import Rules, Unlike, values, with_rules_of

SHIPPED = Path(__file__).parents[2] / "profiles/host/policy.31"
FRAME = """
(handleunknown deny)(mls true)(class file (read write open))(class dir (search add_name))(class process (fork signal))
(classorder (file dir process))(sensitivity s0)(sensitivityorder (s0))(category c0)(categoryorder (c0))
(sensitivitycategory s0 (c0))(user u)(role r)(userrole u r)(userlevel u (s0))(userrange u ((s0) (s0 (c0))))
(sid kernel)(sidorder (kernel))(sidcontext kernel (u r a_t ((s0) (s0))))
(type a_t)(type b_t)(type c_t)(roletype r a_t)(roletype r b_t)(roletype r c_t)
(typeattribute every)(typeattributeset every (a_t b_t c_t d_t e_t))
(typeattribute some)(typeattributeset some (a_t d_t e_t))
(allow every self (process (fork)))(allow b_t some (file (read)))(allow c_t every (dir (search)))
"""
MORE = "(type d_t)(type e_t)(roletype r d_t)(roletype r e_t)"


def compiled(*rules: str, more: str = MORE) -> bytes:
    frame = FRAME if more == MORE else FRAME.replace(" d_t e_t", "")
    return compile_cil([("frame.cil", (frame + more).encode()), ("rules.cil", "\n".join(rules).encode())]).policy


CHANGES: dict[str, tuple[list[str], list[str]]] = {
    "nothing": (["(allow a_t every (file (read)))"], ["(allow a_t every (file (read)))"]),
    "a permission": (["(allow a_t every (file (read)))"], ["(allow a_t every (file (read write)))"]),
    "a class": (
        ["(allow a_t every (file (read)))"],
        ["(allow a_t every (file (read)))", "(allow a_t b_t (dir (search)))"],
    ),
    "the first": ([], ["(allow a_t self (file (read)))", "(allow a_t some (process (signal)))"]),
    "the last": (["(allow a_t self (file (read)))", "(allow a_t some (process (signal)))"], []),
    "not audited": (
        ["(allow a_t c_t (file (read)))"],
        ["(allow a_t c_t (file (read)))", "(dontaudit a_t c_t (file (open)))"],
    ),
    "audited": ([], ["(auditallow a_t every (file (open)))", "(dontaudit a_t every (file (open write)))"]),
    "one more thing": (["(allow a_t b_t (file (read)))"], ["(allow a_t some (file (read)))"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("others", ["", "(allow d_t e_t (file (read)))(allow e_t every (dir (add_name)))"])
def test_the_bytes_are_those_of_a_compiler(name: str, others: str) -> None:
    old, new = CHANGES[name]
    standing, wanted = compiled(*old, others), compiled(*new, others)
    # What is compiled has fewer types, and other numbers for those that it has.
    few = compiled(*new, more="(type aa_t)(roletype r aa_t)")
    assert with_rules_of(Rules(standing), Rules(few), ["a_t"]) == wanted
    assert (standing == wanted) == (name == "nothing")


def test_two_at_once() -> None:
    old, new = "(allow a_t b_t (file (read)))(allow d_t self (dir (search)))", "(allow d_t a_t (file (write)))"
    assert with_rules_of(Rules(compiled(old)), Rules(compiled(new)), ["d_t", "a_t"]) == compiled(new)


def test_every_rule_of_the_shipped_policy_is_at_its_place() -> None:
    rules = Rules(SHIPPED.read_bytes())
    assert all(one.place <= other.place for one, other in pairwise(rules[n] for n in range(len(rules))))
    assert len({rules[n].place[0] for n in range(len(rules))}) > len(rules) // 2
    with_transitions = {
        rules.policy.types[row.source] for row in map(rules.__getitem__, range(len(rules))) if row.kind > 4
    }
    types = set(rules.policy.types.values()) - with_transitions
    assert len(types) > 2 * len(with_transitions) > 0
    assert with_rules_of(rules, rules, types) == rules.data


REFUSED: dict[str, tuple[bytes, str]] = {
    "a type that is not there": (
        compiled("(allow a_t x_t (file (read)))", more=f"{MORE}(type x_t)(roletype r x_t)"),
        "x_t",
    ),
    "an attribute that is not there": (
        compiled("(typeattribute few)(typeattributeset few (b_t c_t))(allow a_t few (file (read)))"), "few"
    ),
    "the last use of an attribute": (compiled(), "no rule speaks of lonely"),
    "a transition": (compiled("(typetransition a_t b_t process c_t)(allow a_t lonely (file (read)))"
                              "(typeattribute lonely)(typeattributeset lonely (b_t c_t))"), "no permission"),
    "other classes": (
        compile_cil([("a.cil", (FRAME + MORE).replace("(read write open)", "(open read write)").encode())]).policy,
        "classes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_exchanged(name: str) -> None:
    lonely = "(typeattribute lonely)(typeattributeset lonely (b_t c_t))(allow a_t lonely (file (read)))"
    few, reason = REFUSED[name]
    with pytest.raises(Unlike, match=reason):
        with_rules_of(Rules(compiled(lonely)), Rules(few), ["a_t"])


def test_a_type_without_a_name_here() -> None:
    with pytest.raises(Unlike, match="no type is called nobody_t"):
        with_rules_of(Rules(compiled()), Rules(compiled()), ["nobody_t"])


def test_another_order_is_refused() -> None:
    rules = Rules(compiled("(allow a_t b_t (file (read)))", "(allow a_t c_t (file (read)))"))
    rows = [rules.data[at : at + 12] for at in rules.rows]
    data = rules.data[: rules.rows.start] + b"".join(rows[::-1]) + rules.data[rules.rows.stop :]
    with pytest.raises(Unlike, match="another order"):
        with_rules_of(Rules(data), rules, ["a_t"])


def test_what_is_no_plain_table_is_refused() -> None:
    for rule, reason in (
        ("(allowx a_t b_t (ioctl file (0x1234)))(allow a_t b_t (file (ioctl)))", "single ioctl"),
        ("(boolean tune true)(booleanif tune (true (allow a_t b_t (file (read)))))", "under a condition"),
    ):
        policy = compile_cil([("a.cil", (FRAME.replace("read write", "ioctl read write") + MORE + rule).encode())])
        with pytest.raises(PolicydbError, match=reason):
            Rules(policy.policy)


def test_what_is_around_the_rules() -> None:
    rules, more = Rules(compiled()), Rules(compiled("(allow a_t b_t (file (read)))"))
    assert rules.around(more.data) == (rules.policy, more.rows)
    assert Rules(more.data, rules).rows == more.rows
    for data in (more.data[:-1], more.data + b"\0" * 12, more.data[:-1] + b"\1", b"\0" + more.data[1:]):
        assert rules.around(data) is None
    count = rules.rows.start - 4
    assert rules.around(rules.data[:count] + b"\xff" + rules.data[count + 1 :]) is None


def test_rows_read_are_what_the_policy_says() -> None:
    rules = Rules(compiled("(allow a_t b_t (file (read)))", "(dontaudit a_t b_t (file (open)))"))
    numbers = values(rules.policy)
    file = next(c for c in rules.policy.classes.values() if c.name == "file")
    for kind, permission in (("allow", "read"), ("dontaudit", "open")):
        (row,) = (r for r in rules.vectors(kind, [numbers["a_t"]]) if r.target == numbers["b_t"])
        assert {name for name, bit in file.permissions.items() if row.data & bit} == {permission}
