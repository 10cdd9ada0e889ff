"""What the tests of the NRI plugin share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stockade.bundle.compile import Compiled
from stockade.bundle.write import Artefact, write
from stockade.enforce.nri.judge import BundleJudge, load
from stockade.enforce.nri.plugin import Options
from stockade.enforce.nri.wire import Fields

from .live import V2
from .node import CLOSED, Node, Start


@pytest.fixture(scope="session")
def compiled_filters(bundle: Path) -> dict[str, Fields]:
    """Container type to its `linux.seccomp`."""
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(bundle.glob("containers/*/seccomp.json"))}


@pytest.fixture(scope="session")
def judge(bundle: Path) -> BundleJudge:
    found = load(str(bundle))
    return BundleJudge(found._profiles, found._selection, found.digest, cgroup2=True, filters=found._filters)


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


@pytest.fixture(scope="session")
def within_reach(compiled: Compiled, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose types NRI in containerd 1.7 can give whole: on cgroup v1 it has no word for two of their parts.

    And as many open files as a machine gives that is itself a container.
    """

    def lessened(artefact: Artefact) -> Artefact:
        if not artefact.path.endswith("/oci.json"):
            return artefact
        spec = json.loads(artefact.content)
        for limit in spec["process"]["rlimits"]:
            if limit["type"] == "RLIMIT_NOFILE":
                limit |= {"soft": 2000, "hard": 2000}
        if not V2:
            del spec["linux"]["resources"]["pids"]
            spec["linux"]["namespaces"].remove({"type": "cgroup"})
        return replace(artefact, content=json.dumps(spec).encode())

    folder = tmp_path_factory.mktemp("within") / "bundle"
    write(
        folder,
        [lessened(artefact) for artefact in compiled.artefacts],
        policy_name="lessened",
        policy_version="1",
        source_digest="0" * 64,
        compiler_digest="0" * 64,
    )
    return folder
