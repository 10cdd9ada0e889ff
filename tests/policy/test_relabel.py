"""The SELinux side of types that changed, built in the bundle that stands: proven there, and left where in doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from stockade.bundle.read import read
from stockade.cli.build import command
from stockade.model.access import mask
from stockade.model.grants import grants
from stockade.model.host import Labels, Part
from stockade.model.promise import LabelPromise
from stockade.prove import relabel
from stockade.prove.bundled import kernel_policy
from stockade.selinux.decisions import Decisions
from stockade.selinux.libsepol import CilError, Compiled, compile_cil
from stockade.source.files import read_files
from stockade.source.load import build

from tests.policy.standing import again, assert_whole, edit, tree


def test_a_domain_that_two_types_have(place: Path) -> None:
    """What one of them gains is the domain's, so the other's rules are written too, and only then."""
    text = "container: heir\nextends: like-2\nwhy: w\nwidens: {capabilities: w}\ncapabilities: [CHOWN, KILL]\n"
    (place / "policy/containers/heir.yaml").write_text(text)
    assert CliRunner().invoke(command, [str(place / "policy"), "-o", str(place / "bundle")]).exit_code == 0
    edit(place, "containers/heir", "[CHOWN, KILL]", "[KILL]")
    assert (found := again(place)) is not None and found.types == ("heir",)
    edit(place, "containers/heir", "[KILL]", "[KILL, SETUID]")
    assert (found := again(place)) is not None and found.types == ("heir", "like-2")
    assert_whole(place)


def test_a_set_that_nothing_speaks_of_any_more(place: Path) -> None:
    """A compiler leaves such a set out of the kernel policy, so that is another in more than one domain's rules."""
    edit(place, "host/sets", "sets:\n", "sets:\n  lonely: {members: [subjects, objects], why: w}\n")
    edit(place, "containers/like-2", "mount, what: objects", "use-network, what: lonely")
    arguments = [str(place / "policy"), "-o", str(place / "bundle")]
    assert CliRunner().invoke(command, arguments).exit_code == 0
    edit(place, "containers/like-2", "pids.max: 7", "pids.max: 8")
    assert again(place) is not None
    edit(place, "containers/like-2", "use-network, what: lonely", "mount, what: objects")
    assert again(place) is None
    edit(place, "containers/like-2", "mount, what: objects", "use-network, what: lonely")
    edit(place, "containers/like-2", "[CHOWN]", "[KILL]")
    assert again(place) is not None


def test_a_name_like_those_of_sets_by_digit(place: Path) -> None:
    """What looks like such a set in the compiled text is not compared, so no name may look like it."""
    edit(place, "host/sets", "sets:\n", "sets:\n  x-digit-0-1: {members: [lease, secret], why: w}\n")
    assert CliRunner().invoke(command, [str(place / "policy"), "-o", str(place / "bundle")]).exit_code == 0
    edit(place, "containers/like-2", "pids.max: 7", "pids.max: 8")
    assert again(place) is not None
    edit(place, "containers/like-2", "[CHOWN]", "[KILL]")
    assert again(place) is None


def _other_rules(files: Sequence[tuple[str, bytes]]) -> Compiled:
    """Compiled as if one permission more were in the source."""
    more = [(n, t.replace(b"(capability (chown kill", b"(capability (audit_write chown kill")) for n, t in files]
    assert more != list(files)
    return compile_cil(more)


BROKEN: dict[str, tuple[str, object]] = {
    "other rules": ("compile_cil", _other_rules),
    "rules that are not exchanged": ("with_rules_of", lambda standing, compiled, labels: standing.data),
    "other sets": ("_sets", lambda cil: []),
    "a host's file that is another": ("_without_digits", lambda cil: [cil]),
    "what libsepol says": ("Relabelled.denied", lambda self, policy, oracle: iter(["otherwise"])),
    "other labels": ("contract", SimpleNamespace(labels=lambda container: {})),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_selinux_side_is_proven(place: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    edit(place, "containers/like-2", "[CHOWN]", "[CHOWN, KILL]")
    before, (function, instead) = tree(place / "bundle"), BROKEN[name]
    with monkeypatch.context() as patch:
        patch.setattr(f"{relabel.__name__}.{function}", instead)
        assert again(place) is None
    assert tree(place / "bundle") == before
    assert again(place) is not None


def test_libsepol_is_asked_of_what_changed(place: Path) -> None:
    policy = build(read_files(place / "policy"))
    kernel = kernel_policy(read(place / "bundle"))[1]
    chown, kill = mask("capability", ["chown"]), mask("capability", ["kill"])
    pair = ("like2_t", "like2_t")

    def said(before: int, after: int) -> list[str]:
        with Decisions(kernel) as oracle:
            return list(relabel.Relabelled((), kernel, {pair: before}, {pair: after}).denied(policy, oracle))

    assert said(0, chown) == said(chown | kill, chown) == said(chown, chown) == []
    assert len(said(chown, 0)) == len(said(0, kill)) == 1
    assert "like2_t, like2_t, capability kill" in said(chown, chown | kill)[0]


def test_libsepol_holds_promises_against_what_was_gained(place: Path) -> None:
    policy = build(read_files(place / "policy"))
    (label,) = (s.label for s in policy.host.subjects.values() if s.declared_by == "like-2")
    itself = Labels((Part(label, frozenset([label])),))
    rule = next(rule for rule in policy.host.rules if rule.origin == "like-2")
    promise = next(p for p in policy.promises.values() if isinstance(p, LabelPromise) and p.own == "like-2")
    more = replace(rule, who=itself, what=promise.what, access=promise.access)
    broken = replace(policy, host=replace(policy.host, rules=(*policy.host.rules, more)))
    had = {pair: access for pair, access in grants(policy.host).items() if pair[0] == label}
    assert relabel._compiled(policy, {label}, had)
    with pytest.raises(CilError, match="neverallow"):  # by the type's own promise
        relabel._compiled(broken, {label}, grants(broken.host))
    foreign = replace(promise, own=None)
    broken = replace(broken, promises={promise.name: foreign})
    with pytest.raises(CilError, match="neverallow"):  # by another's, where it is gained
        relabel._compiled(broken, {label}, had)
    assert relabel._compiled(broken, {label}, grants(broken.host))
