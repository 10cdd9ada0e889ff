"""What the tests of the shipped policy share: the reference's decisions, and both kernel policies read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stockade.bundle.compile import Compiled
from stockade.model.policy import Policy
from stockade.selinux.binary import Binary
from stockade.selinux.libsepol import compile_cil

from tests.selinux import reference

REFERENCE = Path(__file__).resolve().parents[1] / "data" / "reference-policy.json.gz"


@pytest.fixture(scope="session")
def decided() -> dict[str, Any]:
    """What the reference policy decides."""
    return reference.load(REFERENCE)


@pytest.fixture(scope="session")
def reference_kernel_policy(decided: dict[str, Any]) -> bytes:
    return compile_cil([("reference.cil", reference.to_cil(decided))]).policy


@pytest.fixture(scope="session")
def ours(compiled: Compiled) -> Binary:
    """The shipped kernel policy, as setools reads it."""
    return Binary(compiled.kernel_policy)


@pytest.fixture(scope="session")
def parent(policy: Policy) -> dict[str, str]:
    """A container type's own domain -> the label it narrows, which stands for it in the reference."""
    return {s.label: s.parent for s in policy.host.subjects.values() if s.declared_by and s.parent}
