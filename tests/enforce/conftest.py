"""Profiles of the shipped policy's container types, as enforcement reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
from stockade.enforce.core import Profile

PROFILES = Path(__file__).resolve().parents[2] / "profiles/containers"
TYPES = sorted(path.name for path in PROFILES.iterdir())


def profile_of(name: str) -> Profile:
    """A shipped type's profile."""
    folder = PROFILES / name
    files = ((folder / file).read_bytes() for file in ("oci.json", "seccomp.json"))
    return Profile.from_files(*files, defaults=("container_t", "data_t"))


@pytest.fixture(params=TYPES)
def profile(request: pytest.FixtureRequest) -> Profile:
    return profile_of(request.param)


@pytest.fixture
def web() -> Profile:
    return profile_of("web")
