"""Text that every document may hold: nobody's words, a hostile host's the least, make it another document."""

from __future__ import annotations


def plain(text: str) -> str:
    """`text` with a replacement character for what XML has no character for, and what JSON readers stumble over."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
