"""A bundle built again after a change is, to the last byte, the one that is built anew; nothing is kept in doubt."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from stockade.bundle import memory
from stockade.bundle.read import read, verify
from stockade.cli.build import command
from stockade.cli.policy import compiler_digest
from stockade.model.access import mask
from stockade.model.grants import grants
from stockade.model.host import Labels, Part
from stockade.model.promise import LabelPromise
from stockade.prove import rebuild, relabel
from stockade.prove.bundled import kernel_policy
from stockade.selinux.decisions import Decisions
from stockade.selinux.libsepol import CilError, Compiled, compile_cil
from stockade.source.files import digest, digests, read_files
from stockade.source.load import build

POLICY = Path(__file__).parents[2] / "policy"
OWN = (
    "container: like-{number}\nextends: ordinary\nwhy: w\ncapabilities: [CHOWN]\ncgroup: {{pids.max: 7}}\n"
    "selinux:\n  domain: like{number}_t\n  may-not:\n    - {{may: mount, what: objects, why: w}}\n"
)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a policy, the bundle of it, and what the build remembers. Four of its types are alike."""
    top = tmp_path_factory.mktemp("rebuild")
    shutil.copytree(POLICY, top / "policy")
    for number in range(4):
        (top / f"policy/containers/like-{number}.yaml").write_text(OWN.format(number=number))
    for name in ("plain", "other"):
        held = "KILL" if name == "plain" else "CHOWN"
        text = f"container: {name}\nextends: ordinary\nwhy: w\ncapabilities: [{held}]\n"
        (top / f"policy/containers/{name}.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(top / "cache"))
        built = CliRunner().invoke(command, [str(top / "policy"), "-o", str(top / "bundle")])
    assert built.exit_code == 0, built.output
    assert len(list((top / "cache/stockade/builds").glob("*.json"))) == 1
    return top


@pytest.fixture
def place(first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of all that, to be changed."""
    for name in ("policy", "bundle", "cache"):
        shutil.copytree(first / name, tmp_path / name)
    (tmp_path / "cache/stockade").chmod(0o700)
    (tmp_path / "cache/stockade/builds").chmod(0o700)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def edit(place: Path, name: str, old: str, new: str) -> None:
    path = place / f"policy/{name}.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def again(place: Path) -> rebuild.Rebuilt | None:
    """What `stockade build` tries first."""
    files, bundle = read_files(place / "policy"), read(place / "bundle")
    return rebuild.rebuild(files, bundle, place / "bundle", digest(files), compiler_digest())


# File, old text, new text, and the types that are built again.
CHANGES: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "a limit": ("containers/like-2", "pids.max: 7", "pids.max: 8", ("like-2",)),
    "a call": ("containers/plain", "why", "syscalls: {deny: [{call: fork, why: w}]}\nwhy", ("plain",)),
    "one architecture": ("containers/plain", "why", "architectures: [x86_64]\nwhy", ("plain",)),
    "a capability that its domain has": ("containers/plain", "[KILL]", "[CHOWN, KILL]", ("plain",)),
    "a capability that others of its domain have": ("containers/other", "[CHOWN]", "[]", ("other",)),
    "a capability that its domain has not": ("containers/like-2", "[CHOWN]", "[CHOWN, KILL]", ("like-2",)),
    "a capability less": ("containers/like-2", "[CHOWN]", "[]", ("like-2",)),
    "a family": ("containers/like-2", "why: w", "why: w\nsockets: {families: [unix], why: w}", ("like-2",)),
    "another drop": ("containers/like-2", "may: mount", "may: patch", ("like-2",)),
    "a drop more": ("containers/like-2", "may: mount", "may: [mount, relabel, modify]", ("like-2",)),
    "a drop less": (
        "containers/like-2", "  may-not:\n    - {may: mount, what: objects, why: w}\n", "", ("like-2",),
    ),
    "all lines": ("containers/like-2", "container:", "# why\n\ncontainer:", ("like-2",)),
    "all lines of a type of the host's domain": ("containers/plain", "container:", "# why\ncontainer:", ("plain",)),
    "why": ("containers/like-2", "why: w", "why: v", ("like-2",)),
    "a drop in the shipped policy": ("containers/batch", "relabel, ", "", ("batch",)),
    "a capability in the shipped policy": ("containers/web", "NET_BIND_SERVICE", "CHOWN", ("web",)),
    "what many extend": (
        "containers/ordinary", "pids.max: 2048", "pids.max: 2047",
        ("batch", "database", "like-0", "like-1", "like-2", "like-3", "ordinary", "other", "plain", "web"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_the_same_bytes(place: Path, name: str) -> None:
    file, old, new, types = CHANGES[name]
    edit(place, file, old, new)
    found = again(place)
    assert found is not None
    assert found.types == types
    assert verify(place / "bundle") == []
    kept = memory.recall(read(place / "bundle").digest)
    shutil.rmtree(place / "cache")
    anew = CliRunner().invoke(command, [str(place / "policy"), "-o", str(place / "anew"), "--force"])
    assert anew.exit_code == 0, anew.output
    assert tree(place / "bundle") == tree(place / "anew")
    # What is remembered is what the whole build remembers, so that the next change is as quick.
    assert kept == memory.recall(read(place / "anew").digest)
    assert kept is not None


EDITS: list[tuple[str, str]] = [
    ("[CHOWN]", "[CHOWN, KILL]"), ("[CHOWN]", "[]"), ("[]", "[KILL]"), ("[CHOWN, KILL]", "[CHOWN]"),
    ("[KILL]", "[CHOWN]"), ("pids.max: 7", "pids.max: 8"),
    ("may: mount", "may: patch"), ("may: patch", "may: [mount, patch]"), ("may: [mount, patch]", "may: mount"),
    ("container:", "# one line more\ncontainer:"), ("why: w", "why: v"), ("why: v", "why: w"),
]  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_same_bytes_after_many_changes(place: Path, seed: int) -> None:
    """Each is made in the bundle of the one before it, by what that one remembers."""
    chosen, made = random.Random(seed), 0
    while made < 8:
        file, (old, new) = f"containers/like-{chosen.randrange(4)}", chosen.choice(EDITS)
        if old in (place / f"policy/{file}.yaml").read_text():
            edit(place, file, old, new)
            assert again(place) is not None
            made += 1
    kept = memory.recall(read(place / "bundle").digest)
    anew = CliRunner().invoke(command, [str(place / "policy"), "-o", str(place / "anew"), "--force"])
    assert anew.exit_code == 0, anew.output
    assert tree(place / "bundle") == tree(place / "anew")
    assert kept == memory.recall(read(place / "anew").digest)


def test_only_what_changed_is_written(place: Path) -> None:
    before = {path: path.stat().st_ino for path in (place / "bundle").rglob("*") if path.is_file()}
    edit(place, "containers/like-2", "pids.max: 7", "pids.max: 8")
    built = CliRunner().invoke(command, [str(place / "policy"), "-o", str(place / "bundle")])
    assert built.exit_code == 0
    assert "proven: like-2; nothing else is reached by what changed" in built.output
    changed = {p.relative_to(place / "bundle").as_posix() for p, number in before.items() if p.stat().st_ino != number}
    folder = "containers/like-2"
    assert changed == {"manifest.json", f"{folder}/oci.json", f"{folder}/seccomp.json", f"{folder}/summary.md",
                       f"{folder}/seccomp.x86_64.bpf", f"{folder}/seccomp.aarch64.bpf"}  # fmt: skip
    assert {path.stat().st_nlink for path in before} == {1}


def test_only_a_line_moved(place: Path) -> None:
    """The kernel policy is the file that stands; what has places of the source is written."""
    edit(place, "containers/like-2", "container:", "# one line more\ncontainer:")
    before = (place / "bundle/host/policy.31").stat().st_ino
    assert again(place) is not None
    assert (place / "bundle/host/policy.31").stat().st_ino == before
    assert "like-2.yaml:2" in (place / "bundle/containers/like-2/selinux.te").read_text()


WHOLE: dict[str, Callable[[Path], object]] = {
    "a rule": lambda p: edit(p, "host/rules", "why:", "why: now"),
    "a promise": lambda p: edit(p, "promises/containers", "why:", "why: now"),
    "the last who has it": lambda p: edit(p, "containers/ordinary", "FSETID, ", ""),
    "a label by digit": lambda p: edit(p, "containers/like-2", "like2_t", "like_digit_0_t"),
    "a domain": lambda p: edit(p, "containers/like-2", "like2_t", "liketwo_t"),
    "files": lambda p: edit(p, "containers/plain", "why: w", "why: w\nselinux: {files: secret_t}"),
    "whom it extends": lambda p: edit(p, "containers/plain", "extends: ordinary", "extends: web"),
    "whom one with a domain extends": lambda p: edit(p, "containers/like-2", "extends: ordinary", "extends: batch"),
    "the name": lambda p: edit(p, "containers/plain", "container: plain", "container: plainer"),
    "a second type": lambda p: edit(
        p, "containers/plain", "container: plain", "container: more\nextends: ordinary\nwhy: w\n---\ncontainer: plain"
    ),
    "groups": lambda p: edit(
        p, "containers/plain", "container", "groups: {g: {syscalls: [fork], why: w}}\n---\ncontainer"
    ),
    "a new file": lambda p: shutil.move(
        shutil.copy(p / "policy/containers/plain.yaml", p / "new"), p / "policy/containers/new.yaml"
    ),
    "one file less": lambda p: (p / "policy/containers/plain.yaml").unlink(),
    "a fault": lambda p: edit(p, "containers/like-2", "pids.max: 7", "pids.max: never"),
    "wider": lambda p: edit(p, "containers/like-2", "pids.max: 7", "pids.max: 70000"),
    "a broken promise": lambda p: edit(p, "containers/plain", "why", "mask: none\nwidens: {mask: w}\nwhy"),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_what_takes_a_whole_build(place: Path, name: str) -> None:
    before = tree(place / "bundle")
    WHOLE[name](place)
    assert again(place) is None
    assert tree(place / "bundle") == before


def spoil(place: Path, change: Callable[[bytes], bytes]) -> Path:
    (path,) = (place / "cache/stockade/builds").glob("*.json")
    path.write_bytes(change(path.read_bytes()))
    return path


def forged(place: Path, change: Callable[[memory.Memory], memory.Memory]) -> None:
    """Another memory of the bundle, sealed as its own would be."""
    manifest = read(place / "bundle").digest
    known = memory.recall(manifest)
    assert known is not None
    memory.remember(manifest, change(known))


POISON: dict[str, Callable[[Path], object]] = {
    "one bit": lambda p: spoil(p, lambda data: data[:500] + bytes([data[500] ^ 1]) + data[501:]),
    "cut off": lambda p: spoil(p, lambda data: data[:-3]),
    "empty": lambda p: spoil(p, lambda data: b""),
    "not sealed": lambda p: spoil(p, lambda data: data[65:]),
    "another's": lambda p: spoil(p, lambda data: hashlib.sha256(data[65:]).hexdigest().encode() + b"\n" + data[65:]),
    "a link": lambda p: (path := spoil(p, bytes)).rename(p / "away") and path.symlink_to(p / "away"),
    "written by all": lambda p: spoil(p, bytes).chmod(0o666),
    "in a folder that all may write": lambda p: (p / "cache/stockade/builds").chmod(0o777),
    "gone": lambda p: shutil.rmtree(p / "cache"),
    "of other files": lambda p: forged(p, lambda m: replace(m, files={**m.files, "containers/like-2.yaml": "0" * 64})),
    "with too few kinds, and nothing named": lambda p: forged(
        p, lambda m: replace(m, named=frozenset(), kinds={known.domain: "like0_t" for known in m.types.values()})
    ),
}


@pytest.mark.parametrize("name", POISON)
def test_a_memory_that_is_not_believed(place: Path, name: str) -> None:
    edit(place, "containers/like-2", "pids.max: 7", "pids.max: 8")
    before = tree(place / "bundle")
    POISON[name](place)
    assert again(place) is None
    assert tree(place / "bundle") == before


def test_a_kept_file_that_was_changed(place: Path) -> None:
    """Of the same length, in a type that is not reached: nothing is kept, and the build that follows mends it."""
    edit(place, "containers/like-2", "pids.max: 7", "pids.max: 8")
    path = place / "bundle/containers/web/oci.json"
    path.write_bytes(path.read_bytes().replace(b"noexec", b"nosuid", 1))
    assert again(place) is None
    assert sorted(p.name for p in place.iterdir()) == ["bundle", "cache", "policy"]
    built = CliRunner().invoke(command, [str(place / "policy"), "-o", str(place / "bundle")])
    assert built.exit_code == 0
    assert verify(place / "bundle") == []


@pytest.mark.parametrize("change", ["kernel policy", "manifest", "mode"])
def test_a_bundle_that_is_not_what_was_built(place: Path, change: str) -> None:
    edit(place, "containers/like-2", "pids.max: 7", "pids.max: 8")
    path = place / ("bundle/manifest.json" if change == "manifest" else "bundle/host/policy.31")
    if change == "mode":
        path.chmod(0o666)
    elif change == "manifest":  # canonical, and of another compiler
        body = json.loads(path.read_bytes())
        path.write_bytes((json.dumps({**body, "compiler": "0" * 64}, indent=2, sort_keys=True) + "\n").encode())
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert again(place) is None


def test_another_compiler(place: Path) -> None:
    edit(place, "containers/like-2", "pids.max: 7", "pids.max: 8")
    files, bundle = read_files(place / "policy"), read(place / "bundle")
    assert rebuild.rebuild(files, bundle, place / "bundle", digest(files), "0" * 64) is None


def test_what_is_compiled_again_is_proven_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(place, "containers/like-2", "pids.max: 7", "pids.max: 8")
    before, real = tree(place / "bundle"), rebuild.compile_layers

    def broken(*arguments: object) -> object:
        layers = real(*arguments)  # type: ignore[arg-type]
        filters = {key: value[:-8] + b"\x06\0\0\0\0\0\xff\x7f" for key, value in layers.filters.items()}
        return replace(layers, filters=filters)

    monkeypatch.setattr(rebuild, "compile_layers", broken)
    assert again(place) is None
    assert tree(place / "bundle") == before


def test_a_domain_that_two_types_have(place: Path) -> None:
    """What one of them gains is the domain's, so the other's rules are written too, and only then."""
    text = "container: heir\nextends: like-2\nwhy: w\nwidens: {capabilities: w}\ncapabilities: [CHOWN, KILL]\n"
    (place / "policy/containers/heir.yaml").write_text(text)
    assert CliRunner().invoke(command, [str(place / "policy"), "-o", str(place / "bundle")]).exit_code == 0
    edit(place, "containers/heir", "[CHOWN, KILL]", "[KILL]")
    assert (found := again(place)) is not None and found.types == ("heir",)
    edit(place, "containers/heir", "[KILL]", "[KILL, SETUID]")
    assert (found := again(place)) is not None and found.types == ("heir", "like-2")
    kept = memory.recall(read(place / "bundle").digest)
    anew = CliRunner().invoke(command, [str(place / "policy"), "-o", str(place / "anew"), "--force"])
    assert anew.exit_code == 0, anew.output
    assert tree(place / "bundle") == tree(place / "anew")
    assert kept == memory.recall(read(place / "anew").digest)


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


def test_the_digests_of_files_are_the_source(first: Path) -> None:
    files = read_files(first / "policy")
    assert digest(digests(files)) == digest(files) == read(first / "bundle").manifest.source
    assert digest(files[1:]) != digest(files)
    assert os.environ.get("XDG_CACHE_HOME") != str(first / "cache")
