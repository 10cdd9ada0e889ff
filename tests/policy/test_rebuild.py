"""A bundle built again after a change is, to the last byte, the one that is built anew; nothing is kept in doubt."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from stockade.bundle import memory, write
from stockade.bundle.read import read, verify
from stockade.cli.build import command
from stockade.prove import rebuild
from stockade.source.files import digest, digests, read_files

from tests.policy.standing import again, assert_whole, edit, tree

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
    # What is remembered is what the whole build remembers, so that the next change is as quick.
    assert_whole(place)


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
    assert_whole(place)


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


def test_files_that_did_not_change_are_not_read_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy that this starts from is all new to the kernel; what a build leaves is not."""
    looked, real = list[str](), write._look
    monkeypatch.setattr(write, "_look", lambda entry, descriptor: (looked.append(entry.path), real(entry, descriptor)))
    edit(place, "containers/like-2", "pids.max: 7", "pids.max: 8")
    assert again(place) is not None
    assert len(looked) == len(read(place / "bundle").manifest.entries) - 5
    looked.clear()
    edit(place, "containers/like-2", "pids.max: 8", "pids.max: 9")
    assert again(place) is not None
    assert len(looked) < 40  # those that changed in the very tick in which the build ended
    looked.clear()
    path = place / "bundle/containers/web/oci.json"
    content, before = path.read_bytes(), path.stat()
    path.write_bytes(content.replace(b"noexec", b"nosuid", 1))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    edit(place, "containers/like-2", "pids.max: 9", "pids.max: 10")
    assert again(place) is None
    assert "containers/web/oci.json" in looked
    path.write_bytes(content)
    path.chmod(0o666)
    assert again(place) is None


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


def test_the_digests_of_files_are_the_source(first: Path) -> None:
    files = read_files(first / "policy")
    assert digest(digests(files)) == digest(files) == read(first / "bundle").manifest.source
    assert digest(files[1:]) != digest(files)
    assert os.environ.get("XDG_CACHE_HOME") != str(first / "cache")
