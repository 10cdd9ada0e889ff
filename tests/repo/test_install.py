"""tools/install against a pretended machine: what it installs, as whom, and what it says where it cannot."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

INSTALL = Path(__file__).resolve().parents[2] / "tools/install"
NEEDED = (
    "sh",
    "awk",
    "sed",
    "grep",
    "cut",
    "cat",
    "tr",
    "paste",
    "mktemp",
    "rm",
    "mv",
    "env",
    "dirname",
    "cksum",
    "true",
    "head",
)
FAKES = {
    # Knows the packages named in the file `installed`, as dpkg-query would print them.
    "dpkg-query": "shift 3; rc=0\n"
    'for p; do grep -qx "$p" "$FAKE/installed" && echo "installed $p" || rc=1; done; exit $rc',
    "apt-get": 'echo "apt-get $*" >>"$FAKE/calls"; echo noise; [ ! -e "$FAKE/broken-$2" ] || exit 100\n'
    'case " $* " in *" install "*) for p; do case $p in [a-z]*) echo "$p" >>"$FAKE/installed" ;; esac; done ;; esac',
    "sudo": 'echo "sudo $*" >>"$FAKE/calls"; [ ! -e "$FAKE/no-sudo" ] || exit 1; [ "$1" != -n ] || shift; exec "$@"',
    "id": 'cat "$FAKE/uid"',
}


@dataclass
class Pretended:
    """A machine whose PATH holds the fakes; `calls` is what they were asked."""

    home: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.home / "bin"), "FAKE": str(self.home), "PYTHON": "/nowhere/python3"}
        environment["STOCKADE_PACKAGES"] = str(self.home / "list")
        return subprocess.run(
            ["/bin/sh", str(INSTALL), *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=20,
            stdin=subprocess.DEVNULL,
        )

    @property
    def calls(self) -> list[str]:
        path = self.home / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def remove(self, *tools: str) -> None:
        for tool in tools:
            (self.home / "bin" / tool).unlink()


@pytest.fixture
def pretended(tmp_path: Path) -> Pretended:
    (tmp_path / "bin").mkdir()
    for name in NEEDED:
        real = next(Path(folder) / name for folder in ("/usr/bin", "/bin") if (Path(folder) / name).exists())
        (tmp_path / "bin" / name).symlink_to(real)
    for name, body in FAKES.items():
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
    (tmp_path / "list").write_text(
        "# a comment\n\n"
        "build  one    command:stockade-one      a reason\n"
        "build  two    library:libtwo.so.9       a reason\n"
        "test   three  file:/nowhere/three       a reason\n"
    )
    (tmp_path / "installed").write_text("")
    (tmp_path / "uid").write_text("0\n")
    return Pretended(tmp_path)


APT = "install --yes --no-install-recommends --no-remove"


def test_root_installs_what_is_missing_once(pretended: Pretended) -> None:
    (pretended.home / "installed").write_text("two\n")
    first = pretended.run("build", "test")
    assert first.returncode == 0, first.stderr
    assert pretended.calls == ["apt-get -q update", f"apt-get -q -o DPkg::Lock::Timeout=120 {APT} one three"]
    assert first.stdout == ""
    assert first.stderr == "install: Debian packages: one three\n"
    second = pretended.run("build", "test")
    assert (second.returncode, second.stdout, second.stderr, len(pretended.calls)) == (0, "", "", 2)


def test_only_the_named_set_counts(pretended: Pretended) -> None:
    (pretended.home / "installed").write_text("one\ntwo\n")
    assert pretended.run("build").returncode == 0
    assert pretended.calls == []
    assert pretended.run("test").returncode == 0
    assert pretended.calls[-1].endswith(" three")


def test_a_thing_that_is_there_from_elsewhere_is_left_alone(pretended: Pretended) -> None:
    (pretended.home / "installed").write_text("two\n")
    (pretended.home / "bin/stockade-one").symlink_to("/bin/true")
    assert pretended.run("build").returncode == 0
    assert pretended.calls == []


def test_a_user_goes_through_sudo(pretended: Pretended) -> None:
    (pretended.home / "uid").write_text("1000\n")
    assert pretended.run("build").returncode == 0
    asked = [call for call in pretended.calls if call.startswith("sudo")]
    assert asked == [
        "sudo -n true",
        "sudo env DEBIAN_FRONTEND=noninteractive apt-get -q update",
        f"sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120 {APT} one two",
    ]


@pytest.mark.parametrize("absent", [True, False])
def test_a_user_without_sudo_is_told_the_command(pretended: Pretended, absent: bool) -> None:
    (pretended.home / "uid").write_text("1000\n")
    if absent:
        pretended.remove("sudo")
    else:
        (pretended.home / "no-sudo").touch()
    ran = pretended.run("build")
    assert ran.returncode == 3
    assert f"apt-get update && apt-get {APT} one two\n" in ran.stderr
    assert not [call for call in pretended.calls if call.startswith("apt-get")]


def test_another_distribution_is_told_what_is_needed(pretended: Pretended) -> None:
    pretended.remove("apt-get", "dpkg-query")
    ran = pretended.run("build")
    assert ran.returncode == 3
    assert "lacks what Debian calls: one two\n" in ran.stderr


def test_another_distribution_with_everything_goes_on(pretended: Pretended) -> None:
    pretended.remove("apt-get", "dpkg-query")
    (pretended.home / "three").touch()
    (pretended.home / "bin/stockade-one").symlink_to("/bin/true")
    (pretended.home / "list").write_text(
        f"build one command:stockade-one why\nbuild three file:{pretended.home}/three why\n"
    )
    ran = pretended.run("build")
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize(("broken", "code"), [("update", 0), ("-o", 1)])
def test_a_failing_update_is_survived_and_a_failing_install_is_not(
    pretended: Pretended, broken: str, code: int
) -> None:
    (pretended.home / f"broken-{broken}").touch()
    ran = pretended.run("build")
    assert ran.returncode == code
    assert "noise" in ran.stderr, "what apt-get said is shown when it failed"


def test_an_installation_that_brought_nothing_fails(pretended: Pretended) -> None:
    (pretended.home / "bin/apt-get").write_text("#!/bin/sh\nexit 0\n")
    ran = pretended.run("build")
    assert ran.returncode == 1
    assert "still missing after the installation: one two" in ran.stderr


def test_dry_run_only_prints(pretended: Pretended) -> None:
    ran = pretended.run("--dry-run", "build", "venv")
    assert ran.returncode == 0
    first, second = ran.stdout.splitlines()
    assert first == f"apt-get {APT} one two"
    assert second.startswith("/nowhere/python3 -m venv --system-site-packages ")
    assert pretended.calls == []


@pytest.mark.parametrize("words", [[], ["--dry-run"], ["everything"], ["build", "--force"]])
def test_wrong_usage(pretended: Pretended, words: list[str]) -> None:
    ran = pretended.run(*words)
    assert ran.returncode == 2
    assert "usage: tools/install" in ran.stderr


def test_an_unknown_proof_stops_it(pretended: Pretended) -> None:
    (pretended.home / "list").write_text("build one magic:wand why\n")
    ran = pretended.run("build")
    assert ran.returncode == 2
    assert "unknown proof 'magic:wand'" in ran.stderr
    assert pretended.calls == []


def test_the_shipped_list_is_well_formed() -> None:
    rows = [line.split(maxsplit=3) for line in (INSTALL.parent / "packages.debian").read_text().splitlines()]
    rows = [row for row in rows if row and not row[0].startswith("#")]
    assert len({row[1] for row in rows}) == len(rows) > 10
    for row in rows:
        assert len(row) == 4, f"{row}: set, package, proof, reason"
        assert row[0] in ("build", "test")
        assert row[2].split(":")[0] in ("command", "file", "module", "library")
    assert os.access(INSTALL, os.X_OK)
