"""What the tests of several rooms share: the shipped policy, what it adds up to, what it compiles to, its bundle."""

from __future__ import annotations

from pathlib import Path

import pytest
from stockade.bundle.compile import Compiled, compile_policy
from stockade.bundle.write import write
from stockade.model.grants import grants
from stockade.model.policy import Policy
from stockade.source.load import load

TESTS = Path(__file__).resolve().parent
SHIPPED = TESTS.parent / "policy"
TOGETHER = ("lab/host", "selinux", "policy", "enforce", "review")
"""Folders whose files share what is costly to make: one worker runs all of such a folder."""
FIRST = ("lab/test_trial.py", "enforce", "lab/host", "prove", "seccomp", "learn/test_loop.py")
"""What takes longest begins first, so that no worker is left alone with it at the end."""


@pytest.hookimpl(tryfirst=True)  # xdist looks at the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tell workers (`pytest -n`) what belongs together; tests that start containers here take turns."""
    for item in items:
        place = item.path.relative_to(TESTS).as_posix()
        group = next((folder for folder in TOGETHER if place.startswith(f"{folder}/")), place)
        item.add_marker(pytest.mark.xdist_group("enforce" if item.get_closest_marker("runtime") else group))
    groups = [mark.args[0] for item in items for mark in item.iter_markers("xdist_group")]
    ranks = [next((rank for rank, first in enumerate(FIRST) if name.startswith(first)), len(FIRST)) for name in groups]
    items[:] = [item for _, item in sorted(zip(ranks, items, strict=True), key=lambda pair: pair[0])]


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
