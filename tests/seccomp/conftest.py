"""The marker of the tests that start containers, as in tests/oci."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "runtime: starts containers with runc and crun; needs root (deselect with -m 'not runtime')"
    )
