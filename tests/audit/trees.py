"""A folder that stands for a host: its kernel's file systems are believed by their place."""

from __future__ import annotations

from pathlib import Path

from stockade.audit.facts.host import ANCHORS


def file_system(descriptor: int) -> int:
    """For the seam: the magic number that belongs at a place below `host`."""
    path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
    return next((magic for place, magic in ANCHORS.items() if path.endswith("/host" + place)), 0xEF53)
