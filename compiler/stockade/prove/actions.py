"""Actions decided over all layers: what each need gets from the layer that could refuse it, and how many refuse."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stockade.model.action import ActionCase, Layer
from stockade.model.container import ContainerType
from stockade.model.policy import Policy
from stockade.prove.confined import Confined, Oracle, of_type, process_context
from stockade.prove.needs import Answer
from stockade.prove.remembered import Remembered

__all__ = ["Answer", "Oracle", "Verdict", "decide", "decide_action", "process_context"]


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


def decide(confined: Confined, action: ActionCase, oracle: Oracle | Remembered) -> Verdict:
    """Whether a container confined so can do this, layer by layer. One who asks for many types remembers answers."""
    known = oracle if isinstance(oracle, Remembered) else Remembered(oracle)
    return Verdict(tuple(tuple(part for need in way for part in known(confined, need)) for way in action.ways))


def decide_action(policy: Policy, container: ContainerType, action: ActionCase, oracle: Oracle) -> Verdict:
    """Whether a container of this type can do this, layer by layer, as the source says."""
    return decide(of_type(policy, container), action, oracle)
