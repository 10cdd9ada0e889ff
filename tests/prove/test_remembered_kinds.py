"""Every kind of need that there is can be answered from memory: a new one without an entry is noticed here."""

from __future__ import annotations

from typing import get_args

from stockade.model.action import Need
from stockade.prove import remembered


def test_every_kind_of_need_has_its_places() -> None:
    assert set(remembered._PLACES) == set(get_args(Need))
