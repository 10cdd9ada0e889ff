"""A genuine host's facts, and the rules with their cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stockade.audit.facts.fact import Facts, from_json
from stockade.audit.rules.load import load, read_yaml
from stockade.audit.rules.rule import Rule

POLICY = Path(__file__).resolve().parents[2] / "policy/audit"


@pytest.fixture(scope="session")
def genuine() -> Facts:
    return from_json((POLICY / "genuine.json").read_bytes())


@pytest.fixture(scope="session")
def rules() -> tuple[Rule, ...]:
    return load([(path.name, path.read_text()) for path in sorted(POLICY.glob("*.yaml"))])


@pytest.fixture(scope="session")
def cases() -> dict[str, dict[str, Any]]:
    every = [one for path in sorted(POLICY.glob("*.yaml")) for one in read_yaml(path.read_text())]
    return {one["rule"]: one.get("cases", {}) for one in every}
