"""What the tests of the NRI plugin share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stockade.enforce.nri.judge import BundleJudge, load
from stockade.enforce.nri.plugin import Options
from stockade.enforce.nri.wire import Fields

from .node import CLOSED, Node, Start


@pytest.fixture(scope="session")
def compiled_filters(bundle: Path) -> dict[str, Fields]:
    """Container type to its `linux.seccomp`."""
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(bundle.glob("containers/*/seccomp.json"))}


@pytest.fixture(scope="session")
def judge(bundle: Path) -> BundleJudge:
    found = load(str(bundle))
    return BundleJudge(found._profiles, found._selection, found.digest, cgroup2=True)


@pytest.fixture
def node(tmp_path: Path, judge: BundleJudge) -> Iterator[Start]:
    started: list[Node] = []

    def start(options: Options = CLOSED, select: BundleJudge | None = None, **how: Any) -> Node:
        made = Node(tmp_path / f"{len(started)}.sock", select or judge, options, **how)
        started.append(made)
        return made.start()

    yield start
    for made in started:
        made.stop()
