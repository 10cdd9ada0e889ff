"""A hook of the site's generator: pages as its reader of Markdown takes them."""

from __future__ import annotations

import re
from typing import Any

_FENCE = re.compile(r"^```(\w+) [^\n`]*$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A page without what stands behind the language of a fenced block, which is for the tests of the manual.

    What GitHub shows first, the README, is on the site the page that it begins with.
    """
    return _FENCE.sub(r"```\1", markdown).replace("](../README.md)", "](index.md)")
