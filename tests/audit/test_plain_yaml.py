"""YAML that would exhaust its reader, as a host may hold it, is refused; all else is what PyYAML reads."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from stockade.audit.facts.configuration import kubernetes
from stockade.audit.plain_yaml import DEEPEST, read

LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}]\n" for old, new in zip("abcdefghij", "bcdefghijk", strict=True)
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 100_000, f"line 1: nested deeper than {DEEPEST} levels"),
        ("a:\n" + "".join(f"{' ' * depth}b:\n" for depth in range(1, 200)), "nested deeper than"),
        (LAUGHS, "line 2: an alias"),
        ("a: 2026-13-01", "month must be in"),
        ("a: " + "9" * 5000, "Exceeds the limit"),
        ("a: [", "while parsing"),
    ],
)
def test_what_would_exhaust_the_reader_is_refused(text: str, why: str) -> None:
    with pytest.raises(yaml.YAMLError, match=why):
        read(text)
    with pytest.raises(ValueError, match="not YAML"):
        kubernetes(text.encode())


def test_json_that_is_too_deep_is_malformed() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        kubernetes(b'{"a":' * 100_000)


def test_all_else_is_read_as_it_is() -> None:
    for path in sorted((Path(__file__).parents[2] / "policy/audit").glob("*.yaml")):
        assert read(path.read_text()) == yaml.safe_load(path.read_text())
    assert read("a: " + "[" * (DEEPEST - 1) + "]" * (DEEPEST - 1))
