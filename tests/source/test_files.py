"""What is read from a folder, what is an error instead of being left out, and what the digest depends on."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stockade.source.diagnostics import PolicyError
from stockade.source.files import MAX_BYTES, SourceFile, digest, read_files
from stockade.source.load import load

from tests.source import policies


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(policies.BASE, tmp_path / "policy")
    return tmp_path / "policy"


def test_names_are_sorted_and_relative(folder: Path) -> None:
    files = read_files(folder)
    assert [file.name for file in files] == sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.yaml"))
    assert digest(files) == digest(read_files(policies.BASE))


def test_where_the_folder_is_does_not_matter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "host")
    assert read_files(Path("..")) == read_files(folder)
    link = folder.parent / "link"
    link.symlink_to(folder)
    assert read_files(link) == read_files(folder)


@pytest.mark.parametrize("name", [".swap.yaml", "host/.hidden.yaml", ".git/x.yaml", "README.md", "host/NOTES.md"])
def test_hidden_files_and_notes_are_no_part_of_a_policy(folder: Path, name: str) -> None:
    before = digest(read_files(folder))
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("not: [yaml")
    assert digest(read_files(folder)) == before
    load(folder)


def outside(folder: Path) -> None:
    (folder.parent / "x.yaml").write_text("sets: {}\n")
    (folder / "host/x.yaml").symlink_to("../../x.yaml")


@pytest.mark.parametrize(
    ("spoil", "number"),
    [
        (lambda f: shutil.rmtree(f), errno.ENOENT),
        (lambda f: (shutil.rmtree(f), f.write_text("")), errno.ENOTDIR),
        (outside, errno.EXDEV),
        (lambda f: (f / "host/x.yaml").symlink_to("/etc/hostname"), errno.EXDEV),
        (lambda f: (f / "host/x.yaml").symlink_to("missing.yaml"), errno.ENOENT),
        (lambda f: (f / "promises/more").symlink_to(f / "host"), errno.ELOOP),
        (lambda f: (f / "host/x.yaml").mkdir(), errno.EISDIR),
        (lambda f: os.mkfifo(f / "host/x.yaml"), errno.EINVAL),
        (lambda f: Path(os.fsdecode(bytes(f / "host") + b"/\xff.yaml")).write_text("sets: {}\n"), errno.EILSEQ),
        (lambda f: (f / "host/a\nb.yaml").write_text("sets: {}\n"), errno.EILSEQ),
    ],
    ids=["gone", "a file", "outside", "far outside", "dangling", "linked folder", "folder", "pipe", "bytes", "newline"],
)
def test_nothing_is_passed_over_in_silence(folder: Path, spoil: Callable[[Path], object], number: int) -> None:
    spoil(folder)
    with pytest.raises(OSError) as caught:
        load(folder)
    assert caught.value.errno == number


@pytest.mark.parametrize("name", ["promises", "promises/all.yaml"])
def test_what_cannot_be_read_is_an_error(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root reads everything, so the refusal is made by hand."""
    refused = folder / name

    def guard(real: Callable[..., object]) -> Callable[..., object]:
        def call(path: object, *rest: object) -> object:
            if os.fspath(path) == str(refused):  # type: ignore[call-overload]  # always a path here
                raise PermissionError(errno.EACCES, "Permission denied", str(refused))
            return real(path, *rest)

        return call

    monkeypatch.setattr(os, "scandir", guard(os.scandir))
    monkeypatch.setattr(Path, "open", guard(Path.open))
    with pytest.raises(PermissionError, match=str(refused)):
        load(folder)


@pytest.mark.parametrize("target", ["missing.yaml", "x.yaml", "/etc/hostname", "/dev/zero"])
def test_what_is_wrong_with_a_link_is_said_of_the_link(folder: Path, target: str) -> None:
    """And of the link as it was named: by the folder that was given, which is a link itself here."""
    link = folder.parent / "given"
    link.symlink_to(folder)
    (folder / "host/x.yaml").symlink_to(target)
    with pytest.raises(OSError) as caught:
        load(link)
    assert caught.value.filename == str(link / "host/x.yaml")


def test_a_file_without_an_end_is_read_no_further_than_the_limit(folder: Path) -> None:
    with (folder / "host/x.yaml").open("wb") as file:
        file.truncate(1 << 40)
    assert max(len(one.data) for one in read_files(folder)) == MAX_BYTES + 1
    with pytest.raises(PolicyError) as caught:
        load(folder)
    assert [(str(one.at), one.message) for one in caught.value.diagnostics] == [
        ("host/x.yaml:1:1", "larger than 1 MiB")
    ]


def test_a_link_within_the_folder_is_the_file(folder: Path) -> None:
    (folder / "promises/all.yaml").rename(folder / "promises/kept.txt.md")
    (folder / "promises/all.yaml").symlink_to("kept.txt.md")
    assert digest(read_files(folder)) == digest(read_files(policies.BASE))


@given(st.data())
def test_the_digest_changes_with_every_byte_and_name(data: st.DataObject) -> None:
    files = read_files(policies.BASE)
    index = data.draw(st.integers(0, len(files) - 1))
    name, content = files[index].name, files[index].data
    spot = data.draw(st.integers(0, len(content) - 1))
    flipped = content[:spot] + bytes([content[spot] ^ data.draw(st.integers(1, 255))]) + content[spot + 1 :]
    others = [
        [*files[:index], other, *files[index + 1 :]]
        for other in (
            SourceFile(name, flipped),
            SourceFile(name, content[:spot] + content[spot + 1 :]),
            SourceFile(name, content + b"\n"),
            SourceFile(name + "x", content),
            SourceFile(name + content[:1].decode(), content[1:]),
        )
    ]
    digests = {digest(files), *(digest(other) for other in others), digest(files[1:]), digest(files, "plain")}
    assert len(digests) == len(others) + 3


def test_the_digest_knows_where_a_file_ends() -> None:
    one = [SourceFile("a", b"b"), SourceFile("c", b"d")]
    assert digest(one) != digest([SourceFile("a", b"b1 1\0cd")])
    assert digest(one, "x") != digest([*one, SourceFile("only x\0", b"")])
