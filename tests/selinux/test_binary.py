"""What a kernel policy is read into."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from stockade.selinux import binary as binary_module
from stockade.selinux.binary import Binary, BinaryError
from stockade.selinux.binary_values import (
    Default,
    ExtendedRule,
    RangeTransition,
    RoleTransition,
    Rule,
    TypeTransition,
    User,
)
from stockade.selinux.libsepol import Compiled, compile_cil


@pytest.fixture(scope="module")
def binary(reference_policy: Compiled) -> Binary:
    return Binary(reference_policy.policy)


def made(small: str, rules: str, version: int = 32) -> Binary:
    return Binary(compile_cil([("base.cil", (small + rules).encode())], policy_version=version).policy)


def test_the_reference_comes_back(decisions: dict[str, Any], binary: Binary) -> None:
    """Part by part what went into the CIL; rules are compared in test_decide."""
    assert binary.version == 31 and binary.mls and binary.handle_unknown == decisions["handle_unknown"]
    assert binary.policycaps == set(decisions["policy_capabilities"])
    assert dict(binary.classes) == {name: frozenset(perms) for name, perms in decisions["classes"].items()}
    assert dict(binary.initial_sids) == decisions["initial_sids"]
    assert dict(binary.fs_use) == {name: (kind, context) for kind, name, context in decisions["fs_use"]}
    assert dict(binary.genfscon) == {(name, path, ""): context for name, path, context in decisions["genfscon"]}
    aliases = {alias: name for name, facts in decisions["types"].items() for alias in facts["aliases"]}
    assert dict(binary.aliases) == aliases and "spc_t" in aliases
    assert set(binary.types) == set(decisions["types"])
    assert binary.roles["system_r"] == set(decisions["roles"]["system_r"])
    assert binary.users == {"system_u": User(frozenset({"system_r"}), "s0:c0.c1023", "s0", "s0:c0.c1023")}
    assert [list(t[1:4]) + [t.result] + [t.name] * bool(t.name) for t in binary.type_transitions] == sorted(
        decisions["type_transitions"]
    )
    assert {(t.source, t.target, t.tclass, t.low, t.high) for t in binary.range_transitions} == {
        (source, target, tclass, *(levels.split(" - ") * 2)[:2])
        for source, target, tclass, levels in decisions["range_transitions"]
    }
    assert {(c.kind, c.tclass, c.perms or None) for c in binary.constraints} == {
        (kind, tclass, frozenset(perms) if perms else None) for kind, tclass, perms, _ in decisions["constraints"]
    }
    assert len(binary.constraints) == len(decisions["constraints"]) == 104
    written = {"default_range " + f"{d.tclass} {d.value} {d.part};" for d in binary.defaults}
    assert written == set(decisions["defaults"])
    assert dict(binary.dontaudit) == {("container_t", "any_t"): {"file": {"relabelfrom"}}}
    assert (binary.booleans, binary.permissive, binary.extended, binary.bounded) == ({}, frozenset(), (), {})
    assert (len(binary.categories), binary.sensitivities) == (1024, ("s0",))
    assert binary.categories[:3] == ("c0", "c1", "c2") and binary.categories[-1] == "c1023"


def test_attributes_and_self_are_expanded(small: str) -> None:
    rules = """
        (typeattribute group)(typeattributeset group (subject_t third_t))(typeattribute nobody)
        (allow group object_t (file (read)))(allow subject_t object_t (file (write)))(allow group self (dir (add_name)))
        (allow nobody object_t (dir (search)))(allow object_t nobody (dir (search)))
    """
    binary = made(small, rules)
    assert binary.allow == {
        ("subject_t", "object_t"): {"file": {"read", "write"}},
        ("third_t", "object_t"): {"file": {"read"}},
        ("subject_t", "subject_t"): {"dir": {"add_name"}},
        ("third_t", "third_t"): {"dir": {"add_name", "search"}},
    }
    assert binary.attributes["group"] == {"subject_t", "third_t"}
    assert Rule("allow", "group", "object_t", "file", frozenset({"read"})) in binary.rules


def test_an_attribute_without_types_gives_nothing(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = made(small, "")
    monkeypatch.setitem(binary.__dict__, "attributes", {"none": frozenset()})
    rest = {"tclass": "file", "perms": {"read"}, "conditional": "c", "conditional_block": True, "enabled": lambda: True}
    pairs = [("none", "object_t"), ("object_t", "none")]
    rules = [("allow", SimpleNamespace(source=source, target=target, **rest)) for source, target in pairs]
    monkeypatch.setitem(binary.__dict__, "_te", tuple(rules))
    assert binary.allow == {}
    monkeypatch.setitem(binary.__dict__, "attributes", {"none": frozenset({"third_t"})})
    assert binary.vectors("allow").keys() == {("third_t", "object_t"), ("object_t", "third_t")}
    assert binary.vectors("allow", {"object_t"}) == {}


@pytest.mark.parametrize(("default", "there"), [("true", True), ("false", False)])
def test_conditional_rules_follow_the_defaults(small: str, default: str, there: bool) -> None:
    rules = f"""
        (boolean tune {default})
        (booleanif tune
            (true (allow subject_t object_t (file (read))))
            (false (allow subject_t object_t (file (write)))))
    """
    binary = made(small, rules)
    assert binary.booleans == {"tune": there}
    assert binary.allow["subject_t", "object_t"] == {"file": {"read" if there else "write"}}
    conditional = {(tuple(rule.perms), rule.enabled) for rule in binary.rules if rule.condition}
    assert conditional == {(("read",), there), (("write",), not there)}
    assert all("tune" in rule.condition for rule in binary.rules if rule.source == "subject_t")


def test_commons_belong_to_their_classes(small: str) -> None:
    common = "(common shared (lock))(class fifo (write))(classcommon fifo shared)(classorder (unordered fifo))"
    assert made(small, common).classes["fifo"] == {"lock", "write"}


def test_rarer_statements(small: str) -> None:
    binary = made(
        small,
        """
        (typepermissive third_t)
        (typeattribute group)(typeattributeset group (subject_t third_t))
        (typechange group object_t file third_t)(typemember subject_t object_t dir third_t)
        (typetransition group object_t file "a b" third_t)
        (rangetransition group object_t process ((s0) (s0 (c1))))
        (roletransition proc_r object_t process other_r)(roleallow proc_r other_r)
        (defaultuser file target)(defaultrole dir source)(defaulttype file source)(defaultrange dir glblub)
        (typebounds third_t subject_t)
        """,
    )
    assert binary.permissive == {"third_t"}
    assert binary.bounded == {"subject_t": "third_t"}
    assert {t for t in binary.type_transitions if t.kind != "type_transition"} == {
        TypeTransition("type_change", "subject_t", "object_t", "file", "third_t"),
        TypeTransition("type_change", "third_t", "object_t", "file", "third_t"),
        TypeTransition("type_member", "subject_t", "object_t", "dir", "third_t"),
    }
    assert {t.source for t in binary.type_transitions if t.name == "a b"} == {"subject_t", "third_t"}
    assert RangeTransition("third_t", "object_t", "process", "s0", "s0:c1") in binary.range_transitions
    assert binary.role_transitions == (RoleTransition("proc_r", "object_t", "process", "other_r"),)
    assert binary.role_allow == {("proc_r", "other_r")}
    assert binary.defaults == (
        Default("default_range", "dir", "glblub"),
        Default("default_role", "dir", "source"),
        Default("default_type", "file", "source"),
        Default("default_user", "file", "target"),
    )


def test_extended_rules(small: str) -> None:
    text = small.replace("(class file (read write open))", "(class file (read write open ioctl))")
    rules = "(allow subject_t object_t (file (ioctl)))(allowx subject_t object_t (ioctl file (range 0x5401 0x5403)))"
    assert made(text, rules).extended == (
        ExtendedRule("allowxperm", "subject_t", "object_t", "file", "ioctl", frozenset({0x5401, 0x5402, 0x5403})),
    )


def test_constraints_name_types_not_attributes(small: str) -> None:
    rules = """
        (typeattribute group)(typeattributeset group (subject_t third_t))
        (constrain (file (read)) (or (eq t1 group) (and (eq u1 u2) (neq r2 proc_r))))
        (validatetrans file (eq t3 group))
    """
    first, second = made(small, rules).constraints
    group = frozenset({"subject_t", "third_t"})
    assert (first.kind, first.tclass, first.perms) == ("constrain", "file", frozenset({"read"}))
    assert first.postfix == ("t1", group, "==", "u1", "u2", "==", "r2", frozenset({"proc_r"}), "!=", "and", "or")
    assert (second.kind, second.perms, second.postfix) == ("validatetrans", frozenset(), ("t3", group, "=="))
    assert "group" in first.text


def test_a_policy_without_mls(small: str) -> None:
    keep = [
        line for line in small.splitlines() if "sens" not in line and "categ" not in line and "userlevel" not in line
    ]
    text = "\n".join(keep).replace("(mls true)", "(mls false)")
    text = small.replace("(mls true)", "(mls false)") if "userrange" in text else text
    binary = made(text, "")
    assert not binary.mls
    assert binary.users["user_u"] == User(frozenset({"proc_r", "other_r"}), "", "", "")
    assert (binary.sensitivities, binary.categories) == ((), ())
    assert binary.initial_sids == {"kernel": "user_u:proc_r:subject_t"}


@pytest.mark.parametrize(
    "spoil", [lambda p: b"", lambda p: b"(allow a b (c (d)))", lambda p: p[:1000], lambda p: p[8:]]
)
def test_what_is_no_policy_is_refused(reference_policy: Compiled, spoil: Any) -> None:
    with pytest.raises(BinaryError, match="not a kernel policy"):
        Binary(spoil(reference_policy.policy))


def test_the_wrong_setools_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert binary_module.available() is None
    stranger = ModuleType("setools")
    stranger.__file__ = "/somewhere/setools/__init__.py"
    monkeypatch.setitem(sys.modules, "setools", stranger)
    assert "another project" in (binary_module.available() or "") and "/somewhere" in (binary_module.available() or "")
    monkeypatch.setitem(sys.modules, "setools", None)
    assert "python3-setools" in (binary_module.available() or "")
    with pytest.raises(BinaryError):
        Binary(b"")
