"""Answers to needs, given once for all container types that are alike in what the need is about."""

from __future__ import annotations

from stockade.model.action import Need
from stockade.prove.confined import Confined, Oracle
from stockade.prove.needs import DECISIONS, Answer, answers


class Remembered:
    """Answers on one kernel policy. `facets` says what an answer rests on; two types with the same get the same one."""

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle
        self._known: dict[tuple[object, ...], tuple[Answer, ...]] = {}
        self._facets: dict[tuple[int, type[Need]], tuple[Confined, tuple[object, ...]]] = {}

    def __call__(self, confined: Confined, need: Need) -> tuple[Answer, ...]:
        """The answer of every layer that has a say in this need."""
        key = (id(need), *self.facets(confined, type(need)))
        if key not in self._known:
            self._known[key] = tuple(answers(confined, need, self.oracle))
        return self._known[key]

    def facets(self, confined: Confined, kind: type[Need]) -> tuple[object, ...]:
        """All of a type that answers to this kind of need depend on."""
        known = self._facets.get((id(confined), kind))
        if known is None:
            known = self._facets[id(confined), kind] = confined, DECISIONS[kind].rests_on(confined)
        return known[1]
