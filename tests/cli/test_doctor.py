"""`stockade doctor`: each requirement is asked of the machine itself, and what is missing comes with its command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from stockade.cli import probes, requirements
from stockade.cli.doctor import command
from stockade.cli.probes import Finding, Machine
from stockade.cli.requirements import REQUIREMENTS, Need

ROOT = Path(__file__).resolve().parents[2]
STATUS = """Package: runc
Status: install ok installed
Version: 1.2.3-4

Package: secilc
Status: deinstall ok config-files
Version: 9

Package: busybox-static
Status: install ok installed
Version: 1:1.35
Description: tools
 Status: install ok half-installed
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with a dpkg record, and an empty folder of programs."""
    (tmp_path / "var/lib/dpkg/info").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(STATUS)
    (tmp_path / "bin").mkdir()
    return Machine(tmp_path, str(tmp_path / "bin"))


def add_program(machine: Machine, name: str, content: bytes = b"", package: str = "") -> Path:
    path = machine.root / "bin" / name
    path.write_bytes(content)
    path.chmod(0o755)
    if package:
        (machine.root / f"var/lib/dpkg/info/{package}.list").write_text(f"/.\n{path}\n")
    return path


def elf(*segments: int) -> bytes:
    """A 64-bit ELF header with program headers of these types."""
    header = bytearray(64)
    header[:6] = b"\x7fELF\x02\x01"
    header[32:40] = (64).to_bytes(8, "little")
    header[54:58] = (56).to_bytes(2, "little") + len(segments).to_bytes(2, "little")
    return bytes(header) + b"".join(kind.to_bytes(4, "little") + bytes(52) for kind in segments)


def run(*words: str, **extra: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **extra}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [extra.get("PYTHONPATH"), str(ROOT / "compiler")]))
    return subprocess.run(
        [sys.executable, "-m", "stockade.cli.main", "doctor", *words],
        capture_output=True,
        text=True,
        timeout=30,
        env=environment,
    )


def test_a_program_is_found_with_the_version_of_the_package_that_brought_it(machine: Machine) -> None:
    probe = probes.program("runc")
    assert probe(machine, "runc") == Finding(problem="missing")
    path = add_program(machine, "runc")
    assert probe(machine, "runc") == Finding(str(path)), "a vendor's build, for dpkg does not list this file"
    (machine.root / "var/lib/dpkg/info/runc.list").write_text("/opt/runc\n")
    assert probe(machine, "runc") == Finding(str(path)), "dpkg brought another file of that name"
    add_program(machine, "runc", package="runc")
    assert probe(machine, "runc") == Finding(f"1.2.3-4 ({path})")


def test_a_removed_package_has_no_version(machine: Machine) -> None:
    path = add_program(machine, "secilc", package="secilc")
    assert probes.program("secilc")(machine, "secilc") == Finding(str(path))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (elf(1, 2), ""),
        (elf(1, 3), "linked dynamically"),
        (b"#!/bin/sh\n", "linked dynamically"),
        (b"", "linked dynamically"),
    ],
)
def test_busybox_must_be_static(machine: Machine, content: bytes, problem: str) -> None:
    path = add_program(machine, "busybox", content, "busybox-static")
    assert probes.static_busybox(machine, "busybox-static") == Finding(f"1:1.35 ({path})", problem)


def test_user_mode_linux_needs_its_modules(machine: Machine) -> None:
    add_program(machine, "linux.uml")
    assert probes.user_mode_linux(machine, "").problem == "its kernel modules are missing"
    folder = machine.root / "usr/lib/uml/modules/6.1.9"
    folder.mkdir(parents=True)
    (folder / "modules.dep").touch()
    finding = probes.user_mode_linux(machine, "")
    assert (finding.problem, "6.1.9" in finding.found) == ("", True)


@pytest.mark.parametrize(
    ("have", "problem"),
    [("8.1", ""), ("8.1.0", ""), ("10.0", ""), ("8.0.99", "older than 8.1"), ("x", "older than 8.1")],
)
def test_a_python_package_is_compared_by_number(
    monkeypatch: pytest.MonkeyPatch, machine: Machine, have: str, problem: str
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda distribution: have)
    assert probes.wheel("click", "8.1")(machine, "") == Finding(have, problem)


@pytest.mark.parametrize(
    ("version", "numbers"), [("4.26.0rc1", (4, 26, 0)), ("6.0", (6, 0)), ("2026.9.1", (2026, 9, 1)), ("x", ())]
)
def test_numbers(version: str, numbers: tuple[int, ...]) -> None:
    assert probes._numbers(version) == numbers


def test_missing_library_file_and_package(machine: Machine) -> None:
    assert probes.library("libstockade-none.so.9")(machine, "").problem == "missing"
    assert probes.file("usr/share/containers/seccomp.json")(machine, "").problem == "missing"
    assert probes.wheel("stockade-none", "1")(machine, "").problem == "missing"
    assert probes.architecture("vax")(machine, "").problem == "this is no Linux on vax"


def test_another_project_named_setools_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "setools").mkdir()
    (tmp_path / "setools/__init__.py").write_text("__version__ = '1.2.3'\n")
    ran = run("--for", "build", "--format", "json", PYTHONPATH=str(tmp_path))
    assert ran.returncode == 3
    (found,) = [one for one in json.loads(ran.stdout)["requirements"] if one["name"] == "setools"]
    assert found["problem"] == "another project of the same name, not SELinux's setools"
    assert found["install"].endswith("-m pip uninstall setools")


def test_setools_that_does_not_load_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "setools").mkdir()
    (tmp_path / "setools/__init__.py").write_text("raise ImportError('built for another interpreter')\n")
    (tmp_path / "setools/policyrep.so").touch()
    ran = run("--for", "build", PYTHONPATH=str(tmp_path))
    assert ran.returncode == 3
    assert "built for another interpreter" in ran.stdout


def test_this_machine_can_build() -> None:
    ran = run("--format", "json")
    document = json.loads(ran.stdout)
    assert (ran.returncode, document["complete"], document["decided-by"]) == (0, True, ["build"]), ran.stdout
    assert [one["name"] for one in document["requirements"]] == [one.name for one in REQUIREMENTS]
    for one in document["requirements"]:
        assert one["met"] == (one["problem"] == "") == (one["install"] == "")
        assert one["met"] <= bool(one["found"])


def test_an_empty_path_leaves_the_lab_without_programs(machine: Machine) -> None:
    checked = {one.requirement.name: one for one in requirements.check(frozenset({Need.LAB}), machine)}
    assert not checked["mkfs.erofs"].met
    assert checked["mkfs.erofs"].remedy.endswith("apt-get install --no-install-recommends erofs-utils")
    assert set(checked) == {one.name for one in REQUIREMENTS if Need.LAB in one.needs}


@pytest.mark.parametrize(("uid", "prefix"), [(0, ""), (1000, "sudo ")])
def test_one_command_for_all_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, machine: Machine, uid: int, prefix: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    lacking = [one for one in REQUIREMENTS if one.name in ("runc", "crun", "click", "rich", "x86_64")]
    assert requirements.commands(lacking, machine) == [
        f"{prefix}apt-get install --no-install-recommends crun runc",
        f"{sys.executable} -m pip install 'click>=8.1' 'rich>=13'",
    ]


def test_another_distribution_gets_no_apt_command(tmp_path: Path) -> None:
    elsewhere = Machine(tmp_path)
    lacking = [one for one in REQUIREMENTS if one.package]
    assert requirements.commands(lacking, elsewhere) == []
    assert all("apt-get" not in one.remedy(elsewhere) and one.package in one.remedy(elsewhere) for one in lacking)


@pytest.mark.parametrize("need", [need.value for need in Need])
def test_for_narrows_and_decides(
    need: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = [one for one in REQUIREMENTS if Need(need) in one.needs]
    for gone in (False, True):
        finding = Finding(problem="missing") if gone else Finding("here")
        everything = [requirements.Checked(one, finding, "apt-get it" if gone else "") for one in shown]
        monkeypatch.setattr("stockade.cli.doctor.check", lambda needs, machine, answer=everything: answer)
        result = command.main(["--for", need], standalone_mode=False)
        printed = capsys.readouterr().out
        assert result == (3 if gone else 0)
        assert all(one.name in printed for one in shown)
        assert (f"not enough to {need}" in printed) == gone


def test_what_a_lab_lacks_does_not_stop_a_build(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = [
        requirements.Checked(one, Finding("here") if Need.BUILD in one.needs else Finding(problem="missing"), "")
        for one in REQUIREMENTS
    ]
    monkeypatch.setattr("stockade.cli.doctor.check", lambda needs, machine: absent)
    assert command.main([], standalone_mode=False) == 0
    assert command.main(["--for", "lab"], standalone_mode=False) == 3


def test_the_table_agrees_with_what_the_installer_installs() -> None:
    rows = [
        line.split()[:2] for line in (ROOT / "tools/packages.debian").read_text().splitlines() if line[:1].isalpha()
    ]
    listed = {package: name for name, package in rows}
    known = {one.package: one for one in REQUIREMENTS if one.package}
    # A virtual environment is how the installer works, no requirement of ours; containerd is the host's own choice.
    assert set(listed) - {"python3-venv"} == set(known) - {"containerd"}
    for package, one in known.items():
        if package in listed:
            assert (listed[package] == "build") == (Need.BUILD in one.needs), package


def test_the_table_agrees_with_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wheels = {one.wheel for one in REQUIREMENTS if one.wheel and Need.BUILD in one.needs}
    assert wheels == set(project["dependencies"])
    tests = {one.wheel for one in REQUIREMENTS if one.wheel} - wheels
    assert tests <= set(project["optional-dependencies"]["dev"])
