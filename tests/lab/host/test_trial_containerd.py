"""The probes once more by the way that a host takes: containerd and crun on the sealed root, under the same policy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stockade.bundle.actions import catalogue
from stockade.bundle.read import read
from stockade.lab.host import File, HostRun, Image, Task, run
from stockade.lab.trial import programs
from stockade.lab.trial.judge import outcome
from stockade.lab.trial.plan import Case, contexts, specification
from stockade.lab.trial.settings import FULL
from stockade.prove.bundled import kernel_policy
from stockade.prove.matrix import bundle_matrix
from stockade.selinux.libsepol import Decisions

TYPES = ("batch", "database", "ordinary", "web")
"""Those that need nothing of the host: control and admin bind its API's socket, which this host has not."""


@pytest.fixture(scope="module")
def started(image: Image, bundle: Path) -> HostRun:
    """One container of each type, started by `ctr run` with crun from a root of its own."""
    shipped = read(bundle)
    known = catalogue(shipped)
    files, tasks = [], []
    for name in TYPES:
        root, label = f"/var/lib/trial/{name}", contexts(shipped, known, name)[1]
        spec = specification(shipped, known, Case(name, FULL))
        spec["root"]["path"] = root
        folders = (root, *(f"{root}/{place}" for place in ("proc", "sys", "dev", "tmp", "run")))
        files += [File(folder, mode=0o755, label=label, kind="folder") for folder in folders]
        files.append(File(f"{root}/probe", programs.probe(), 0o755, label))
        files.append(File(f"/run/trial/{name}.json", json.dumps(spec).encode()))
        command = ("/usr/bin/ctr", "run", "--rm", "--runc-binary", "/usr/bin/crun")
        tasks.append(Task((*command, "--config", f"/run/trial/{name}.json", name), name=name, timeout=90))
    return run(image, tasks, files=files, containerd=True, timeout=300)


@pytest.mark.parametrize("name", TYPES)
def test_containerd_and_crun_answer_as_predicted(started: HostRun, bundle: Path, name: str) -> None:
    shipped = read(bundle)
    with Decisions(kernel_policy(shipped)[1]) as oracle:
        matrix = bundle_matrix(shipped, oracle, "crun")
    result = started[name]
    assert (result.status, result.stderr) == (0, b"")
    lines = [line.split("\t") for line in result.stdout.decode().splitlines()]
    found = {words[0]: outcome(words[1:]) for words in lines if words[0] in matrix.actions}
    assert found.keys() == matrix.actions.keys()
    wrong = []
    for action, answer in found.items():
        trial = matrix.actions[action].trial
        absent = all(attempt.ended in trial.absent for attempt in answer.attempts)
        if trial.unasked or (absent and matrix.verdicts[action, name].allowed):
            continue
        if answer.passed(matrix.actions[action]) != matrix.verdicts[action, name].allowed:
            wrong.append(f"{action}: {answer}")
    assert wrong == []
    assert started.enforcing == (True, True)
