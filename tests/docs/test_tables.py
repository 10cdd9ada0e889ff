"""The manual's tables list exactly the keys of the JSON Schemas, and name every word that a key may have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from stockade.model.classes import CLASSES
from stockade.model.names import CAPABILITIES, FAMILIES, FILE_SYSTEMS
from stockade.source.documents import FOLDERS

from .pages import ROOT, key_tables

SCHEMAS = sorted((ROOT / "compiler/stockade/source/schemas").glob("*.schema.json"))
PAGES = [ROOT / "docs" / name for name in ("language.md", "containers.md", "promises.md")]
SET = frozenset(["of", "except"])
WRITTEN = "".join(page.read_text() for page in PAGES)
TABLES = [(page.name, places, keys) for page in PAGES for places, keys in key_tables(page.read_text())]


def places_of(schema: dict[str, Any], place: str) -> Iterator[tuple[str, frozenset[str]]]:
    """(place, keys) of every mapping in a schema; a place may come several times, with the keys of each form."""
    properties = schema.get("properties", {})
    if properties:
        yield ("set" if frozenset(properties) == SET else place), frozenset(properties)
    for key, value in properties.items():
        yield from places_of(value, f"{place}.{key}")
    for part in [*schema.get("anyOf", ()), *schema.get("oneOf", ())]:
        yield from places_of(part, place)
    for keyword in ("items", "additionalProperties"):
        if isinstance(part := schema.get(keyword), dict):
            yield from places_of(part, f"{place}.*" if properties else place)


def gathered() -> dict[str, frozenset[str]]:
    """Place -> all keys that a mapping there may have."""
    found: dict[str, frozenset[str]] = {}
    for path in SCHEMAS:
        for place, keys in places_of(json.loads(path.read_text()), path.name.split(".")[0]):
            found[place] = found.get(place, frozenset()) | keys
    return found


KEYS = gathered()


def words_of(schema: Any) -> Iterator[tuple[str, ...]]:
    """Every list of words, and every single word, that a value in a schema may be."""
    if isinstance(schema, dict):
        if isinstance(words := schema.get("enum"), list):
            yield tuple(words)
        if isinstance(word := schema.get("const"), str):
            yield (word,)
        for key, part in schema.items():
            if key != "not":
                yield from words_of(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from words_of(part)


def test_every_place_of_the_schemas_has_a_table() -> None:
    assert {place for _, places, _ in TABLES for place in places} == KEYS.keys()


@pytest.mark.parametrize(("page", "places", "keys"), TABLES, ids=[f"{page}-{places[0]}" for page, places, _ in TABLES])
def test_a_table_lists_the_keys_of_its_places(page: str, places: tuple[str, ...], keys: frozenset[str]) -> None:
    wanted = frozenset[str]().union(*(KEYS[place] for place in places))
    named = {name for name in keys if re.fullmatch("[a-z-]+", name)}
    assert (sorted(wanted - keys), sorted(named - wanted)) == ([], []), f"{page}: left out, and not there"


def test_every_word_that_a_key_may_have_is_named() -> None:
    long = {tuple(CLASSES), tuple(CAPABILITIES), tuple(FAMILIES), tuple(FILE_SYSTEMS)}
    words = {words for path in SCHEMAS for words in words_of(json.loads(path.read_text()))}
    short = [one for one in words if not any(set(one) <= set(names) for names in long)]
    assert len(short) > 10
    assert sorted({word for one in short for word in one if f"`{word}`" not in WRITTEN}) == []


def test_every_folder_is_named() -> None:
    assert [folder for folder in FOLDERS if f"`{folder}/`" not in WRITTEN] == []
