"""Writes the generated schemas to the folder that the loader and editors read them from."""

from __future__ import annotations

from stockade.source.schemas import generated
from stockade.source.shape import SCHEMAS

for filename, content in generated().items():
    (SCHEMAS / filename).write_text(content, "utf-8")
