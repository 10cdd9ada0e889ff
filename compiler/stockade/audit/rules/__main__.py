"""Writes the shipped rules into the package: `python -m stockade.audit.rules policy/audit`."""

from __future__ import annotations

import sys
from pathlib import Path

from stockade.audit.rules.load import SHIPPED, packed


def main(folder: Path) -> None:
    """Packs every YAML document of a folder."""
    documents = [(path.name, path.read_text()) for path in sorted(folder.glob("*.yaml"))]
    Path(__file__).parent.with_name(SHIPPED).write_text(packed(documents))


main(Path(sys.argv[1]))
