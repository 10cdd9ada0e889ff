"""Domains that are alike: two stand for all, and no fault hides behind those that are left out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from stockade.bundle.compile import Compiled, CompileError, compile_policy, kernel_cil
from stockade.model.access import mask
from stockade.model.alike import Kinds, few, kinds
from stockade.model.grants import grants
from stockade.model.host import Labels, Part, Rule
from stockade.model.policy import Policy
from stockade.prove.binary import disagreements, kinds_in
from stockade.prove.matrix import policy_matrix
from stockade.prove.policy import source_findings, statement_findings
from stockade.selinux.binary import Binary
from stockade.selinux.libsepol import Decisions, compile_cil
from stockade.source.load import load

POLICY = Path(__file__).parents[2] / "policy"
ALIKE = [f"alike{number}_t" for number in range(4)]
LAST = ALIKE[-1]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """Four domains that differ in nothing, and two that each differ from them in one thing."""
    folder = tmp_path_factory.mktemp("alike") / "policy"
    shutil.copytree(POLICY, folder)
    for name in (*(label.removesuffix("_t") for label in ALIKE), "other", "abler"):
        verb = "patch" if name == "other" else "mount"
        held = "[CHOWN, KILL]" if name == "abler" else "[CHOWN]"
        (folder / f"containers/{name}.yaml").write_text(
            f"container: {name}\nextends: ordinary\nwhy: w\ncapabilities: {held}\nselinux:\n  domain: {name}_t\n"
            f"  may-not:\n    - {{may: {verb}, what: objects, why: w}}\n"
        )
    return load(folder)


@pytest.fixture(scope="module")
def compiled(policy: Policy) -> Compiled:
    return compile_policy(policy)


def test_two_stand_for_all(policy: Policy) -> None:
    found = kinds(policy)
    assert {label for label in found.first if found.first[label] == ALIKE[0]} == set(ALIKE)
    assert found.first.keys() == set(ALIKE)
    assert found.left_out == set(ALIKE[2:])
    assert found.pair(ALIKE[2], ALIKE[3]) == (ALIKE[0], ALIKE[1])
    assert found.pair(ALIKE[3], ALIKE[3]) == (ALIKE[0], ALIKE[0])
    assert found.pair(ALIKE[3], "other_t") == (ALIKE[0], "other_t")
    small = few(policy, found)
    assert small.host.subject_labels == policy.host.subject_labels - found.left_out
    assert policy.containers.keys() - small.containers.keys() == {"alike2", "alike3"}


def test_what_two_may_all_may(policy: Policy) -> None:
    """The whole table is the small one, pair by pair."""
    found = kinds(policy)
    small, whole = grants(few(policy, found).host), grants(policy.host)
    labels = policy.host.subject_labels | policy.host.object_labels
    assert all(whole.get((a, b), 0) == small.get(found.pair(a, b), 0) for a in labels for b in labels)


def rule(who: str, what: str, access: int, example: Rule) -> Rule:
    return replace(example, who=Labels((Part(who, frozenset([who])),)), what=Labels((Part(what, frozenset([what])),)),
                   access=access, verbs=(), origin=None)  # fmt: skip


def given(policy: Policy, *rules: tuple[str, str, int]) -> Policy:
    example = policy.host.rules[0]
    more = tuple(rule(*one, example) for one in rules)
    return replace(policy, host=replace(policy.host, rules=(*policy.host.rules, *more)))


WIDENINGS = {
    "by the last": (LAST, "secret_t", mask("file", ["write"])),
    "on the last": ("container_t", LAST, mask("process", ["ptrace"])),
    "between two of them": (LAST, ALIKE[2], mask("process", ["ptrace"])),
    "on itself": (LAST, LAST, mask("capability", ["sys_module"])),
}


@pytest.mark.parametrize("name", WIDENINGS)
def test_one_that_is_named_is_no_longer_alike(policy: Policy, name: str) -> None:
    """A rule for one domain breaks a promise: the source's proof says so, in the words of the proof on all labels."""
    wider = given(policy, WIDENINGS[name])
    assert LAST not in kinds(wider).left_out
    found = source_findings(wider)
    assert [f.message for f in found] == [f.message for f in statement_findings(wider, grants(wider.host))]
    assert found
    assert source_findings(policy) == []


def test_libsepol_refuses_it_too(policy: Policy) -> None:
    with pytest.raises(CompileError, match="neverallow"):
        compile_policy(given(policy, WIDENINGS["by the last"]))


MORE = {
    "by the last": f"(allow {LAST} secret_t (file (write)))",
    "on the last": f"(allow container_t {LAST} (process (ptrace)))",
    "between two of them": f"(allow {LAST} {ALIKE[2]} (process (ptrace)))",
    "on itself": f"(allow {LAST} self (capability (sys_module)))",
    "one is permissive": f"(typepermissive {LAST})",
    "one less log": f"(dontaudit {LAST} secret_t (file (write)))",
    "one transition more": f"(typetransition {LAST} any_t file secret_t)",
    "a set with one more": f"(typeattribute x)(typeattributeset x ({LAST}))(allow x secret_t (file (write)))",
}


@pytest.mark.parametrize("name", MORE)
def test_a_kernel_policy_that_tells_them_apart(policy: Policy, name: str) -> None:
    cil = [*kernel_cil(policy), ("more.cil", MORE[name].encode())]
    kernel = compile_cil(cil, neverallow=False).policy
    alike = kinds_in(policy, kernel)
    assert LAST not in alike.left_out
    assert list(disagreements(policy, Binary(kernel), alike))


@pytest.mark.parametrize("change", [
    lambda text: text.replace(b"(typeattributeset subjects (alike3_t))", b""),
    lambda text: text.replace(b"(allow alike3_t everything describe)", b""),
], ids=["set", "rule"])  # fmt: skip
def test_one_that_has_less(policy: Policy, change: Callable[[bytes], bytes]) -> None:
    cil = [(name, change(text)) for name, text in kernel_cil(policy)]
    assert cil != kernel_cil(policy)
    kernel = compile_cil(cil, neverallow=False).policy
    assert list(disagreements(policy, Binary(kernel), kinds_in(policy, kernel)))


def test_all_of_it_agrees_with_what_was_compiled(policy: Policy, compiled: Compiled) -> None:
    """By kinds and, with no two alike, by every pair of labels."""
    alike = kinds_in(policy, compiled.kernel_policy)
    assert alike == kinds(policy)
    for known in (alike, Kinds()):
        assert list(disagreements(policy, Binary(compiled.kernel_policy), known)) == []


def test_the_matrix_is_the_same(policy: Policy, compiled: Compiled) -> None:
    with Decisions(compiled.kernel_policy) as oracle:
        whole = policy_matrix(policy, oracle)
        small = policy_matrix(policy, oracle, kinds_in(policy, compiled.kernel_policy))
    assert small.types == whole.types
    assert small.counts == whole.counts
    assert {key: v.stopping for key, v in small.verdicts.items()} == {k: v.stopping for k, v in whole.verdicts.items()}
