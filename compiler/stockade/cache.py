"""Where stockade keeps what it can make again: the user's cache, as the XDG base directories have it."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(name: str) -> Path:
    """The folder for `name` in the user's cache, which need not exist. RuntimeError where the user has no home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if base.startswith("/") else Path.home() / ".cache"
    return root / "stockade" / name
