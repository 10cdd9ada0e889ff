"""A bundle of the shipped policy that knows its source, what is read from it, and its page."""

from __future__ import annotations

from pathlib import Path

import pytest
from stockade.bundle.compile import Compiled
from stockade.bundle.read import read
from stockade.bundle.write import write
from stockade.cli.main import main
from stockade.model.policy import Policy
from stockade.review.gather import Review, Source, gather
from stockade.source.diagnostics import Diagnostics
from stockade.source.documents import read_all, syscall_groups
from stockade.source.files import digest, read_files

SHIPPED = Path(__file__).resolve().parents[2] / "policy"


@pytest.fixture(scope="session")
def reviewed(policy: Policy, compiled: Compiled, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a bundle whose manifest names the shipped policy as its source."""
    folder = tmp_path_factory.mktemp("reviewed") / "bundle"
    write(
        folder,
        compiled.artefacts,
        policy_name=policy.host.name,
        policy_version=policy.host.version,
        source_digest=digest(read_files(SHIPPED)),
        compiler_digest="1" * 64,
    )
    return folder


@pytest.fixture(scope="session")
def review(reviewed: Path, policy: Policy) -> Review:
    """The same as what a page shows of it."""
    report = Diagnostics()
    groups = syscall_groups(read_all(read_files(SHIPPED), report)["groups"], report)
    return gather(read(reviewed), Source(policy, groups))


@pytest.fixture(scope="session")
def html(reviewed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page, as the command writes it."""
    page = tmp_path_factory.mktemp("page") / "report.html"
    assert main(["report", str(reviewed), "--policy", str(SHIPPED), "-o", str(page)]) == 0
    return page
