"""What the tests of several rooms share: the shipped policy, what it adds up to, what it compiles to, its bundle."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from stockade.bundle.compile import Compiled, compile_policy
from stockade.bundle.write import write
from stockade.cache import cache_folder
from stockade.model.grants import grants
from stockade.model.policy import Policy
from stockade.source.load import load

# The same examples in every run: a verdict is about the change, and `--hypothesis-profile default` looks for more.
settings.register_profile("same", derandomize=True)
settings.load_profile("same")

TESTS = Path(__file__).resolve().parent
SHIPPED = TESTS.parent / "policy"
TOGETHER = ("lab/host", "selinux", "policy", "review")
"""Folders whose files share what is costly to make: one worker runs all of such a folder."""
CONTAINERS = ("enforce/", "oci/test_runtimes.py", "seccomp/test_crun.py", "seccomp/test_runc.py")
"""What starts containers on this machine: all of them share its cgroups, and take turns in one worker."""
FIRST = ("lab/test_trial.py", "containers", "lab/host", "prove", "seccomp", "learn/test_loop.py")
"""What takes longest begins first, so that no worker is left alone with it at the end."""


def pytest_configure(config: pytest.Config) -> None:
    """Give the run a cache of its own, which ends with it; only the guest's images are those of whoever runs it.

    Workers are started with it, and so is every process that a test starts.
    """
    if hasattr(config, "workerinput"):
        return
    images = cache_folder("lab")
    own = tempfile.TemporaryDirectory(prefix="stockade-tests-")
    config.add_cleanup(own.cleanup)
    os.environ["XDG_CACHE_HOME"] = own.name
    images.mkdir(parents=True, exist_ok=True)
    cache_folder("").mkdir()
    cache_folder("lab").symlink_to(images)


def _group(place: str) -> str:
    """What a file of tests is run with, by its path below this folder."""
    if place.startswith(CONTAINERS):
        return "containers"
    return next((folder for folder in TOGETHER if place.startswith(f"{folder}/")), place)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        group = _group(item.path.relative_to(TESTS).as_posix())
        return next((rank for rank, first in enumerate(FIRST) if group.startswith(first)), len(FIRST))

    items.sort(key=rank)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n`: a worker is given whole groups, in their order."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid.partition("::")[0].removeprefix("tests/"))

    return Groups(config, log)


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
