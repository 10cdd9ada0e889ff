"""A bundle reads back as it was written, and every change to it is noticed."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stockade.bundle.read as reading
from stockade.bundle.manifest import BundleError, Entry, Manifest
from stockade.bundle.read import read, verify
from stockade.bundle.write import Artefact, write

ARTEFACTS = (
    Artefact("host/policy.cil", b"(block container)\n" * 40, "text/plain"),
    Artefact("host/policy.33", bytes(range(256)), "application/octet-stream"),
    Artefact("containers/web/oci.json", b"{}\n", "application/json"),
    Artefact("containers/web/seccomp.json", b"[]\n", "application/json"),
    Artefact("containers/batch/oci.json", b"", "application/json"),
)
DIGESTS = {"source_digest": "a" * 64, "compiler_digest": "b" * 64}


def put(directory: Path, artefacts: Any = ARTEFACTS, version: str = "1.0.0", **changes: str) -> Manifest:
    return write(directory, artefacts, policy_name="fortified", policy_version=version, **(DIGESTS | changes))


def tree(directory: Path) -> dict[str, bytes | None]:
    paths = sorted(directory.rglob("*"))
    return {str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None for path in paths}


@pytest.fixture
def built(tmp_path: Path) -> Path:
    put(tmp_path / "build")
    return tmp_path / "build"


def test_round_trip(built: Path) -> None:
    bundle = read(built)
    assert bundle.manifest == Manifest.from_json((built / "manifest.json").read_bytes())
    assert bundle.manifest.policy_name == "fortified"
    assert bundle.manifest.source == "a" * 64
    assert bundle.types == ("batch", "web")
    assert {file.path: bundle.bytes(file.path) for file in ARTEFACTS} == {f.path: f.content for f in ARTEFACTS}
    assert verify(built) == []
    with pytest.raises(BundleError, match="not in the manifest"):
        bundle.bytes("manifest.json")


def test_same_bytes_whatever_the_place_order_and_umask(tmp_path: Path) -> None:
    put(tmp_path / "one")
    shuffled = list(ARTEFACTS)
    random.Random(7).shuffle(shuffled)
    old = os.umask(0o077)
    try:
        put(tmp_path / "far/away/two", iter(shuffled))
    finally:
        os.umask(old)
    assert tree(tmp_path / "one") == tree(tmp_path / "far/away/two")
    assert read(tmp_path / "one").digest == read(tmp_path / "far/away/two").digest
    for path in (tmp_path / "far/away/two", *(tmp_path / "far/away/two").rglob("*")):
        assert path.stat().st_mode & 0o7777 == (0o755 if path.is_dir() else 0o644), path


def test_every_flipped_bit_is_noticed(built: Path) -> None:
    """Also in the manifest, of which every byte counts."""
    generator = random.Random(1)
    for path in [path for path in built.rglob("*") if path.is_file() and path.stat().st_size]:
        content = path.read_bytes()
        for _ in range(40):
            place = generator.randrange(len(content))
            changed = bytearray(content)
            changed[place] ^= 1 << generator.randrange(8)
            path.write_bytes(changed)
            if path.name == "manifest.json":
                # A changed digest of the source or a version is still a manifest: its own digest tells.
                original = Manifest.from_json(content)
                assert verify(built) or read(built).manifest != original
            else:
                assert [finding for finding in verify(built) if "SHA-256" in finding], (path, place)
        path.write_bytes(content)
    assert verify(built) == []


def remove(built: Path) -> None:
    (built / "host/policy.cil").unlink()


def lengthen(built: Path) -> None:
    with (built / "host/policy.cil").open("ab") as file:
        file.write(b"x" * 100)


def link(built: Path) -> None:
    (built / "host/policy.cil").rename(built.parent / "aside")
    (built / "host/policy.cil").symlink_to(built.parent / "aside")


def link_folder(built: Path) -> None:
    (built / "host").rename(built.parent / "aside")
    (built / "host").symlink_to(built.parent / "aside")


def pipe(built: Path) -> None:
    (built / "host/policy.cil").unlink()
    os.mkfifo(built / "host/policy.cil")


def folder(built: Path) -> None:
    (built / "host/policy.cil").unlink()
    (built / "host/policy.cil").mkdir()


def file_for_folder(built: Path) -> None:
    for path in (built / "host").iterdir():
        path.unlink()
    (built / "host").rmdir()
    (built / "host").write_text("")


TAMPERINGS = [
    (remove, "host/policy.cil", "missing"),
    (lengthen, "host/policy.cil", "changed: more than 720 bytes"),
    (link, "host/policy.cil", "host/policy.cil is a symbolic link"),
    (link_folder, "host/policy.cil", "host is a symbolic link"),
    (pipe, "host/policy.cil", "not a regular file"),
    (folder, "host/policy.cil", "not a regular file"),
    (file_for_folder, "host/policy.cil", "Not a directory"),
]


@pytest.mark.parametrize(("tamper", "path", "reason"), TAMPERINGS)
def test_a_changed_file_is_not_handed_out(built: Path, tamper: Callable[[Path], None], path: str, reason: str) -> None:
    bundle = read(built)
    tamper(built)
    with pytest.raises(BundleError) as caught:
        bundle.bytes(path)
    assert (caught.value.path, caught.value.reason) == (path, caught.value.reason)
    assert reason in caught.value.reason
    assert any(finding.startswith(f"{path}: {caught.value.reason}") for finding in verify(built))


@pytest.mark.parametrize("extra", ["notes.txt", "host/extra", "containers/other/oci.json", "containers/web/empty/"])
def test_an_extra_file_is_noticed(built: Path, extra: str) -> None:
    place = built / extra
    place.parent.mkdir(exist_ok=True)
    place.mkdir() if extra.endswith("/") else place.write_text("")
    assert verify(built) == [
        f"{finding}: not in the manifest" for finding in [extra.removesuffix("/oci.json").strip("/")]
    ]


def test_an_extra_link_to_a_folder_is_noticed(built: Path) -> None:
    (built / "other").symlink_to("/")
    assert verify(built) == ["other: not in the manifest"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.update(more=1), "unknown key 'more'"),
        (lambda m: m.pop("source"), "lacks source"),
        (lambda m: m.update(schema="stockade-bundle/2"), "schema is"),
        (lambda m: m.update(schema=1), "schema is"),
        (lambda m: m.update(source="A" * 64), "not a SHA-256"),
        (lambda m: m.update(compiler=None), "not a SHA-256"),
        (lambda m: m.update(policy=[]), "policy is not an object"),
        (lambda m: m["policy"].update(version=""), "not a printable text"),
        (lambda m: m["policy"].update(name=7), "not a printable text"),
        (lambda m: m.update(files={}), "files is not an array"),
        (lambda m: m["files"][0].pop("size"), r"files\[0\] lacks size"),
        (lambda m: m["files"][0].update(mode=420), r"files\[0\] has the unknown key 'mode'"),
        (lambda m: m["files"][0].update(size=True), "not a number of bytes"),
        (lambda m: m["files"][0].update(size=1.0), "not a number of bytes"),
        (lambda m: m["files"][0].update(size=-1), "not a number of bytes"),
        (lambda m: m["files"][0].update(sha256="0" * 63), "not 64 lower-case"),
        (lambda m: m["files"][0].update(sha256=None), "not 64 lower-case"),
        (lambda m: m["files"][0].update(mediaType="json"), "media type"),
        (lambda m: m["files"][0].update(path=5), "path is not a string"),
        (lambda m: m["files"][0].update(path="/etc/shadow"), "absolute"),
        (lambda m: m["files"][0].update(path="a/../../etc/shadow"), r"'\.\.'"),
        (lambda m: m["files"][0].update(path="a//b"), "empty part"),
        (lambda m: m["files"][0].update(path="./a"), "empty part or '.'"),
        (lambda m: m["files"][0].update(path="a/"), "empty part"),
        (lambda m: m["files"][0].update(path=""), "empty"),
        (lambda m: m["files"][0].update(path="a\0b"), "printable ASCII"),
        (lambda m: m["files"][0].update(path="a\nb"), "printable ASCII"),
        (lambda m: m["files"][0].update(path="manifest.json"), "manifest's own"),
        (lambda m: m["files"][0].update(path="manifest.json/a"), "beneath the manifest"),
        (lambda m: m["files"].append(m["files"][0]), "listed twice"),
        (lambda m: m["files"][0].update(path=m["files"][1]["path"] + "/x"), "lies beneath the file"),
        (lambda m: m["files"].reverse(), "canonical"),
    ],
)
def test_a_wrong_manifest_is_refused(built: Path, change: Callable[[dict[str, Any]], object], reason: str) -> None:
    place = built / "manifest.json"
    manifest = json.loads(place.read_bytes())
    change(manifest)
    place.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    with pytest.raises(BundleError, match=reason):
        read(built)
    assert len(verify(built)) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        b"null\n",
        b"[" * 100_000,
        b'{"schema": "stockade-bundle/1", "schema": "stockade-bundle/1"}',
        b"1" * 10_000,
        b"NaN",
    ],
)
def test_what_is_no_manifest_is_refused(built: Path, content: bytes) -> None:
    (built / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError) as caught:
        read(built)
    assert caught.value.path == "manifest.json"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace(b"  ", b" ", 1),
        lambda text: text + b"\n",
        lambda text: text.replace(b"{\n", b'{\n  "schema": "stockade-bundle/1",\n', 1),
        lambda text: text.replace(b"fortified", b"fortifi\\u0065d"),
        bytes.strip,
    ],
)
def test_another_spelling_of_the_same_manifest_is_refused(built: Path, spoil: Callable[[bytes], bytes]) -> None:
    place = built / "manifest.json"
    place.write_bytes(spoil(place.read_bytes()))
    with pytest.raises(BundleError, match="canonical"):
        read(built)


def test_a_linked_or_missing_manifest_is_refused(built: Path, tmp_path: Path) -> None:
    (built / "manifest.json").rename(tmp_path / "aside")
    with pytest.raises(BundleError, match=r"manifest\.json: missing"):
        read(built)
    (built / "manifest.json").symlink_to(tmp_path / "aside")
    with pytest.raises(BundleError, match="symbolic link"):
        read(built)
    with pytest.raises(BundleError, match="cannot be opened as a folder"):
        read(tmp_path / "nothing")


def test_a_manifest_without_end_is_not_read(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = (built / "manifest.json").stat().st_size
    monkeypatch.setattr(reading, "MANIFEST_LIMIT", size)
    read(built)
    monkeypatch.setattr(reading, "MANIFEST_LIMIT", size - 1)
    with pytest.raises(BundleError, match="more than"):
        read(built)


def test_values_do_not_change() -> None:
    entry = Entry(path="a", sha256="0" * 64, size=0, media_type="text/plain")
    assert entry == Entry(path="a", sha256="0" * 64, size=0, media_type="text/plain")
    assert entry != Entry(path="a", sha256="0" * 64, size=1, media_type="text/plain")
    with pytest.raises(AttributeError):
        entry.size = 5


def test_reading_needs_few_modules() -> None:
    """A container's start pays for each."""
    code = "import sys, stockade.bundle.read; print(*sorted(sys.modules))"
    compiler = str(Path(sys.modules["stockade"].__path__[0]).parent)
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({compiler!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(run.stdout.split())
    assert "stockade.bundle.manifest" in loaded
    assert not loaded & {"dataclasses", "typing", "pathlib", "inspect", "yaml", "click", "jsonschema", "setools"}


@pytest.mark.parametrize("complaining", [(), ("web", "batch")])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_manifest_is_spelled_as_json_spells_it(complaining: tuple[str, ...], count: int) -> None:
    entries = [Entry(path=f"host/a'&\"{n}", sha256="a" * 64, size=n, media_type="a/b") for n in range(count)]
    manifest = Manifest(
        policy_name='a "name" ü', policy_version="1", source="c" * 64, compiler="d" * 64, entries=entries,
        complaining=complaining,
    )  # fmt: skip
    content = manifest.to_json()
    assert content == json.dumps(json.loads(content), indent=2, sort_keys=True).encode() + b"\n"
    assert Manifest.from_json(content) == manifest
    assert len(json.loads(content)["files"]) == count
