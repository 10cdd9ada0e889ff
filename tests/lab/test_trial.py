"""Every action in every container type on a real kernel: no prediction is wrong, and a wrong one would be seen."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from stockade.bundle.actions import catalogue
from stockade.bundle.read import Bundle, read
from stockade.cli.lab_prove import as_dict, rows
from stockade.lab.host import build
from stockade.lab.trial.judge import judge
from stockade.lab.trial.plan import RUNTIMES, addition
from stockade.lab.trial.run import Proof, prove
from stockade.lab.trial.settings import ALL
from stockade.model.action import ActionCase, Layer
from stockade.prove.actions import decide
from stockade.prove.bundled import kernel_policy
from stockade.prove.confined import Confined
from stockade.prove.matrix import Matrix, bundle_matrix, confined_in
from stockade.selinux.libsepol import Decisions

ROOT = Path(__file__).resolve().parents[2]
ARTEFACTS = ROOT / ".artefacts"
"""What this run found, for a person to look at."""


@dataclass(frozen=True)
class Tried:
    """One trial of the shipped policy, and what decides anew about changed actions."""

    proof: Proof
    by_runtime: Mapping[str, Matrix]
    types: Mapping[str, Confined]
    oracle: Decisions

    @property
    def matrix(self) -> Matrix:
        return self.by_runtime["runc"]

    def mismatches(self, action: ActionCase) -> list[str]:
        """What would disagree, were the action what is given here."""
        verdicts = {
            (runtime, name): decide(replace(confined, runtime=runtime), action, self.oracle)
            for runtime in self.by_runtime
            for name, confined in self.types.items()
        }

        def predicted(name: str, container: str, without: frozenset[Layer], runtime: str) -> bool:
            return verdicts[runtime, container].without(without)

        outcomes = {key: o for key, o in self.proof.judged.outcomes.items() if key[1] == action.name}
        judged = judge(outcomes, {action.name: action}, predicted)
        return [str(found) for found in judged.mismatches]


@pytest.fixture(scope="module")
def shipped(bundle: Path) -> Bundle:
    return read(bundle)


@pytest.fixture(scope="module")
def tried(shipped: Bundle, bundle: Path) -> Iterator[Tried]:
    known = catalogue(shipped)
    with Decisions(kernel_policy(shipped)[1]) as oracle:
        by_runtime = {runtime: bundle_matrix(shipped, oracle, runtime) for runtime in RUNTIMES}
        types = {name: confined_in(shipped, known, name, oracle.permissive) for name in shipped.types}

        def predicted(name: str, container: str, without: frozenset[Layer], runtime: str) -> bool:
            return by_runtime[runtime].verdicts[name, container].without(without)

        image = build(bundle, extras=[addition()])
        proof = prove(shipped, image, predicted, timeout=600)
        yield Tried(proof, by_runtime, types, oracle)


def test_the_kernel_agrees_with_every_prediction(tried: Tried) -> None:
    judged = tried.proof.judged
    lines = [("action", *tried.proof.types), *rows(tried.matrix, tried.proof)]
    wide = max(len(line[0]) for line in lines)
    shown = [" ".join([line[0].ljust(wide), *(field.ljust(9) for field in line[1:])]).rstrip() for line in lines]
    print("\n".join(shown))
    ARTEFACTS.mkdir(exist_ok=True)
    (ARTEFACTS / "trial.txt").write_text("\n".join(shown) + "\n")
    (ARTEFACTS / "trial.json").write_text(json.dumps(as_dict(tried.proof), indent=1, sort_keys=True) + "\n")
    assert judged.problems == ()
    assert [str(found) for found in judged.mismatches] == []


def test_nearly_everything_was_tried(tried: Tried) -> None:
    judged = tried.proof.judged
    assert len(tried.matrix.actions) - len(judged.untried) >= 80
    assert len(judged.untried) <= 8
    assert all(judged.untried.values())
    containers = {(case.container, case.setting.name) for case, _ in judged.outcomes}
    assert {setting.name for setting in ALL} == {name for _, name in containers} - {"nothing"}
    assert {name for name, setting in containers if setting == "full"} == set(tried.proof.types)
    assert judged.compared >= 80 * 7 * 16


def test_it_was_tried_on_the_sealed_host(tried: Tried) -> None:
    """Both kinds of hosts stand on the verity root; containerd answered on them, and its crun containers were there."""
    for host in tried.proof.hosts:
        assert host.verity.split()[2] == "verity" and host.verity.endswith("restart_on_corruption")
        assert host.init_context == "system_u:system_r:init_t:s0"
        assert "containerd successfully booted" in host.containerd_log
    enforcing = [host for host in tried.proof.hosts if host.enforcing == (True, True)]
    assert 0 < len(enforcing) < len(tried.proof.hosts)
    by_containerd = [task for host in enforcing for task in host.tasks if task.task.argv[0].endswith("/ctr")]
    assert {task.task.name for task in by_containerd} == {f"{name}.full-crun" for name in tried.proof.types}


def test_the_trial_ends_in_time(tried: Tried) -> None:
    """A bound on what hangs, and no measurement: the figure is `stockade lab prove`'s own."""
    assert tried.proof.seconds < 600


def test_every_layer_stops_something_by_itself(tried: Tried) -> None:
    """Each layer alone stops actions, and each goes through in some container: neither answer is a habit."""
    actions = tried.matrix.actions
    for layer in Layer:
        alone = [
            outcome.passed(actions[name])
            for (case, name), outcome in tried.proof.judged.outcomes.items()
            if case.setting.name == f"only-{layer}" and name not in tried.proof.judged.untried
        ]
        assert True in alone and False in alone, layer


NEEDS: dict[str, Callable[[ActionCase], ActionCase]] = {
    "load-kernel-module": lambda a: _without(a, "NeedsCapability"),
    "restart-the-host": lambda a: _without(a, "NeedsSyscall"),
    "use-vm-sockets": lambda a: _without(a, "NeedsAccess"),
    "signal-the-runtime": lambda a: _without(a, "NeedsHostNamespace"),
    "press-sysrq": lambda a: _without(a, "NeedsPath"),
    "change-the-settings": lambda a: _without(a, "NeedsHostPath"),
    "execute-from-temporary-files": lambda a: _without(a, "NeedsMountOption"),
    "run-a-set-group-id-program": lambda a: _without(a, "NeedsNewPrivileges"),
    "write-the-hosts-disk": lambda a: _without(a, "NeedsDevice"),
    "exhaust-memory": lambda a: replace(a, ways=tuple(way * 0 for way in a.ways)),
    "make-user-namespace": lambda a: replace(a, ways=a.ways[1:]),
    "use-a-leaked-descriptor": lambda a: _without(a, "NeedsAccess"),
    "change-the-hosts-quotas": lambda a: replace(a, ways=a.ways[:1]),
    "enter-host-namespaces": lambda a: replace(a, ways=a.ways[:1]),
    "mount-file-system": lambda a: replace(a, ways=(*a.ways, a.ways[0][:1])),
}


def _without(action: ActionCase, kind: str) -> ActionCase:
    """The action as it would be, had one kind of need been forgotten."""
    ways = tuple(tuple(need for need in way if type(need).__name__ != kind) for way in action.ways)
    assert ways != action.ways
    return replace(action, ways=ways)


@pytest.mark.parametrize("name", NEEDS)
def test_a_wrong_need_is_caught(tried: Tried, name: str) -> None:
    found = tried.mismatches(NEEDS[name](tried.matrix.actions[name]))
    assert found and all(f"`{name}`" in line for line in found)


def test_nearly_every_need_that_is_forgotten_is_caught(tried: Tried) -> None:
    """What is not: needs that every type meets, whatever is taken away, so that nothing rests on them."""
    caught, missed = 0, []
    for action in tried.matrix.actions.values():
        if action.name in tried.proof.judged.untried:
            continue
        for need in dict.fromkeys(map(repr, (need for way in action.ways for need in way))):
            ways = tuple(tuple(n for n in way if repr(n) != need) for way in action.ways)
            if tried.mismatches(replace(action, ways=ways)):
                caught += 1
            else:
                missed.append(f"{action.name}: {need}")
    assert caught > 2 * len(missed), missed
