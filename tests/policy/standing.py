"""A bundle that stands, and changes of its policy: what the tests of building again have in common."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner
from stockade.bundle import memory
from stockade.bundle.read import read
from stockade.cli.build import command
from stockade.cli.policy import compiler_digest
from stockade.prove import rebuild
from stockade.source.files import digest, read_files

POLICY = Path(__file__).parents[2] / "policy"
OWN = (
    "container: like-{number}\nextends: ordinary\nwhy: w\ncapabilities: [CHOWN]\ncgroup: {{pids.max: 7}}\n"
    "selinux:\n  domain: like{number}_t\n  may-not:\n    - {{may: mount, what: objects, why: w}}\n"
)


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


def remembered(bundle: Path) -> memory.Memory:
    """What is remembered of a bundle, but for when it was written."""
    found = memory.recall(read(bundle).digest)
    assert found is not None
    return replace(found, settled=0)


def assert_whole(place: Path) -> None:
    """What was built again, and what is remembered of it, is what a whole build gives."""
    kept = remembered(place / "bundle")  # before the other build, whose manifest is the same and has the same memory
    anew = CliRunner().invoke(command, [str(place / "policy"), "-o", str(place / "anew"), "--force"])
    assert anew.exit_code == 0, anew.output
    assert tree(place / "bundle") == tree(place / "anew")
    assert kept == remembered(place / "anew")
