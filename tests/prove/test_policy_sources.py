"""Differences of policy folders, in the words of the source, as values and as text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from stockade.bundle.compile import Compiled
from stockade.model.policy import Policy
from stockade.prove.diff_text import lines
from stockade.prove.policy_diff import PolicyDiff, diff
from stockade.prove.policy_sources import diff_sources, explain, kernel_policy
from stockade.source.load import load

from tests.conftest import SHIPPED
from tests.prove.policies import HEAD
from tests.prove.policies import compiled as small

RULE = """
  - who: [clock]
    may: [modify]
    what: [private]
    why: A test.
"""


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[str, str, str], Policy]:
    def change(file: str, old: str, new: str) -> Policy:
        folder = tmp_path / "policy"
        shutil.copytree(SHIPPED, folder)
        path = folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        return load(folder)

    return change


def test_the_policy_in_memory_is_the_built_one(policy: Policy, compiled: Compiled) -> None:
    assert kernel_policy(policy) == compiled.kernel_policy
    assert diff_sources(policy, policy).same


def test_a_new_rule_is_named(policy: Policy, changed: Callable[[str, str, str], Policy]) -> None:
    text = (SHIPPED / "host/rules.yaml").read_text()
    start = text.index("\nrules:\n") + len("\nrules:")
    new = changed("host/rules.yaml", text[:start], text[:start] + RULE)
    found = diff_sources(policy, new)
    assert found.widened and not found.narrowed and found.widens
    line = text[:start].count("\n") + 2
    for access in found.widened:
        assert (access.source, access.target, access.verbs) == ("clock_t", "private_t", ("modify",))
        assert [place.rpartition(":")[0] for place in access.because] == [f"host/rules.yaml:{line}"]
    back = diff_sources(new, policy)
    assert back.narrowed == found.widened and not back.widened
    told = "\n".join(lines(found))
    assert "clock_t\n    + private_t\n        modify\n" in told and f"said at host/rules.yaml:{line}:" in told
    assert json.loads(json.dumps(found.as_dict()))["widened"][0]["because"]


def test_part_of_a_verb_is_not_called_by_its_name(policy: Policy, changed: Callable[[str, str, str], Policy]) -> None:
    rule = RULE.replace("may: [modify]", "access: {file: [write]}")
    new = changed("host/rules.yaml", "\nrules:\n", f"\nrules:{rule}")
    (access,) = diff_sources(policy, new).widened
    assert (access.tclass, access.perms, access.verbs) == ("file", ("write",), ())
    assert len(access.because) == 1


def test_only_one_side_has_a_source(policy: Policy, compiled: Compiled) -> None:
    other = kernel_policy(policy)
    found = explain(diff(small(HEAD), other), None, policy)
    assert all(access.because for access in found.widened)
    assert found.narrowed == explain(found, None, None).narrowed


BASE = "(type t1)(type t2)(type t3)(roletype object_r t1)(roletype object_r t2)(roletype object_r t3)"


def told(old: str, new: str) -> list[str]:
    return list(lines(diff(small(HEAD + BASE + old), small(HEAD + BASE + new))))


def test_the_text_gathers_what_is_alike() -> None:
    assert told("", "") == ["both policies decide the same"]
    rules = "".join(f"(allow {s} {t} (file (read)))" for s in ("t1", "t2") for t in ("t3", "base"))
    assert told("(allow t3 t3 (dir (search write)))", rules) == [
        "wider: 4 permissions on 4 pairs of types",
        "  t1, t2",
        "    + base, t3",
        "        file { read }",
        "narrower: 2 permissions on 1 pair of types",
        "  t3",
        "    - itself",
        "        dir { search write }",
    ]
    assert told("", "(typepermissive t1)(constrain (file (read)) (eq t1 t2))") == [
        "otherwise:",
        "  constraint file { read } (narrows)",
        "    + (t1 == t2)",
        "    only the old one lets pass: u:object_r:base:s0 u:object_r:t1:s0",
        "  + permissive type t1 (widens)",
    ]


def test_the_text_is_bounded() -> None:
    types = "".join(f"(type x{n})(roletype object_r x{n})(allow t1 x{n} (file (read)))" for n in range(9))
    found = diff(small(HEAD + BASE), small(HEAD + BASE + types))
    assert "    + x0, x1 and 7 more" in list(lines(found, names=2))
    assert list(lines(PolicyDiff((), (), ()))) == ["both policies decide the same"]
