"""The words for permissions that a CIL policy has of its own: the permissions of its class maps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_TOKEN = re.compile(r';[^\n]*|"[^"\n]*"|[()]|[^\s()";]+')


def class_maps(files: Iterable[tuple[str, bytes]]) -> dict[str, tuple[str, ...]]:
    """Class map -> its permissions, in the order of the text; those of blocks are left out.

    `files` are names and texts of CIL that libsepol takes: what is malformed is not looked for here.
    """
    found: dict[str, tuple[str, ...]] = {}
    for _, data in files:
        for words in _statements(data.decode("utf-8", "replace")):
            if len(words) > 4 and words[:2] == ["(", "classmap"]:
                found[words[2]] = tuple(word for word in words[3:] if word not in "()")
    return found


def _statements(text: str) -> Iterator[list[str]]:
    """The statements outside of every block, as words and parentheses."""
    depth, words = 0, list[str]()
    for match in _TOKEN.finditer(text):
        word = match[0]
        if word.startswith(";"):
            continue
        depth += {"(": 1, ")": -1}.get(word, 0)
        words.append(word)
        if depth == 0:
            yield words
            words = []
