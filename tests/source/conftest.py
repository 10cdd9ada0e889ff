"""The policies that the tests start from."""

from __future__ import annotations

import pytest

from tests.source import policies


@pytest.fixture(scope="session")
def base() -> policies.Files:
    return policies.files_of(policies.BASE)


@pytest.fixture(scope="session")
def shipped() -> policies.Files:
    return policies.files_of(policies.SHIPPED)
