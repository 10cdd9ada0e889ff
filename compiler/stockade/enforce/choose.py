"""Which type a container is of, decided from what is known of it by rules that were read before.

Imported when a container starts: standard library alone, and patterns that are no more than a beginning load nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

ANNOTATION = "io.stockade.type"
"""The annotation by which a pod asks for a type."""

HANDLER = "stockade-"
"""A runtime handler of this and a type's name chooses that type."""

SELECTING = "stockade"
"""The runtime handler and the launcher that choose by the operator's rules."""

NAMESPACE = "io.kubernetes.cri.sandbox-namespace"
IMAGE = "io.kubernetes.cri.image-name"
"""Annotations in which containerd says of which namespace a pod is, and of which image a container."""


class SelectionError(ValueError):
    """A file that selects nothing with certainty, or a choice that is not allowed."""


class Facts:
    """What is known of a container when its type is chosen; what is not known is empty."""

    def __init__(self, handler: str = "", namespace: str = "", image: str = "", asked: str = "") -> None:
        self.handler = handler
        self.namespace = namespace
        self.image = image
        self.asked = asked

    @classmethod
    def of(cls, notes: Mapping[str, Any]) -> Facts:
        """From a specification's annotations, for the launcher that chooses."""
        said = [notes.get(name) for name in (NAMESPACE, IMAGE, ANNOTATION)]
        return cls(SELECTING, *(text if type(text) is str else "" for text in said))


class Rule:
    """Patterns that must all match, the type that follows, which others a pod may ask for, and why it may be wider."""

    def __init__(
        self, patterns: Collection[tuple[str, str]], name: str, ask: Collection[str] = (), widens: str = ""
    ) -> None:
        self.patterns = tuple(patterns)
        self.type = name
        self.ask = frozenset(ask)
        self.widens = widens

    def matches(self, facts: Facts) -> bool:
        """Whether every pattern matches."""
        return all(_fits(getattr(facts, key), pattern) for key, pattern in self.patterns)


class Selection:
    """The operator's choice: rules in order, and the rule for all the rest."""

    def __init__(self, rules: Collection[Rule], default: Rule, types: Collection[str]) -> None:
        self.rules = tuple(rules)
        self.default = default
        self.types = frozenset(types)

    def choose(self, facts: Facts) -> str:
        """The type of a container; raises SelectionError for what a pod must not ask for, or what does not exist."""
        rule = next((rule for rule in self.rules if rule.matches(facts)), self.default)
        chosen, ask = rule.type, rule.ask
        if rule is self.default and facts.handler.startswith(HANDLER):
            # What a pod may ask for is no wider than the default; it may be wider than the handler's type.
            chosen, ask = facts.handler.removeprefix(HANDLER), frozenset()
            if chosen not in self.types:
                raise SelectionError(f"the runtime handler {facts.handler} names no container type")
        if facts.asked and facts.asked != chosen:
            if facts.asked not in ask:
                raise SelectionError(
                    f"the annotation {ANNOTATION} asks for {facts.asked!r}, and this pod may only have "
                    + ", ".join(sorted({chosen, *ask}))
                )
            chosen = facts.asked
        return chosen

    def widening(self) -> list[str]:
        """What the operator lets be wider, with the reason given."""
        return [f"{rule.type}: {rule.widens}" for rule in self.rules if rule.widens]

    def plain(self) -> list[Any]:
        """The rules as values of JSON, the default last; `restored` makes them rules again."""
        return [[list(map(list, rule.patterns)), rule.type, sorted(rule.ask)] for rule in (*self.rules, self.default)]


def restored(plain: list[Any], types: Collection[str]) -> Selection:
    """The selection that `plain` gave."""
    *rules, default = [Rule([(key, pattern) for key, pattern in said], name, ask) for said, name, ask in plain]
    return Selection(rules, default, types)


def _fits(text: str, pattern: str) -> bool:
    """Whether a shell pattern matches the whole text."""
    head, star, rest = pattern.partition("*")
    if not rest and not any(sign in head for sign in "?["):
        return text.startswith(head) if star else text == head
    from fnmatch import fnmatchcase

    return fnmatchcase(text, pattern)
