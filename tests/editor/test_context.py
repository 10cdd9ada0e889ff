"""Where a cursor stands, in text that is not finished."""

from __future__ import annotations

import pytest
from stockade.editor.context import context_at, word_at


def _at(marked: str) -> tuple[str, int, int]:
    """Text without its `|`, and the place of that."""
    before, _, after = marked.partition("|")
    return before + after, before.count("\n"), len(before.rpartition("\n")[2])


@pytest.mark.parametrize(
    ("marked", "path", "is_key", "word"),
    [
        ("cont|", (), False, "cont"),
        ("container: web\nsys|", (), True, "sys"),
        ("container: we|b\n", ("container",), False, "we"),
        ("cgroup:\n  mem|", ("cgroup",), False, "mem"),
        ("cgroup:\n  memory.max: 1\n  pi|", ("cgroup",), True, "pi"),
        ("syscalls:\n  allow:\n    - |", ("syscalls", "allow", 0), False, ""),
        ("syscalls:\n  allow:\n    - a\n    - @fi|", ("syscalls", "allow", 1), False, "@fi"),
        ("rules:\n  - {who: a, may: [b, mo|", ("rules", 0, "may", 1), False, "mo"),
        ("rules:\n  - {who: a, may: [b, mo|], what: c}", ("rules", 0, "may", 1), False, "mo"),
        ("rules:\n  - {who: a, wh|", ("rules", 0), True, "wh"),
        ("rules:\n  - {who: a}\n  - {who: |", ("rules", 1, "who"), False, ""),
        ("a: 1\n---\nb: x|", ("b",), False, "x"),
        ('a: ["@gr|"]', ("a", 0), False, "@gr"),
    ],
)
def test_the_way_to_a_place(marked: str, path: tuple[str | int, ...], is_key: bool, word: str) -> None:
    found = context_at(*_at(marked))
    assert found is not None
    assert (found.path, found.is_key, found.word) == (path, is_key, word)


@pytest.mark.parametrize("marked", ["# a com|ment", "a: b # c|", "why: some words and mo|re", "a: 'some wor|ds'"])
def test_no_name_fits_in_a_comment_or_a_sentence(marked: str) -> None:
    assert context_at(*_at(marked)) is None


def test_what_is_said_beside_is_kept() -> None:
    found = context_at(*_at("deny:\n  - {call: clone, flags: {none-of: [|]}}"))
    assert found is not None
    assert found.beside[-2] == {"call": "clone"}


@pytest.mark.parametrize(
    ("marked", "word"),
    [("a: file-|io, b", "file-io"), ('["@fi|le-io"]', "@file-io"), ("memory.m|ax: 1", "memory.max"), ("a:  | b", None)],
)
def test_the_word_at_a_place(marked: str, word: str | None) -> None:
    text, line, column = _at(marked)
    found = word_at(text, line, column)
    assert (found.text if found else None) == word
    if found:
        assert text.split("\n")[line][found.start : found.end] == word
