"""What the JSON Schema of a kind of file allows at a place: its keys, its words, and what they are for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stockade.editor.context import Context, Step
from stockade.source.documents import FOLDERS
from stockade.source.shape import schema

_KINDS = {"host": ("host",), "containers": ("container", "groups"), "actions": ("action",)}
_KINDS |= {"promises": ("promise", "waiver"), "expectations": ("expectation",)}


def kinds_of(file: str, text: str) -> tuple[str, ...]:
    """The kinds of document that a file, named from the policy folder, may hold; by what it says where it says it."""
    kinds = _KINDS.get(file.split("/")[0], ()) if file.split("/")[0] in FOLDERS else ()
    lines = text.splitlines()
    for kind, key in (("container", "container:"), ("groups", "groups:"), ("waiver", "open:"), ("promise", "promise:")):
        if kind in kinds and len(kinds) > 1 and any(line.startswith(key) for line in lines):
            return (kind,)
    return kinds


def keys(kinds: tuple[str, ...], here: Context) -> Iterator[tuple[str, str]]:
    """The keys of the mapping at a place, each with what the schema says of it."""
    for found in _at(kinds, here.path):
        for key, value in found.get("properties", {}).items():
            yield key, _described(value)
        names = found.get("propertyNames", {})
        yield from ((str(key), _described(found.get("additionalProperties", {}))) for key in names.get("enum", ()))


def words(kinds: tuple[str, ...], here: Context) -> Iterator[str]:
    """The words that may stand as a value at a place."""
    for found in _at(kinds, here.path):
        yield from map(str, found.get("enum", ()))
        if "const" in found:
            yield str(found["const"])
        if found.get("type") == "boolean":
            yield from ("true", "false")


def described(kinds: tuple[str, ...], path: tuple[Step, ...]) -> str:
    """What the schema says of the value at a place, empty where it says nothing."""
    return next((text for found in _whole(kinds, path) if (text := _described(found))), "")


def _described(value: Any) -> str:
    return str(value.get("description", "")) if isinstance(value, dict) else ""


def _whole(kinds: tuple[str, ...], path: tuple[Step, ...]) -> list[dict[str, Any]]:
    """The schemas at the end of a way, before their alternatives are taken apart."""
    found = [schema(kind) for kind in kinds]
    for step in path:
        found = [inner for outer in _alternatives(found) for inner in _step(outer, step)]
    return found


def _at(kinds: tuple[str, ...], path: tuple[Step, ...]) -> list[dict[str, Any]]:
    return list(_alternatives(_whole(kinds, path)))


def _alternatives(found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for each in found:
        yield each
        yield from _alternatives([branch for branch in each.get("anyOf", ()) if isinstance(branch, dict)])


def _step(outer: dict[str, Any], step: Step) -> Iterator[dict[str, Any]]:
    if isinstance(step, int):
        inner = outer.get("items")
    else:
        inner = outer.get("properties", {}).get(step, outer.get("additionalProperties"))
    if isinstance(inner, dict):
        yield inner
