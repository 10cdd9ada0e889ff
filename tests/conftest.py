"""What the tests of several rooms share: the shipped policy, what it adds up to, what it compiles to, its bundle."""

from __future__ import annotations

from pathlib import Path

import pytest
from stockade.bundle.compile import Compiled, compile_policy
from stockade.bundle.write import write
from stockade.model.grants import grants
from stockade.model.policy import Policy
from stockade.source.load import load

SHIPPED = Path(__file__).resolve().parent.parent / "policy"


@pytest.fixture(scope="session")
def policy() -> Policy:
    """The shipped policy."""
    return load(SHIPPED)


@pytest.fixture(scope="session")
def table(policy: Policy) -> dict[tuple[str, str], int]:
    """(subject's label, object's label) -> access mask, by the shipped policy's rules."""
    return grants(policy.host)


@pytest.fixture(scope="session")
def compiled(policy: Policy) -> Compiled:
    """What the shipped policy compiles to."""
    return compile_policy(policy)


@pytest.fixture(scope="session")
def bundle(policy: Policy, compiled: Compiled, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the shipped policy's bundle."""
    folder = tmp_path_factory.mktemp("shipped") / "bundle"
    write(
        folder,
        compiled.artefacts,
        policy_name=policy.host.name,
        policy_version=policy.host.version,
        source_digest="0" * 64,
        compiler_digest="0" * 64,
    )
    return folder
