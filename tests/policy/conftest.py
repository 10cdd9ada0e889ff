"""What the tests of the shipped policy share: the reference's decisions, and both kernel policies read back."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from stockade.bundle.compile import Compiled
from stockade.cli.build import command
from stockade.model.policy import Policy
from stockade.selinux.binary import Binary
from stockade.selinux.libsepol import compile_cil

from tests.policy.standing import OWN, POLICY
from tests.selinux import reference

REFERENCE = Path(__file__).resolve().parents[1] / "data" / "reference-policy.json.gz"


@pytest.fixture(scope="session")
def decided() -> dict[str, Any]:
    """What the reference policy decides."""
    return reference.load(REFERENCE)


@pytest.fixture(scope="session")
def reference_kernel_policy(decided: dict[str, Any]) -> bytes:
    return compile_cil([("reference.cil", reference.to_cil(decided))]).policy


@pytest.fixture(scope="session")
def ours(compiled: Compiled) -> Binary:
    """The shipped kernel policy, as setools reads it."""
    return Binary(compiled.kernel_policy)


@pytest.fixture(scope="session")
def parent(policy: Policy) -> dict[str, str]:
    """A container type's own domain -> the label it narrows, which stands for it in the reference."""
    return {s.label: s.parent for s in policy.host.subjects.values() if s.declared_by and s.parent}


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a policy, the bundle of it, and what the build remembers. Four of its types are alike."""
    top = tmp_path_factory.mktemp("rebuild")
    shutil.copytree(POLICY, top / "policy")
    for number in range(4):
        (top / f"policy/containers/like-{number}.yaml").write_text(OWN.format(number=number))
    for name in ("plain", "other"):
        held = "KILL" if name == "plain" else "CHOWN"
        text = f"container: {name}\nextends: ordinary\nwhy: w\ncapabilities: [{held}]\n"
        (top / f"policy/containers/{name}.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(top / "cache"))
        built = CliRunner().invoke(command, [str(top / "policy"), "-o", str(top / "bundle")])
    assert built.exit_code == 0, built.output
    assert len(list((top / "cache/stockade/builds").glob("*.json"))) == 1
    return top


@pytest.fixture
def place(first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of all that, to be changed."""
    for name in ("policy", "bundle", "cache"):
        shutil.copytree(first / name, tmp_path / name)
    (tmp_path / "cache/stockade").chmod(0o700)
    (tmp_path / "cache/stockade/builds").chmod(0o700)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path
