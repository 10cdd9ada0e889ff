"""Promises on actions: that they hold, and that they leave out no container type of which they are true."""

from __future__ import annotations

from collections.abc import Iterator

from stockade.model.action import Layer
from stockade.model.container import ContainerType
from stockade.model.finding import Finding
from stockade.model.policy import Policy
from stockade.model.promise import ActionPromise
from stockade.prove.matrix import Matrix


def action_promises(policy: Policy, matrix: Matrix) -> Iterator[Finding]:
    """Promises on actions that do not hold, and container types that one leaves out although it is true of them."""
    stopping: dict[int, tuple[Layer, ...]] = {}  # by verdict, which many types have in common
    for verdict in matrix.verdicts.values():
        if id(verdict) not in stopping:
            stopping[id(verdict)] = verdict.stopping
    for promise in policy.promises.values():
        if not isinstance(promise, ActionPromise):
            continue
        for container in policy.containers.values():
            stops = {name: stopping[id(matrix.verdicts[name, container.name])] for name in promise.actions}
            enough = all(len(layers) >= promise.layers for layers in stops.values())
            if container.name in promise.containers:
                yield from _unkept(promise, container, stops)
            elif container.name in promise.silent_on:
                if enough:
                    message = f"promise `{promise.name}` is silent on `{container.name}`, of which it is true"
                    yield Finding(promise.at, message, "take it out of `silent-on` and name it")
            elif enough:
                yield Finding(
                    promise.who_at,
                    f"promise `{promise.name}` leaves out `{container.name}`, of which it is true",
                    f"name `{container.name}` too, or say under `silent-on` why not",
                )


def suspended(policy: Policy, matrix: Matrix, container: ContainerType) -> tuple[str, ...]:
    """The promises that do not hold of a type that complains: those on its label, and those its other layers miss."""
    found = set()
    for promise in policy.promises.values():
        if isinstance(promise, ActionPromise):
            verdicts = (matrix.verdicts[name, container.name] for name in promise.actions)
            if container.name in promise.containers and any(len(v.stopping) < promise.layers for v in verdicts):
                found.add(promise.name)
        elif any(container.domain in part.members for part in promise.who.parts):
            found.add(promise.name)
    return tuple(sorted(found))


def _unkept(promise: ActionPromise, container: ContainerType, stops: dict[str, tuple[Layer, ...]]) -> Iterator[Finding]:
    for name, layers in stops.items():
        if len(layers) < promise.layers:
            stopping = f"only {', '.join(layers)} would stop it" if layers else "no layer stops it"
            yield Finding(
                container.at,
                f"breaks promise `{promise.name}`: `{container.name}` and `{name}`: {stopping}",
                f"promised at {promise.at} with at least {promise.layers}: {promise.why}",
            )
