"""JSON as the launcher reads it: nothing that two readers could read differently, and everything to the last digit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stockade.enforce.exact import dumps, loads


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"a": {"b": [{"c": 1, "c": 1}]}}', "twice"),
        (b"NaN", "no number"),
        (b'{"a": Infinity}', "no number"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": 18446744073709551616}', "64 bits"),
        (b"1" * 5000, "no JSON"),
        (b"[" * 200000, "too deeply"),
        (b"", "no JSON"),
        (b"{} {}", "after the end"),
        (b'{"a": "\xff"}', "no JSON"),
        (b" " * ((16 << 20) + 1), "more than"),
        (b'{"a": "x\ny"}', "no JSON"),
    ],
)
def test_what_two_readers_could_read_differently_is_refused(text: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        loads(text)


@settings(max_examples=200)
@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(-(1 << 63), (1 << 64) - 1), st.text()),
        lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    )
)
def test_a_document_survives_to_the_last_digit(value: Any) -> None:
    assert loads(dumps(value)) == value
    assert json.loads(dumps(value)) == value
    assert loads(json.dumps(value).encode()) == value
