"""What is written means what it looks like: scalars, sizes, conditions, inheritance, sets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stockade.model.access import CLASS_MASK
from stockade.model.container import Quota, Sockets
from stockade.model.policy import Policy
from stockade.model.seccomp import Action, Condition
from stockade.source import units, yaml
from stockade.source.diagnostics import Diagnostics, PolicyError, nearest
from stockade.source.load import build
from stockade.source.syscalls import SyscallBuilder
from stockade.source.yaml import read_documents, scalar

from tests.source import policies


def loaded(files: policies.Files, change: dict[str, Any]) -> Policy:
    return build(policies.as_sources(policies.changed(files, change)))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(
            (word, word)
            for word in ("no", "yes", "on", "off", "y", "12:30", "1_000", "2026-01-02", "0b11", "0o8", "<<")
        ),
        *((word, word) for word in ("-0x1F", "+.inf.", "1e", "e1", ".", "-", "+", "1.2.3", "=", "nUll", "tRUE")),
        *((word, None) for word in ("", "~", "null", "Null", "NULL")),
        *((word, True) for word in ("true", "True", "TRUE")),
        *((word, False) for word in ("false", "False", "FALSE")),
        ("0o17", 15),
        ("0x1F", 31),
        ("017", 17),
        ("-7", -7),
        ("+7", 7),
        ("1.0", 1),
        ("1e3", 1000),
        ("1.5", 1.5),
        (".5", 0.5),
        (".inf", float("inf")),
        ("-.INF", float("-inf")),
        ("9" * 40, int("9" * 40)),
        ("9" * 41, "9" * 41),
    ],
)
def test_plain_scalars_mean_what_yaml_1_2_says(text: str, value: Any) -> None:
    found = scalar(text)
    assert (type(found), found) == (type(value), value)


def test_a_file_in_all_its_forms() -> None:
    report = Diagnostics()
    text = "\ufeffa: &x [1, 'no', \"é\"]\r\nb: *x\r\nc: >-\r\n  two\r\n  lines\r\nd: |\r\n  also\r\n\r\n  two\r\n"
    (document,) = read_documents("host/x.yaml", text.encode(), report)
    assert report.found == []
    assert document == {"a": [1, "no", "é"], "b": [1, "no", "é"], "c": "two lines", "d": "also two"}
    assert (document.keys_at["b"].line, document.values_at["b"].column) == (2, 4)
    assert [at.column for at in document["a"].items_at] == [8, 11, 17]


def test_a_file_that_is_too_large() -> None:
    report = Diagnostics()
    assert read_documents("host/x.yaml", b"# " + b"x" * (1 << 20), report) == []
    assert [(str(f.at), f.message) for f in report.found] == [("host/x.yaml:1:1", "larger than 1 MiB")]
    report = Diagnostics()
    assert read_documents("host/x.yaml", b"a: 1\n#" + b"x" * ((1 << 20) - 6), report) == [{"a": 1}]


def test_a_file_of_too_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every value counts: the mapping, its list and three numbers are five."""
    monkeypatch.setattr(yaml, "MAX_NODES", 5)
    assert read_documents("host/x.yaml", b"a: [1, 2, 3]", report := Diagnostics()) == [{"a": [1, 2, 3]}]
    assert report.found == []
    assert read_documents("host/x.yaml", b"a: [1, 2, 3, 4]", report) == []
    assert [(str(f.at), f.message) for f in report.found] == [("host/x.yaml:1:14", "more than 5 values in one file")]


@pytest.mark.parametrize(
    ("text", "number"),
    [(0, 0), ("512MiB", 512 << 20), ("1.5KiB", 1536), ("2GB", 2 * 10**9), ("1TiB", 1 << 40), ("7", 7), ("7B", 7)],
)
def test_sizes(text: int | str, number: int) -> None:
    assert units.size(text) == number


@pytest.mark.parametrize("text", ["", "-1", "1KB ", "1kib", "1e3", "0.1B", "٣", "9" * 30, "1 GiB", "GiB", ".5GiB", -1])
def test_no_sizes(text: int | str) -> None:
    with pytest.raises(ValueError, match=r"`.*` is"):
        units.size(text)


@pytest.mark.parametrize(
    ("text", "quota"),
    [("50%", Quota(50_000)), ("33.333%", Quota(33_333)), ("400%", Quota(400_000)), ("5000 20000", Quota(5000, 20_000))],
)
def test_shares(text: str, quota: Quota) -> None:
    assert units.cgroup("cpu.max", text) == quota


@given(st.text(max_size=6) | st.from_regex(r"[0-9.,%KMGiB -]{0,30}", fullmatch=True) | st.integers())
def test_every_value_of_a_cgroup_file_is_taken_or_refused(value: int | str) -> None:
    for file in units.CGROUP_FILES:
        try:
            found = units.cgroup(file, value)
        except ValueError as error:
            assert str(error)
        else:
            assert found is None or isinstance(found, int | str | Quota)


CONDITIONS = [
    ("0", Condition(0, 32, ((0, 0),))),
    ("[8, 0, 9]", Condition(0, 32, ((0, 0), (8, 9)))),
    ("LINUX32", Condition(0, 32, ((8, 8),))),
    ("PER_LINUX32", Condition(0, 32, ((8, 8),))),
    ("{none-of: [1, 2]}", Condition(0, 32, (), ((3, 0),))),
    ("{all-of: [1, 2]}", Condition(0, 32, (), ((3, 3),))),
    ("{not: 0}", Condition(0, 32, ((1, 0xFFFFFFFF),))),
    ("{not: [1, 2, 0xffffffff]}", Condition(0, 32, ((0, 0), (3, 0xFFFFFFFE)))),
    ("{to: 9, from: 2}", Condition(0, 32, ((2, 9),))),
    ("{is: 2, mask: 6}", Condition(0, 32, (), ((6, 2),))),
]


@pytest.mark.parametrize("name", ["persona", "arg0"])
@pytest.mark.parametrize(("text", "condition"), CONDITIONS)
def test_conditions(base: policies.Files, name: str, text: str, condition: Condition) -> None:
    if name == "arg0" and "LINUX" in text:
        with pytest.raises(PolicyError, match="1 errors"):
            loaded(base, {"containers/plain.yaml": {"swap": ["persona: [0, 8]", f"{name}: {text}"]}})
        return
    policy = loaded(base, {"containers/plain.yaml": {"swap": ["persona: [0, 8]", f"{name}: {text}"]}})
    for container in policy.containers.values():
        (rule,) = (rule for rule in container.syscalls.rules if rule.call == "personality")
        assert (rule.verdict.action, rule.conditions) == (Action.ALLOW, (condition,))


def test_every_call_but_sockets(base: policies.Files) -> None:
    swap = [
        'allow: ["@basics", openat]',
        "allow: all",
        "    - {call: clone, flags: {none-of: [NEWUSER, NEWNS]}, why: threads}\n",
        "",
    ]
    swap += ["  allow-when:\n", "", "    - {call: personality, persona: [0, 8], why: C libraries}\n", ""]
    policy = loaded(base, {"containers/plain.yaml": {"swap": swap}})
    rules = [r for r in policy.containers["plain"].syscalls.rules if r.verdict.action is Action.ALLOW]
    assert len(rules) > 400
    assert {rule.call for rule in rules if rule.conditions} == {"socket", "socketpair"}


GRANDCHILD = {"containers/x.yaml": "container: bare\nextends: tight\nwhy: less\nselinux: {domain: bare_t}\n"}
SIBLING = {"containers/x.yaml": "container: same\nextends: tight\nwhy: the same\n"}


def test_a_domain_is_in_every_set_of_those_it_narrows(base: policies.Files) -> None:
    named = {"host/names.yaml": {"swap": ["{members: {of: subjects, except: trusted}", "{members: worker"]}}
    policy = loaded(base, {**named, **GRANDCHILD})
    assert policy.host.sets["workloads"].labels == {"worker_t", "tight_t", "bare_t"}
    assert policy.host.subjects["bare"].parent == "tight_t"


def test_a_domain_keeps_no_more_than_those_it_narrows(base: policies.Files) -> None:
    policy = loaded(base, GRANDCHILD)

    def given_to(label: str, target: str) -> int:
        total = 0
        for rule in policy.host.rules:
            for part in rule.who.parts:
                if label in part.members and target in rule.what.members(label):
                    total |= rule.access
        return total

    change = policy.host.verbs["change"].access
    assert given_to("worker_t", "data_t") & change == change
    assert given_to("tight_t", "data_t") & change == 0
    assert given_to("bare_t", "data_t") & change == 0
    assert given_to("bare_t", "image_t") == given_to("tight_t", "image_t") != 0
    assert given_to("worker_t", "worker_t") & CLASS_MASK["tcp_socket"]
    assert not given_to("bare_t", "bare_t") & CLASS_MASK["tcp_socket"]


def test_a_type_may_share_the_domain_that_another_declares(base: policies.Files) -> None:
    policy = loaded(base, SIBLING)
    assert policy.containers["same"].domain == policy.containers["tight"].domain == "tight_t"
    assert "same" not in policy.host.subjects


def test_what_is_inherited_keeps_its_place(base: policies.Files) -> None:
    tight = build(policies.as_sources(base)).containers["tight"]
    assert tight.place("rlimits").file == "containers/plain.yaml"
    assert tight.place("capabilities").file == "containers/tight.yaml"
    assert tight.cgroup == {"memory.max": 1 << 30, "memory.swap.max": 0, "cpu.max": Quota(50_000)}


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("CAP_SYS_ADMIN", ["SYS_ADMIN", "SYS_BOOT"], "did you mean `SYS_ADMIN`?"),
        ("chown", ["CHOWN", "KILL"], "did you mean `CHOWN`?"),
        ("x", ["aaa", "bbb"], "known: aaa, bbb"),
        ("x", [f"n{n:02}" for n in range(20)], "known: " + ", ".join(f"n{n:02}" for n in range(12)) + " and 8 more"),
        ("x", [], ""),
    ],
)
def test_hints(name: str, known: list[str], hint: str) -> None:
    assert nearest(name, known) == hint


@pytest.mark.parametrize(
    "condition",
    [
        "persona: [0, LINUX33]",
        "persona: [0, 0x100000000]",
        "persona: {not: [1, LINUX33]}",
        "persona: {none-of: [UNAME26, UNAME27]}",
        "persona: {none-of: [UNAME26, 0]}",
        "persona: {all-of: [-1, 1]}",
        "persona: {mask: 1, is: 2}",
        "persona: {from: 9, to: 2}",
        "persona: 0, arg1: x",
        "persona: 0, person: 1",
    ],
)
@pytest.mark.parametrize("key", ["allow-when", "deny"])
def test_no_rule_is_built_of_what_is_left_of_a_wrong_condition(condition: str, key: str) -> None:
    """Such a policy is refused anyway; that it is must not be the only thing that keeps a rule from being wider."""
    report = Diagnostics()
    text = f"{key}: [{{call: personality, {condition}, why: x}}]"
    (body,) = read_documents("x.yaml", text.encode(), report)
    assert report.found == []
    built = SyscallBuilder({}, report).build(body, Sockets(frozenset(), "x", body.at), "x", body.at)
    assert built.rules == ()
    assert len(report.found) == 1
