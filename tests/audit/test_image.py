"""What is in an image: programs by what they are and not by their names or sections, and files that give privileges."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from stockade.audit.facts import image
from stockade.audit.facts.elf import MARKS, hardening
from stockade.audit.facts.fact import Facts, Outcome
from stockade.audit.facts.host import Host
from stockade.audit.judge import verdict
from stockade.audit.report.model import Status
from stockade.audit.rules.cases import changed
from stockade.audit.rules.rule import Rule

SOURCE = '#include <stdio.h>\nint main(int n, char **w) { char b[64]; sprintf(b, "%s", w[n - 1]); return puts(b); }\n'
HARD = "-O2 -fPIE -pie -fstack-protector-all -D_FORTIFY_SOURCE=2 -Wl,-z,relro,-z,now,-z,noexecstack".split()


def made(folder: Path, name: str, *flags: str, source: str = SOURCE) -> Path:
    path = folder / name
    subprocess.run(
        ["cc", *HARD, "-x", "c", "-", "-o", str(path), *flags], input=source.encode(), check=True, capture_output=True
    )
    return path


def said(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return hardening(file.fileno())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hardened program."""
    return made(tmp_path_factory.mktemp("built"), "program")


def judged(rules: tuple[Rule, ...], genuine: Facts, rule: str, *programs: tuple[str, str, Any]) -> Status:
    (one,) = (one for one in rules if one.name == rule)
    listed = [dict(zip(("path", "kind", "detail"), program, strict=True)) for program in programs]
    return verdict(one, changed(genuine, {"+image.files": {"programs": listed}})).status


def test_a_hardened_program_is_one(built: Path, rules: tuple[Rule, ...], genuine: Facts) -> None:
    found = said(built)
    assert found == {
        "pie": True, "library": False, "relro": "full", "nx": True, "wx": False, "textrel": False, "canary": True,
        "fortify": [1, 1], "language": "c", "interprets": "",
    }  # fmt: skip
    for rule in ("image-programs-hardened", "image-programs-guarded", "image-programs-fortified", "image-no-shell"):
        assert judged(rules, genuine, rule, ("/usr/bin/x", "elf", found)) is Status.PASS


@pytest.mark.parametrize(
    ("flags", "key", "value"),
    [
        (["-no-pie"], "pie", False),
        (["-shared", "-fPIC"], "library", True),
        (["-Wl,-z,norelro"], "relro", "none"),
        (["-Wl,-z,lazy"], "relro", "partial"),
        (["-Wl,-z,execstack"], "nx", False),
        (["-fno-stack-protector", "-nostartfiles", "-Wl,-e,main"], "canary", False),
        (["-U_FORTIFY_SOURCE"], "fortify", [0, 1]),
        (["-static-pie"], "pie", True),
        (["-s"], "relro", "full"),
    ],
)
def test_one_thing_less_is_seen(tmp_path: Path, flags: list[str], key: str, value: object) -> None:
    assert said(made(tmp_path, "program", *flags))[key] == value


def headers(path: Path, kind: str) -> list[tuple[int, Any]]:
    """Where each program header of a kind lies in the file, with what it says."""
    with path.open("rb") as stream:
        file = ELFFile(stream)
        first, size = file["e_phoff"], file["e_phentsize"]
        return [(first + n * size, one.header) for n, one in enumerate(file.iter_segments()) if one["p_type"] == kind]


def patched(built: Path, folder: Path, at: int, form: str, *values: int) -> dict[str, Any]:
    content = bytearray(built.read_bytes())
    struct.pack_into(form, content, at, *values)
    path = folder / "patched"
    path.write_bytes(content)
    return said(path)


def test_a_header_that_protects_something_else_protects_nothing(built: Path, tmp_path: Path) -> None:
    ((at, header),) = headers(built, "PT_GNU_RELRO")
    # Elf64_Phdr: type, flags, offset, vaddr, paddr, filesz, memsz, align.
    assert patched(built, tmp_path, at + 40, "<Q", 0)["relro"] == "none"
    assert patched(built, tmp_path, at + 16, "<Q", header["p_vaddr"] + 0x100000)["relro"] == "none"
    ((_, dynamic),) = headers(built, "PT_DYNAMIC")
    short = dynamic["p_vaddr"] + 1 - header["p_vaddr"]
    assert patched(built, tmp_path, at + 40, "<Q", short)["relro"] == "partial"


def test_a_program_without_a_word_about_its_stack_may_run_it(built: Path, tmp_path: Path) -> None:
    ((at, _),) = headers(built, "PT_GNU_STACK")
    assert patched(built, tmp_path, at, "<I", 0)["nx"] is False


def test_what_is_loaded_to_be_written_and_run_is_seen(built: Path, tmp_path: Path) -> None:
    assert patched(built, tmp_path, headers(built, "PT_LOAD")[0][0] + 4, "<I", 7)["wx"] is True


def test_sections_are_not_believed(built: Path, tmp_path: Path) -> None:
    # Elf64_Ehdr: e_shoff at 40, e_shnum and e_shstrndx at 60.
    assert patched(built, tmp_path, 40, "<Q", 0)["relro"] == "full"
    (tmp_path / "patched").write_bytes(built.read_bytes()[:200])
    assert set(said(tmp_path / "patched")) == {"error"}


@pytest.mark.parametrize("program", ["bash", "dash", "busybox", "perl", "python3", "mawk"])
def test_an_interpreter_is_one_by_any_name(
    tmp_path: Path, rules: tuple[Rule, ...], genuine: Facts, program: str
) -> None:
    real = shutil.which(program, path="/usr/bin:/bin:/usr/sbin")
    if real is None:
        assert program in ("busybox", "mawk"), program  # the others are of every machine that builds this
        return
    path = tmp_path / "tool"
    shutil.copy(real, path)
    subprocess.run(["strip", "--strip-all", str(path)], check=False, capture_output=True)
    found = said(path)
    assert found["interprets"] in MARKS
    assert judged(rules, genuine, "image-no-shell", ("/usr/bin/tool", "elf", found)) is Status.FAIL


def test_a_mark_on_the_border_of_what_is_read_at_once_is_found(built: Path, tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(built.read_bytes().ljust((4 << 20) - 3, b"x") + b"BusyBox v1")
    assert said(path)["interprets"] == "busybox"


@pytest.fixture
def root(tmp_path: Path, built: Path) -> Path:
    """An image with a program under three names, a script, and a file for each privilege."""
    programs = tmp_path / "usr/bin"
    programs.mkdir(parents=True)
    shutil.copy(built, programs / "tool")
    (programs / "sh").symlink_to("tool")
    (programs / "run").write_text("#! /usr/bin/odd -x\n")
    for name, mode in (("run", 0o755), ("tool", 0o755)):
        (programs / name).chmod(mode)
    for name, mode in (("setuid", 0o4755), ("setgid", 0o2755), ("open", 0o666), ("plain", 0o644)):
        path = tmp_path / "usr" / name
        path.write_text(name)
        path.chmod(mode)
    (tmp_path / "usr/shared").mkdir()
    (tmp_path / "usr/shared").chmod(0o1777)
    (tmp_path / "usr/pipe").symlink_to("/dev/null")
    return tmp_path


def walked(root: Path) -> dict[str, Any]:
    with Host(str(root), "image") as host:
        fact = image.walk(host)
    assert fact.known, fact.why
    value: dict[str, Any] = fact.value
    return value


def test_a_walk_finds_what_gives_privileges(root: Path, rules: tuple[Rule, ...], genuine: Facts) -> None:
    found = walked(root)
    assert found["setuid"] == ["/usr/setgid", "/usr/setuid"]
    assert found["writable"] == ["/usr/open"]
    kinds = {one["path"]: (one["kind"], one["detail"]) for one in found["programs"]}
    assert kinds["/usr/bin/run"] == ("script", "/usr/bin/odd")
    assert kinds["/usr/bin/sh"] == ("link", "tool")
    assert kinds["/usr/bin/tool"][0] == "elf" and "/usr/pipe" not in kinds
    link = ("/usr/bin/sh", *kinds["/usr/bin/sh"])
    assert judged(rules, genuine, "image-no-shell", link) is Status.FAIL


def test_capabilities_of_a_file_are_found_and_a_refusal_is_no_answer(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = root / "usr/bin/tool"
    stored = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)
    try:
        os.setxattr(tool, "security.capability", stored)
    except PermissionError:  # root alone may
        number = tool.stat().st_ino
        monkeypatch.setattr(os, "getxattr", lambda file, _: stored if os.fstat(file).st_ino == number else b"")
    assert walked(root)["capabilities"] == ["/usr/bin/tool"]

    def refused(*_: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "getxattr", refused)
    with Host(str(root), "image") as host:
        assert image.walk(host).outcome is Outcome.UNREADABLE


def test_other_devices_are_not_walked_but_for_the_overlay_of_fips_programs(root: Path) -> None:
    found: dict[str, Any] = {"files": 0, "setuid": [], "capabilities": [], "writable": [], "programs": []}
    folder = os.open(root / "usr", os.O_RDONLY | os.O_DIRECTORY)
    try:
        image._folder(folder, "/usr", -1, found)
    finally:
        os.close(folder)
    assert {one["path"] for one in found["programs"]} == {"/usr/bin/tool", "/usr/bin/run", "/usr/bin/sh"}
    assert not found["setuid"]
