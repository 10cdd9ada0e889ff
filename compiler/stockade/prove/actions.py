"""Actions decided over all layers: what each need gets from the layer that could refuse it, and how many refuse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stockade.model.action import ActionCase, Layer
from stockade.model.container import ContainerType
from stockade.model.finding import Finding
from stockade.model.policy import Policy
from stockade.model.promise import ActionPromise
from stockade.prove.confined import Confined, Oracle, of_type, process_context
from stockade.prove.needs import Answer, answers

__all__ = ["Answer", "Oracle", "Verdict", "action_promises", "decide", "decide_action", "process_context"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """All answers to an action's needs, one tuple for each way in which it could succeed.

    A layer stops a way by itself when it refuses any need of it. An action is held by as many layers as must be broken
    before its weakest way is open.
    """

    ways: tuple[tuple[Answer, ...], ...]

    @classmethod
    def of(cls, *answers: Answer) -> Verdict:
        """The verdict on something that can be done in one way."""
        return cls((answers,))

    @property
    def weakest(self) -> tuple[Answer, ...]:
        """The answers on the way that the fewest layers stop; of several the first."""
        return min(self.ways, key=lambda way: len(refusing(way)))

    @property
    def allowed(self) -> bool:
        """Whether some way is open: some layer was asked about it, and none stops it."""
        return self.without(())

    def without(self, layers: Iterable[Layer]) -> bool:
        """Whether it would succeed with these layers taken away."""
        gone = frozenset(layers)
        return any(way and refusing(way) <= gone for way in self.ways)

    @property
    def stopping(self) -> tuple[Layer, ...]:
        """The layers that stop the weakest way, each by itself."""
        return tuple(sorted(refusing(self.weakest)))


def refusing(way: Iterable[Answer]) -> frozenset[Layer]:
    """The layers that refuse something on a way."""
    return frozenset(answer.layer for answer in way if not answer.given)


def decide(confined: Confined, action: ActionCase, oracle: Oracle) -> Verdict:
    """Whether a container confined so can do this, layer by layer."""
    return Verdict(tuple(tuple(part for need in way for part in answers(confined, need, oracle)) for way in action.ways))


def decide_action(policy: Policy, container: ContainerType, action: ActionCase, oracle: Oracle) -> Verdict:
    """Whether a container of this type can do this, layer by layer, as the source says."""
    return decide(of_type(policy, container), action, oracle)


def action_promises(policy: Policy, oracle: Oracle) -> Iterator[Finding]:
    """Promises on actions that do not hold, and container types that one leaves out although it is true of them."""
    confined = {name: of_type(policy, container) for name, container in policy.containers.items()}
    decided: dict[tuple[str, str], tuple[Layer, ...]] = {}
    for promise in policy.promises.values():
        if not isinstance(promise, ActionPromise):
            continue
        for container in policy.containers.values():
            stops: dict[str, tuple[Layer, ...]] = {}
            for name in promise.actions:
                key = (container.name, name)
                if key not in decided:
                    decided[key] = decide(confined[container.name], policy.actions[name], oracle).stopping
                stops[name] = decided[key]
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


def _unkept(promise: ActionPromise, container: ContainerType, stops: dict[str, tuple[Layer, ...]]) -> Iterator[Finding]:
    for name, layers in stops.items():
        if len(layers) < promise.layers:
            stopping = f"only {', '.join(layers)} would stop it" if layers else "no layer stops it"
            yield Finding(
                container.at,
                f"breaks promise `{promise.name}`: `{container.name}` and `{name}`: {stopping}",
                f"promised at {promise.at} with at least {promise.layers}: {promise.why}",
            )
