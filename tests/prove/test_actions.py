"""Actions over all layers: each kind of need is given and refused by the layer that has the say, and promises hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from stockade.bundle.compile import Compiled
from stockade.model.action import ESCAPES, Layer
from stockade.model.names import CAPABILITIES
from stockade.model.policy import Policy
from stockade.model.promise import ActionPromise
from stockade.prove.actions import decide_action
from stockade.prove.kept import action_promises
from stockade.prove.matrix import Matrix, policy_matrix
from stockade.selinux.libsepol import Decisions


@pytest.fixture(scope="module")
def oracle(compiled: Compiled) -> Iterator[Decisions]:
    with Decisions(compiled.kernel_policy) as decisions:
        yield decisions


@pytest.mark.parametrize(
    ("container", "action", "stopping"),
    [
        ("ordinary", "load-kernel-module", {Layer.SECCOMP, Layer.CAPABILITIES, Layer.SELINUX}),
        ("bootstrap", "load-kernel-module", set()),
        ("admin", "load-ebpf-program", set()),
        ("bootstrap", "load-ebpf-program", {Layer.SECCOMP, Layer.SELINUX}),
        ("ordinary", "press-sysrq", {Layer.MOUNTS, Layer.SELINUX}),
        ("admin", "press-sysrq", set()),
        ("control", "make-user-namespace", {Layer.SECCOMP}),
        ("web", "make-user-namespace", {Layer.SECCOMP, Layer.SELINUX}),
        ("web", "write-the-hosts-disk", {Layer.SECCOMP, Layer.CAPABILITIES, Layer.DEVICES, Layer.SELINUX}),
        ("control", "write-the-hosts-disk", {Layer.DEVICES}),
        ("bootstrap", "write-the-hosts-disk", set()),
        ("control", "ask-the-settings-api", set()),
        ("ordinary", "ask-the-settings-api", {Layer.MOUNTS, Layer.SELINUX}),
        ("control", "enter-host-namespaces", {Layer.SECCOMP, Layer.CAPABILITIES, Layer.NAMESPACES}),
        ("admin", "leave-enforcing-mode", {Layer.SELINUX}),
        # A read-only bind mount with all below it is read-only at its top alone.
        ("admin", "change-the-settings", set()),
        ("admin", "change-the-hosts-programs", {Layer.SELINUX}),
        ("ordinary", "call-by-x32-numbers", {Layer.SECCOMP}),
        ("ordinary", "run-a-set-group-id-program", {Layer.PRIVILEGES}),
        ("ordinary", "exhaust-memory", {Layer.LIMITS}),
        ("ordinary", "read-a-neighbours-files", {Layer.MOUNTS, Layer.SELINUX}),
        ("ordinary", "execute-from-memory", set()),
    ],
)
def test_each_layer_answers_for_itself(
    policy: Policy, oracle: Decisions, container: str, action: str, stopping: set[Layer]
) -> None:
    verdict = decide_action(policy, policy.containers[container], policy.actions[action], oracle)
    assert set(verdict.stopping) == stopping
    assert verdict.allowed == (not stopping)


def test_every_action_is_possible_for_somebody_or_promised_to_nobody(policy: Policy, oracle: Decisions) -> None:
    """An action that no type can do, and no promise speaks of, would be a need written wrong."""
    promised = {name for p in policy.promises.values() if isinstance(p, ActionPromise) for name in p.actions}
    for action in policy.actions.values():
        able = [c.name for c in policy.containers.values() if decide_action(policy, c, action, oracle).allowed]
        assert able or action.name in promised, action.name


def with_container(policy: Policy, name: str, **changes: object) -> Policy:
    changed = replace(policy.containers[name], **changes)  # type: ignore[arg-type]
    return replace(policy, containers={**policy.containers, name: changed})


def findings(policy: Policy, oracle: Decisions, matrix: Matrix | None = None) -> list[tuple[str, str]]:
    return [(str(f.at), f.message) for f in action_promises(policy, matrix or policy_matrix(policy, oracle))]


def test_the_shipped_promises_hold(policy: Policy, oracle: Decisions) -> None:
    assert findings(policy, oracle) == []


def test_a_capability_more_breaks_a_promise_of_two_layers(policy: Policy, oracle: Decisions) -> None:
    web = policy.containers["web"]
    held = {**dict.fromkeys(("bounding", "permitted", "effective"), frozenset(CAPABILITIES))}
    held = {**web.capabilities, **held}
    broken = findings(with_container(policy, "web", capabilities=held), oracle)
    # Of the two layers that were left beside capabilities, SELinux among them, one alone holds what needs no label.
    assert all(at == str(web.at) and "only " in message for at, message in broken)
    assert "breaks promise `no-workload-is-held-by-one-layer`" in {m.split(":")[0] for _, m in broken}


def test_a_mask_less_breaks_the_promise_on_sysrq(policy: Policy, oracle: Decisions) -> None:
    web = policy.containers["web"]
    broken = findings(with_container(policy, "web", read_only=()), oracle)
    assert sorted(broken) == [
        (
            str(web.at),
            f"breaks promise `no-workload-is-held-by-one-layer`: `web` and `{name}`: only selinux would stop it",
        )
        for name in ("press-sysrq", "set-core-pattern", "set-module-loader", "weaken-address-randomization")
    ]


def _action_promises(policy: Policy) -> list[ActionPromise]:
    return [p for p in policy.promises.values() if isinstance(p, ActionPromise)]


def test_taking_any_container_out_of_any_promise_is_found(policy: Policy, oracle: Decisions) -> None:
    tried, matrix = 0, policy_matrix(policy, oracle)
    for promise in _action_promises(policy):
        for name in sorted(promise.containers):
            weaker = replace(promise, containers=promise.containers - {name})
            mutated = replace(policy, promises={promise.name: weaker})
            assert (
                str(promise.who_at),
                f"promise `{promise.name}` leaves out `{name}`, of which it is true",
            ) in findings(mutated, oracle, matrix)
            tried += 1
    assert tried > 60


def test_the_default_type_stops_nearly_every_escape_twice(policy: Policy, oracle: Decisions) -> None:
    """And the promise that says so names every one of them, so that no change undoes it unseen."""
    matrix = policy_matrix(policy, oracle)
    held, escapes = matrix.held(policy.default, 2)
    assert held >= 0.95 * escapes
    promise = policy.promises["no-workload-is-held-by-one-layer"]
    assert isinstance(promise, ActionPromise)
    twice = [n for n, a in matrix.actions.items() if a.aim in ESCAPES and matrix.layers(n, policy.default) >= 2]
    assert list(promise.actions) == twice


def test_the_catalogue(policy: Policy) -> None:
    assert len(policy.actions) >= 100
    for action in policy.actions.values():
        assert all(len(source) > 4 for source in action.seen_in), action.name
        assert action.trial.does, action.name
