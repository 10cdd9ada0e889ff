"""Holds a located document against the JSON Schema of its kind and says what is wrong in words, with the place."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from stockade.model.position import Position
from stockade.source.diagnostics import Diagnostics, nearest
from stockade.source.yaml import Map, Seq

SCHEMAS = Path(__file__).parent / "schemas"
_TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "nothing",
}


@cache
def validator(kind: str) -> Draft202012Validator:
    """The validator for one kind of file: host, container, groups, promise or action."""
    return Draft202012Validator(json.loads((SCHEMAS / f"{kind}.schema.json").read_text("utf-8")))


def check_shape(kind: str, document: Map, report: Diagnostics) -> list[tuple[str | int, ...]]:
    """Note every way in which a document departs from its schema; returns the paths of the faulty values."""
    paths: list[tuple[str | int, ...]] = []
    for error in validator(kind).iter_errors(document):
        _explain(error, document, report)
        paths.append(tuple(error.absolute_path))
    return paths


def place(document: Any, path: Iterable[str | int]) -> Position:
    """Where the value at a path was written."""
    node: Any = document
    at: Position = document.at
    for step in path:
        if isinstance(node, Map):
            at = node.values_at.get(str(step), node.at)
        elif isinstance(node, Seq) and isinstance(step, int):
            at = node.items_at[step]
        node = node[step]
    return at


def _explain(error: Any, document: Map, report: Diagnostics) -> None:
    at = place(document, error.absolute_path)
    instance: Any = error.instance
    match error.validator:
        case "additionalProperties" | "unevaluatedProperties":
            known = list(error.schema.get("properties", {}))
            for key in instance:
                if key not in known:
                    report.error(instance.keys_at[key], f"unknown key `{key}`", nearest(key, known))
        case "propertyNames":
            key = str(instance)
            parent: Any = document
            for step in error.absolute_path:
                parent = parent[step]
            known = error.schema.get("enum", [])
            message = f"unknown name `{key}`" if known else f"`{key}` is not a name: {_pattern_words(error)}"
            report.error(parent.keys_at.get(key, at), message, nearest(key, known))
        case "required":
            for key in error.validator_value:
                if key not in instance:
                    report.error(at, f"missing key `{key}`", _described(error.schema, key))
        case "type":
            wanted = error.validator_value
            words = " or ".join(_TYPES[t] for t in ([wanted] if isinstance(wanted, str) else wanted))
            report.error(at, f"expected {words}, found {_found(instance)}")
        case "enum":
            report.error(
                at, f"unknown value `{_shown(instance)}`", nearest(str(instance), map(str, error.validator_value))
            )
        case "const":
            report.error(at, f"expected `{error.validator_value}`, found `{_shown(instance)}`")
        case "pattern":
            report.error(at, f"`{instance}` is not in the right form: {_pattern_words(error)}")
        case "minLength" | "minItems" | "minProperties":
            report.error(at, "must not be empty")
        case "minimum" | "maximum":
            word = "at least" if error.validator == "minimum" else "at most"
            report.error(at, f"{instance} is out of range: {word} {error.validator_value}")
        case "uniqueItems":
            for index, item in enumerate(instance):
                if item in instance[:index]:
                    report.error(instance.items_at[index], f"`{_shown(item)}` is listed twice")
        case "anyOf" | "oneOf":
            _explain_choice(error, at, document, report)
        case "dependentRequired":
            report.error(at, f"keys that belong together: {error.message}")
        case "not" | "if" | "then" | "else":
            report.error(at, str(error.schema.get("description", error.message)))
        case _:
            report.error(at, error.message)


def _explain_choice(error: Any, at: Position, document: Map, report: Diagnostics) -> None:
    """Of several allowed forms, explain the one the author most likely meant: the one whose outer type fits."""
    branches: dict[int, list[Any]] = {}
    for inner in error.context or []:
        branches.setdefault(int(inner.relative_schema_path[0]), []).append(inner)
    fitting = [b for b in branches.values() if not any(e.validator == "type" and not e.relative_path for e in b)]
    chosen = sorted(fitting, key=lambda b: (len(b), -max(len(e.absolute_path) for e in b)))
    if not chosen:
        forms = [str(s.get("title", _TYPES.get(str(s.get("type")), "a value"))) for s in error.validator_value]
        report.error(at, f"expected {' or '.join(dict.fromkeys(forms))}, found {_found(error.instance)}")
    elif not any(e.validator not in ("const", "enum") for b in chosen for e in b) and len(chosen) > 1:
        known = [v for b in chosen for e in b for v in _values(e)]
        report.error(at, f"unknown value `{_shown(error.instance)}`", nearest(str(error.instance), map(str, known)))
    else:
        for inner in chosen[0]:
            _explain(inner, document, report)


def _values(error: Any) -> list[Any]:
    value = error.validator_value
    return list(value) if error.validator == "enum" else [value]


def _pattern_words(error: Any) -> str:
    return str(error.schema.get("description", f"must match {error.validator_value}"))


def _described(schema: Any, key: str) -> str:
    described = schema.get("properties", {}).get(key, {}).get("description", "")
    return f"`{key}`: {described}" if described else ""


def _found(instance: Any) -> str:
    if instance is None:
        return "nothing"
    if isinstance(instance, bool):
        return f"`{str(instance).lower()}`"
    if isinstance(instance, dict):
        return "a mapping"
    if isinstance(instance, list):
        return "a list"
    return f"`{_shown(instance)}`"


def _shown(instance: Any) -> str:
    text = str(instance).lower() if isinstance(instance, bool) else str(instance)
    return text if len(text) <= 60 else f"{text[:57]}..."
