"""The guest's images: the same inputs give the same bytes, anywhere and by anybody; other labels give other ones."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest
from stockade.lab import image, tools
from stockade.lab.tree import Tree

CONTEXTS = (
    "/.*\tsystem_u:object_r:os_t:s0\n"
    "/.*/usr/lib/systemd/systemd\t--\tsystem_u:object_r:init_exec_t:s0\n"
    "/run\tsystem_u:object_r:any_t:s0\n"
)


def _build(folder: Path, contexts: str) -> bytes:
    folder.mkdir()
    found = tools.find()
    image.build_root(image.root_tree(found), contexts, folder / "root", found, tools.drop())
    return (folder / "root").read_bytes()


def test_two_builds_are_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _build(tmp_path / "a", CONTEXTS)
    old = os.umask(0o077)
    try:
        monkeypatch.setattr(tempfile, "tempdir", None)
        monkeypatch.setenv("TMPDIR", "/var/tmp")
        second = _build(tmp_path / "another-folder", CONTEXTS)
    finally:
        os.umask(old)
    assert first == second


def test_labels_are_in_the_image(tmp_path: Path) -> None:
    built = _build(tmp_path / "a", CONTEXTS)
    for label in (b"system_u:object_r:os_t:s0", b"system_u:object_r:init_exec_t:s0", b"system_u:object_r:any_t:s0"):
        assert label in built
    other = _build(tmp_path / "b", CONTEXTS.replace("init_exec_t", "other_exec_t"))
    assert b"init_exec_t" not in other and b"other_exec_t" in other


def test_everything_belongs_to_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Tree.write_to

    def write_as_another(tree: Tree, folder: Path) -> None:
        write(tree, folder)
        if os.geteuid() == 0:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, 4321, 4321, follow_symlinks=False)

    monkeypatch.setattr(Tree, "write_to", write_as_another)
    built = _build(tmp_path / "a", CONTEXTS)
    superblock = built[1024:]
    root = int.from_bytes(superblock[40:44], "little") * 4096 + int.from_bytes(superblock[14:16], "little") * 32
    assert int.from_bytes(built[root + 4 : root + 6], "little") == 0o040755
    assert built[root + 24 : root + 28] == bytes(4)  # user and group


def test_bad_contexts_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(image.ImageError):
        _build(tmp_path / "a", "/(((.*\tsystem_u:object_r:os_t:s0\n")


def test_a_prefix_becomes_optional_and_nothing_else_changes() -> None:
    before = ["/.*", "/.*/usr/bin/mount", "/.*/usr(/fips)?/bin/runc.*", "/run", "/var/lib/.*"]
    after = image.root_relative("".join(f"{pattern}\tx\n" for pattern in before)).split("\tx\n")[:-1]
    assert after == ["/.*", "(/.*)?/usr/bin/mount", "(/.*)?/usr(/fips)?/bin/runc.*", "/run", "/var/lib/.*"]
    for path in ("/usr/bin/mount", "/x86_64/sys-root/usr/bin/mount"):
        assert re.fullmatch(after[1], path)
    assert not re.fullmatch(after[1], "/usr/bin/mount2") and not re.fullmatch(after[1], "/xusr/bin/mount")


def test_another_program_reads_the_archive(tmp_path: Path) -> None:
    tree = Tree()
    tree.file("usr/bin/a", b"12345", 0o755)
    tree.link("bin", "usr/bin")
    tree.file("empty", b"")
    (tmp_path / "cpio").write_bytes(tree.archive())
    listed = subprocess.run(["busybox", "cpio", "-tv"], input=tree.archive(), capture_output=True, check=True)
    lines = [line.split() for line in listed.stdout.decode().splitlines()]
    assert [(line[0], line[-1]) for line in lines if not line[0].startswith("l")] == [
        ("-rw-r--r--", "empty"),
        ("drwxr-xr-x", "usr"),
        ("drwxr-xr-x", "usr/bin"),
        ("-rwxr-xr-x", "usr/bin/a"),
    ]
    assert [line[-3:] for line in lines if line[0].startswith("l")] == [["bin", "->", "usr/bin"]]
    subprocess.run(["busybox", "cpio", "-i"], input=tree.archive(), check=True, capture_output=True, cwd=tmp_path)
    assert (tmp_path / "bin" / "a").read_bytes() == b"12345"


def test_an_archive_does_not_depend_on_the_order_of_additions() -> None:
    one, two = Tree(), Tree()
    for path in ("a/b", "a.b", "c"):
        one.file(path, path.encode())
    for path in ("c", "a.b", "a/b"):
        two.file(path, path.encode())
    assert one.archive() == two.archive()


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", ""])
def test_a_path_stays_inside(path: str) -> None:
    with pytest.raises(ValueError, match="inside"):
        Tree().file(path, b"")


def test_two_different_nodes_of_one_name() -> None:
    tree = Tree()
    tree.file("a", b"1")
    with pytest.raises(ValueError, match="'a'"):
        tree.file("a", b"2")


def test_a_device_needs_an_archive(tmp_path: Path) -> None:
    tree = Tree()
    tree.character("console", 5, 1)
    with pytest.raises(ValueError, match="console"):
        tree.write_to(tmp_path)
    assert tree.archive()[110 - 8 * 4 : 110 - 8 * 2] == b"0000000500000001"
