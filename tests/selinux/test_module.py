"""Policy modules by SELinux's own tools."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from stockade.selinux import module
from stockade.selinux.module import ModuleError, body, build_pp, missing, module_to_cil, renamed

TE = b"""module probe 1.0;
require { type a_t; type b_t; class file { read write }; class dir search; }
type probe_t;
allow a_t b_t:file { read write };
allow probe_t b_t:dir search;
"""
FC = b"/opt/probe(/.*)?\tsystem_u:object_r:probe_t:s0\n"


def test_all_tools_are_here() -> None:
    assert missing() == ()


@pytest.mark.parametrize("mls", [True, False])
def test_a_module_says_what_its_source_says(mls: bool) -> None:
    cil = module_to_cil(build_pp(TE, FC, mls=mls))
    assert "(type probe_t)" in cil
    assert "(allow a_t b_t (file (read write)))" in cil and "(allow probe_t b_t (dir (search)))" in cil
    assert '(filecon "/opt/probe(/.*)?" any (system_u object_r probe_t ((s0) (s0))))' in cil


def test_without_contexts() -> None:
    assert "filecon" not in module_to_cil(build_pp(TE))


def test_the_same_source_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build_pp(TE, FC)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.chdir(tmp_path)
    assert build_pp(TE, FC) == first
    assert build_pp(TE, FC, mls=False) != first
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [b"p", b"probe", b"a_name_that_is_rather_long"])
def test_a_renamed_package_is_what_the_tools_make(name: bytes) -> None:
    te = b"# another comment\n" + TE.replace(b"module probe", b"module " + name)
    fc = b"# of " + name + b"\n" + FC
    assert body(te) == body(TE)
    assert renamed(build_pp(TE, FC), te, fc) == build_pp(te, fc)


@pytest.mark.parametrize("other", [TE.replace(b"write", b"read"), TE.replace(b"1.0", b"1.1"), TE + b"type more_t;\n"])
def test_another_module_has_another_body(other: bytes) -> None:
    assert body(other) != body(TE)


def test_only_a_package_of_the_known_form_is_renamed() -> None:
    package = build_pp(TE, FC)
    for broken in (
        package[:40],
        b"\0" + package[1:],
        package.replace(b"SE Linux Module", b"SE Linux Policy"),
        build_pp(TE),
    ):
        with pytest.raises(ModuleError, match="a package of an unknown form"):
            renamed(broken, TE, FC)
    with pytest.raises(ModuleError, match="only a named module"):
        renamed(package, b"allow a b:c d;", FC)


@pytest.mark.parametrize(
    ("te", "line", "message"),
    [
        (TE.replace(b"b_t:file", b"c_t:file"), 4, "unknown type c_t"),
        (TE + b"allow\n;", 7, "syntax error"),
        (TE.replace(b"{ read write };\n", b"{ read reed };\n", 1), 4, "reed|write"),
        (b"", 1, "no module specification"),
        (b"\xff", 1, "unrecognized character"),
        (TE.replace(b"probe", b"../probe", 1), 1, "syntax error|unrecognized"),
    ],
)
def test_a_broken_module_gives_the_line(te: bytes, line: int, message: str) -> None:
    with pytest.raises(ModuleError, match=message) as error:
        build_pp(te, FC)
    assert (error.value.tool, error.value.line) == ("checkmodule", line)


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x8f\xff\x7c\xf9" + b"\0" * 40])
def test_what_is_no_package_is_refused(data: bytes) -> None:
    with pytest.raises(ModuleError, match="pp:"):
        module_to_cil(data)


@pytest.mark.parametrize(("tool", "package"), list(module.PACKAGES.items()))
def test_a_missing_tool_is_named_with_its_package(tool: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pp = build_pp(TE, FC)
    monkeypatch.setattr(module, "which", lambda name: None if name == tool else shutil.which(name))
    assert missing() == (f"{tool} (Debian: {package})",)
    with pytest.raises(ModuleError, match=f"apt-get install {package}"):
        build_pp(TE)
        module_to_cil(pp)


def test_a_tool_that_hangs_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TIMEOUT_S", 0)
    with pytest.raises(ModuleError, match="timed out"):
        build_pp(TE)


def test_the_package_is_what_semodule_package_writes(tmp_path: Path) -> None:
    (tmp_path / "probe.te").write_bytes(TE)
    (tmp_path / "probe.fc").write_bytes(FC)
    for command in (
        ["checkmodule", "-M", "-m", "-o", "probe.mod", "probe.te"],
        ["semodule_package", "-o", "probe.pp", "-m", "probe.mod", "-f", "probe.fc"],
    ):
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert build_pp(TE, FC) == (tmp_path / "probe.pp").read_bytes()
