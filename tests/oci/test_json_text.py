"""The one spelling of JSON is that of the standard library."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stockade.model.json_text import spelled

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_as_json_spells_it(value: object) -> None:
    assert spelled(value).decode() == json.dumps(value, indent=2, sort_keys=True) + "\n"


def test_tuples_and_mappings() -> None:
    class Table(Mapping[str, int]):
        def __getitem__(self, key: str) -> int:
            return {"a": 1}[key]

        def __iter__(self) -> object:  # type: ignore[override]
            return iter("a")

        def __len__(self) -> int:
            return 1

    assert spelled((Table(), ())) == b'[\n  {\n    "a": 1\n  },\n  []\n]\n'


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_number_that_json_has_not(value: float) -> None:
    with pytest.raises(ValueError):
        spelled({"a": [value]})
