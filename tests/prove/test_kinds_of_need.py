"""Every kind of need is known wherever needs are read, written and decided: a new one that is left out is seen here."""

from __future__ import annotations

from dataclasses import fields
from typing import get_args

from stockade.model.action import KEYS, Need
from stockade.model.policy import Policy
from stockade.prove.needs import DECISIONS
from stockade.source.action import READERS
from stockade.source.schemas.promise import NEEDS

KINDS = set(get_args(Need))


def test_every_kind_is_decided() -> None:
    assert set(DECISIONS) == KINDS


def test_every_kind_has_a_key_for_each_field_and_keys_of_its_own() -> None:
    assert set(KEYS) == KINDS
    assert {kind: len(keys) for kind, keys in KEYS.items()} == {kind: len(fields(kind)) or 1 for kind in KINDS}
    assert len({frozenset(keys) for keys in KEYS.values()}) == len(KINDS)


def test_every_key_of_the_language_is_read() -> None:
    assert set(READERS) == set(NEEDS)


def test_every_kind_is_needed_by_some_action(policy: Policy) -> None:
    """So that whatever holds of all actions, as that a bundle gives them back, holds of every kind."""
    assert {type(need) for action in policy.actions.values() for way in action.ways for need in way} == KINDS
