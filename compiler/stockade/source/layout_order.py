"""In which order the keys of a policy file stand: that of the tables which its schema is made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from stockade.source.documents import kind_of
from stockade.source.schemas import KINDS
from stockade.source.yaml import Map


@dataclass(frozen=True, slots=True)
class Place:
    """What the schema says of a value: the forms that it may have."""

    forms: tuple[dict[str, Any], ...]

    def among(self, keys: Sequence[str]) -> Place:
        """The form of a mapping that knows the most of its keys."""
        known = [form for form in self.forms if "properties" in form]
        return Place((max(known, key=lambda form: len(form["properties"].keys() & set(keys))),)) if known else self

    def rank(self, key: str) -> float:
        """Where a key stands among those of its mapping; names that are no keys stand after the first key."""
        for form in self.forms:
            if "properties" in form:
                keys = list(form["properties"])
                return keys.index(key) if key in keys else 0.5
        return 0.5

    def below(self, key: str) -> Place:
        """The value behind a key."""
        inner = (form.get("properties", {}).get(key, form.get("additionalProperties")) for form in self.forms)
        return Place(tuple(each for form in inner if isinstance(form, dict) for each in _alternatives(form)))

    def item(self) -> Place:
        """The items of a list."""
        inner = (form["items"] for form in self.forms if isinstance(form.get("items"), dict))
        return Place(tuple(each for form in inner for each in _alternatives(form)))


def of_document(file: str, document: Map) -> Place:
    """A document of a file, which is named from the policy folder."""
    kind = kind_of(file, document)
    return Place(_forms(kind)) if kind else Place(())


@cache
def _forms(kind: str) -> tuple[dict[str, Any], ...]:
    return tuple(_alternatives(KINDS[kind]()))


def _alternatives(form: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield form
    for branch in form.get("anyOf", ()):
        if "required" not in branch or "properties" in branch:
            yield from _alternatives(branch)
