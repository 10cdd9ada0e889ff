"""One difference between two kernel policies: an access given or taken, or a change of anything else."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Effect(StrEnum):
    """What a change does to what is allowed."""

    WIDENS = "widens"
    NARROWS = "narrows"
    CHANGES = "changes"  # gives and takes, or depends on what else happens
    NEUTRAL = "neutral"  # nothing by itself


@dataclass(frozen=True, slots=True, order=True)
class Access:
    """Permissions that one policy gives and the other does not.

    `condition` is empty where that is so whatever the booleans are. `because` names the statements of a source that
    say so, as `file:line:column`, and `verbs` the words that the permissions make up there.
    """

    source: str
    target: str
    tclass: str
    perms: tuple[str, ...]
    condition: str = ""
    verbs: tuple[str, ...] = ()
    because: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        found: dict[str, object] = {
            "source": self.source,
            "target": self.target,
            "class": self.tclass,
            "permissions": list(self.perms),
        }
        optional = {"condition": self.condition, "verbs": list(self.verbs), "because": list(self.because)}
        return found | {key: value for key, value in optional.items() if value}


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one part of a policy: `what` it is, its `name`, and how it reads in each (None: it is not there).

    `witness` are contexts on which a changed constraint decides differently, in the order in which it takes them.
    """

    what: str
    name: str
    old: str | None
    new: str | None
    effect: Effect
    witness: tuple[str, ...] = ()

    def __lt__(self, other: Change) -> bool:
        return self._key() < other._key()

    def _key(self) -> tuple[str, ...]:
        return (self.what, self.name, self.old or "", self.new or "", self.effect, *self.witness)

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        found: dict[str, object] = {
            "what": self.what,
            "name": self.name,
            "old": self.old,
            "new": self.new,
            "effect": self.effect.value,
        }
        return found | ({"witness": list(self.witness)} if self.witness else {})
