"""What must never hold: promises on labels and on what a container can do; and what is left open on purpose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stockade.model.host import Labels
from stockade.model.position import Position, Said


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelPromise(Said):
    """No subject in `who` has any of `access` on anything in `what`.

    A promise must name every subject it is true of; `silent_on` excuses a subject from that, with a reason, so that
    taking a name out of a promise never goes unnoticed. `who_at` is where the subjects were named. `own` is the
    container type whose own words the promise is (what it may not, what it lists); it speaks of its domain alone.
    """

    name: str
    who: Labels
    what: Labels
    access: int
    verbs: tuple[str, ...]
    silent_on: Mapping[str, str]
    who_at: Position
    own: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionPromise(Said):
    """No container of `containers` can do any of `actions`; at least `layers` layers must each stop it."""

    name: str
    containers: frozenset[str]
    actions: tuple[str, ...]
    layers: int
    silent_on: Mapping[str, str]
    who_at: Position


Promise = LabelPromise | ActionPromise


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver(Said):
    """No rule gives `who` all of `access` on `what`, and no promise forbids it: on purpose, and here is why.

    `steps` is the access one verb at a time, or the whole of it where permissions were written out.
    """

    name: str
    who: Labels
    what: Labels
    access: int
    steps: tuple[int, ...]
