"""Shapes of JSON values: small checks that compose, each of which names the path of what it did not expect."""

from __future__ import annotations

import difflib
import posixpath
import re
from collections.abc import Callable, Collection, Iterator, Mapping

Shape = Callable[[str, object], Iterator[str]]
"""Given the JSON path of a value and the value, yields one finding per fault; nothing where the value fits."""


def text(path: str, value: object) -> Iterator[str]:
    """Any string without NUL."""
    if not isinstance(value, str) or "\0" in value:
        yield f"{path}: expected a string, got {kind(value)}"


def word(path: str, value: object) -> Iterator[str]:
    """A string that is not empty."""
    if not isinstance(value, str) or not value or "\0" in value:
        yield f"{path}: expected a string that is not empty, got {kind(value)}"


def boolean(path: str, value: object) -> Iterator[str]:
    """True or false."""
    if not isinstance(value, bool):
        yield f"{path}: expected true or false, got {kind(value)}"


def absolute(path: str, value: object) -> Iterator[str]:
    """An absolute path in its shortest spelling, and not the root itself."""
    if not isinstance(value, str):
        yield f"{path}: expected a path, got {kind(value)}"
    elif not normalised(value):
        yield f"{path}: {value!r} is not an absolute path without '.', '..', '//' or a trailing '/'"
    elif value == "/":
        yield f"{path}: '/' covers everything"


def normalised(path: str) -> bool:
    """Whether a path is absolute, in its shortest spelling and free of NUL."""
    return path.startswith("/") and not path.startswith("//") and "\0" not in path and posixpath.normpath(path) == path


def integer(low: int, high: int) -> Shape:
    """An integer from `low` to `high`, both included; JSON's true is not one."""

    def shape(path: str, value: object) -> Iterator[str]:
        if not isinstance(value, int) or isinstance(value, bool):
            yield f"{path}: expected an integer, got {kind(value)}"
        elif not low <= value <= high:
            yield f"{path}: {value} is not within {low} to {high}"

    return shape


def one_of(names: Collection[str], what: str) -> Shape:
    """One of `names`, which `what` calls by a noun; the nearest name is offered for any other."""

    def shape(path: str, value: object) -> Iterator[str]:
        if not isinstance(value, str):
            yield f"{path}: expected a {what}, got {kind(value)}"
        elif value not in names:
            yield f"{path}: unknown {what} {value!r}{nearest(value, names)}"

    return shape


def matching(pattern: str, what: str) -> Shape:
    """A string that a regular expression matches as a whole."""
    compiled = re.compile(pattern)

    def shape(path: str, value: object) -> Iterator[str]:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            yield f"{path}: expected {what}, got {value!r}"

    return shape


def array(item: Shape, *, unique: str | None = None, once: bool = False) -> Shape:
    """An array of `item`; `unique` names the member by which two objects are the same, `once` forbids equal strings."""

    def shape(path: str, value: object) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{path}: expected an array, got {kind(value)}"
            return
        seen: dict[str, str] = {}
        for index, element in enumerate(value):
            here = f"{path}[{index}]"
            yield from item(here, element)
            name = element if once else element.get(unique) if unique and isinstance(element, dict) else None
            if isinstance(name, str) and seen.setdefault(name, here) != here:
                yield f"{here}: {name!r} is already at {seen[name]}"

    return shape


def record(members: Mapping[str, Shape], *, required: Collection[str] = ()) -> Shape:
    """An object whose members are all named here; those in `required` must be there."""

    def shape(path: str, value: object) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{path or 'the document'}: expected an object, got {kind(value)}"
            return
        for name in sorted(set(required) - value.keys()):
            yield f"{path or 'the document'}: {name} is missing"
        for name, member in value.items():
            here = f"{path}.{name}" if path else str(name)
            if name in members:
                yield from members[name](here, member)
            else:
                yield f"{here}: unknown key{nearest(str(name), members)}"

    return shape


def table(key: Shape, item: Shape) -> Shape:
    """An object with names of the author's choice: each must fit `key`, and each value `item`."""

    def shape(path: str, value: object) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{path}: expected an object, got {kind(value)}"
            return
        for name, element in value.items():
            here = f'{path}["{name}"]'
            yield from key(here, name)
            yield from item(here, element)

    return shape


def nearest(name: str, names: Collection[str]) -> str:
    """A suggestion to append to a message, or nothing when no name is near."""
    close = difflib.get_close_matches(name, sorted(names), 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def kind(value: object) -> str:
    """What a JSON value is, for a message."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the string {value!r}"
    return "an array" if isinstance(value, list) else "an object" if isinstance(value, dict) else type(value).__name__
