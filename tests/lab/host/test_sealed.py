"""The image: the same for the same inputs, whole or not at all, and nothing on it that an intruder could use."""

from __future__ import annotations

import dataclasses
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from stockade.lab import elf
from stockade.lab.host import HostFailed, Image, build, cache, extras, run
from stockade.lab.host import image as image_module
from stockade.lab.host import verity as dm
from stockade.lab.host.image import PROGRAMS
from stockade.lab.host.packages import PackageError, packages, stored, unpack
from stockade.lab.host.programs import programs
from stockade.lab.tree import Tree

from .conftest import tool

IDLE = (tool("label", "read", "/proc/self/attr/current"),)


@dataclass(frozen=True)
class Built:
    """What two builds of one image at the same time left: their answers, and what each said besides."""

    cache: Path
    answers: tuple[dict[str, object], dict[str, object]]
    on_terminal: str
    on_pipe: str

    @property
    def image(self) -> Image:
        """The image, as the first answer says it."""
        answer = self.answers[0]
        seal = dm.Verity(int(str(answer["blocks"])), str(answer["rootHash"]))
        return Image(Path(str(answer["folder"])), seal, 0)


@pytest.fixture(scope="module")
def elsewhere(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Two `lab build` at once, from a copy of the bundle into a clean cache; one of them on a terminal."""
    top = tmp_path_factory.mktemp("elsewhere")
    place = top / "another/cache/stockade/lab/packages"
    place.mkdir(parents=True)
    for path in (*map(stored, packages()), stored(packages()[0]).parent / "trixie-containerd-crun-runc.json"):
        (place / path.name).symlink_to(path)
    copy = top / "bundle of another name"
    shutil.copytree(bundle, copy)
    command = [sys.executable, "-m", "stockade.cli.main", "lab", "build", str(copy), "--format", "json"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(top / "another/cache"), "TERM": "xterm", "COLUMNS": "100"}
    reader, terminal = pty.openpty()
    seen = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=terminal)
    piped = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    os.close(terminal)
    said = b""
    with suppress(OSError):  # EIO: nobody has the terminal any more
        while part := os.read(reader, 65536):
            said += part
    os.close(reader)
    first, (second, quiet) = seen.communicate()[0], piped.communicate()
    assert (seen.returncode, piped.returncode) == (0, 0), said + quiet
    return Built(top / "another/cache", (json.loads(first), json.loads(second)), said.decode(), quiet.decode())


def test_a_clean_build_elsewhere_has_the_same_root_hash(image: Image, elsewhere: Built) -> None:
    again = elsewhere.image
    assert again.folder != image.folder
    assert again.seal == image.seal
    assert again.inventory() == image.inventory()
    assert again.root.read_bytes() == image.root.read_bytes()
    assert again.initramfs.read_bytes() == image.initramfs.read_bytes()


def test_two_builds_at_once_make_one_image(elsewhere: Built) -> None:
    """Whoever comes second waits and takes what is there; nothing unfinished and no lock stays."""
    first, second = elsewhere.answers
    assert {**first, "cached": None} == {**second, "cached": None}
    assert list((elsewhere.cache / "stockade/lab/images").iterdir()) == [elsewhere.image.folder]
    assert sorted(path.name for path in elsewhere.image.folder.iterdir()) == [
        "image.json",
        "initramfs.cpio",
        "root.img",
    ]
    assert not list(elsewhere.cache.rglob(".*"))


def test_a_terminal_sees_how_far_it_is_and_a_pipe_nothing(elsewhere: Built) -> None:
    assert "guest image" in elsewhere.on_terminal
    assert elsewhere.on_pipe == ""


def test_one_at_a_time_makes_a_folder(tmp_path: Path) -> None:
    """While one makes it the others wait; one that fails leaves nothing, and the next makes it."""
    made: list[str] = []

    def make(work: Path) -> None:
        made.append("begun")
        (work / "half").touch()
        time.sleep(0.2)
        if len(made) == 1:
            raise ValueError("the first fails")
        made.append("ended")

    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(cache.once, tmp_path / "folder", make) for _ in range(3)]
    failed = [one.exception() for one in asked if one.exception()]
    assert [str(error) for error in failed] == ["the first fails"]
    assert made == ["begun", "begun", "ended"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_an_image_is_made_anew_only_when_something_in_it_changes(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def make(work: Path, *_: object) -> None:
        made.append(work)
        (work / "image.json").write_text('{"blocks": 1, "rootHash": "00"}')

    chosen = packages()
    monkeypatch.setattr(image_module, "packages", lambda **_: chosen)
    monkeypatch.setattr(image_module, "_make", make)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    folders = [build(bundle).folder, build(copy).folder]
    assert (len(made), len(set(folders))) == (1, 1)
    contexts = copy / "host/file_contexts"
    contexts.write_text(contexts.read_text() + "/usr/bin/ctr\t--\tsystem_u:object_r:os_t:s0\n")
    folders.append(build(copy).folder)
    folders.append(build(bundle, extras=[extras.busybox()]).folder)
    monkeypatch.setattr(image_module, "packages", lambda **_: chosen[1:])
    folders.append(build(bundle).folder)
    assert (len(made), len(set(folders))) == (4, 4)
    for number in range(20):
        contexts.write_text(f"{contexts.read_text()}/usr/bin/{number}\t--\tsystem_u:object_r:os_t:s0\n")
        last = build(copy).folder
    assert last.is_dir()
    assert len(list(last.parent.iterdir())) == 12


def test_the_inventory_names_every_package_with_its_digest(image: Image) -> None:
    rows = image.inventory()["packages"]
    assert isinstance(rows, list)
    assert {"containerd", "runc", "crun", "libc6"} <= {row["name"] for row in rows}
    assert all(re.fullmatch(r"[0-9a-f]{64}", row["sha256"]) and row["version"] for row in rows)


def test_the_hash_tree_is_the_one_that_veritysetup_makes(image: Image, tmp_path: Path) -> None:
    size = image.seal.blocks * dm.BLOCK
    whole = image.root.read_bytes()
    (tmp_path / "data").write_bytes(whole[:size])
    options = ["--no-superblock", f"--salt={dm.SALT.hex()}", "--hash=sha256", "--data-block-size=4096"]
    ran = subprocess.run(
        ["veritysetup", "format", *options, tmp_path / "data", tmp_path / "tree"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    (root_hash,) = re.findall(r"Root hash:\s+([0-9a-f]{64})", ran.stdout)
    assert root_hash == image.seal.root_hash
    assert (tmp_path / "tree").read_bytes() == whole[size:]


@pytest.mark.parametrize("where", ["program", "tree"])
def test_one_flipped_bit_stops_the_boot(image: Image, tmp_path: Path, where: str) -> None:
    whole = bytearray(image.root.read_bytes())
    at = whole.index(programs()["init"][:4096]) if where == "program" else image.seal.blocks * dm.BLOCK
    whole[at + 100] ^= 1
    folder = tmp_path / "image"
    folder.mkdir()
    (folder / "root.img").write_bytes(whole)
    shutil.copy(image.initramfs, folder)
    with pytest.raises(HostFailed) as failed:
        run(dataclasses.replace(image, folder=folder), IDLE, timeout=30)
    assert "stopped after" not in str(failed.value)
    assert re.search(r"device-mapper: verity: .*block .* is corrupted", failed.value.console)


def test_another_root_hash_stops_the_boot(image: Image) -> None:
    seal = dataclasses.replace(image.seal, root_hash="0" * 64)
    with pytest.raises(HostFailed, match="corrupted"):
        run(dataclasses.replace(image, seal=seal), IDLE, timeout=30)


def test_there_is_no_interpreter_and_nothing_setuid_on_the_root(root: Tree) -> None:
    files = {path: entry for path, entry in root.nodes.items() if entry.mode & 0o170000 == 0o100000}
    assert not [path for path, entry in files.items() if entry.mode & 0o7000]
    executable = {path for path, entry in files.items() if entry.data[:4] == b"\x7fELF" and ".so" not in path}
    assert executable == {*PROGRAMS, "usr/lib/systemd/systemd", "usr/libexec/stockade-lab", "usr/bin/containerd-lab"}
    assert not [path for path, entry in files.items() if entry.data[:2] == b"#!"]


def test_every_library_that_a_program_names_is_there(root: Tree) -> None:
    nodes = root.nodes
    named = {name for path in PROGRAMS for name in elf.needed(nodes[path].data)}
    assert {"libc.so.6", "libseccomp.so.2", "libyajl.so.2"} <= named
    assert all(f"usr/lib/x86_64-linux-gnu/{name}" in nodes for name in named)


@pytest.mark.parametrize(
    "data", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01" + bytes(99), b"\x7fELF\x02\x01" + b"\xff" * 99]
)
def test_what_is_no_elf_file_is_refused(data: bytes) -> None:
    with pytest.raises(elf.ElfError):
        elf.needed(data)


def test_a_damaged_package_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = packages()[0]
    data = stored(package).read_bytes()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    stored(package).write_bytes(data[:-1] + b"x")
    with pytest.raises(PackageError, match=r"was not the package .*removed, build again"):
        unpack(package)
    assert not stored(package).exists()


def test_the_inventory_is_json_that_says_the_root_hash(image: Image) -> None:
    told = json.loads((image.folder / "image.json").read_text())
    assert told["rootHash"] == image.seal.root_hash
