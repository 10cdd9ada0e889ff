"""Holds a located document against the JSON Schema of its kind and says what is wrong in words, with the place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stockade.model.position import Position
from stockade.source.diagnostics import Diagnostics, nearest
from stockade.source.fits import Fits, compiled
from stockade.source.yaml import Map, Seq

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

NOT_BLANK = r"\S"
SCHEMAS = Path(__file__).parent / "schemas"
_TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "boolean": "true or false",
}


Fault = tuple[str | int, ...]
"""The path to what is wrong: keys and indices from the top of the document."""


@cache
def schema(kind: str) -> dict[str, Any]:
    """The schema of one kind of file: host, container, groups, promise or action."""
    loaded: dict[str, Any] = json.loads((SCHEMAS / f"{kind}.schema.json").read_text("utf-8"))
    return loaded


@cache
def quick(kind: str) -> Fits:
    """The quick test for one kind of file."""
    return compiled(schema(kind))


@cache
def validator(kind: str) -> Draft202012Validator:
    """The validator for one kind of file; importing it takes longer than testing a whole policy that has no fault."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator(schema(kind))


def check_shape(kind: str, document: Map, report: Diagnostics) -> list[Fault]:
    """Note every way in which a document departs from its schema; returns the paths of the faulty values."""
    if quick(kind)(document):
        return []
    return [fault for error in validator(kind).iter_errors(document) for fault in _explain(error, document, report)]


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


def _explain(error: Any, document: Map, report: Diagnostics) -> Iterator[Fault]:
    path = tuple(error.absolute_path)
    at = place(document, path)
    instance: Any = error.instance
    if "propertyNames" in error.relative_schema_path:
        yield (*path, instance)
        _explain_name(error, _at(document, path), report)
        return
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        for key in instance:
            if key not in known:
                yield (*path, key)
                report.error(instance.keys_at[key], f"unknown key `{key}`", nearest(key, known))
        return
    if error.validator == "anyOf":
        yield from _explain_choice(error, at, document, report)
        return
    yield path
    match error.validator:
        case "required":
            key = next(key for key in error.validator_value if error.message.startswith(repr(key)))
            report.error(at, f"missing key `{key}`", _described(error.schema, key))
        case "type":
            words = _TYPES[error.validator_value]
            values = error.schema.get("enum")
            hint = nearest(str(instance), values) if values else str(error.schema.get("description", ""))
            report.error(at, f"expected {words}, found {_found(instance)}", hint)
        case "enum" if isinstance(instance, str):
            known = list(map(str, error.validator_value))
            report.error(at, f"unknown value {_found(instance)}", nearest(str(instance), known))
        case "const":
            report.error(at, f"expected `{_shown(error.validator_value)}`, found {_found(instance)}")
        case "pattern" if error.validator_value == NOT_BLANK:
            report.error(at, "must not be empty")
        case "pattern":
            report.error(at, f"`{_shown(instance)}` is not in the right form: {_pattern_words(error)}")
        case "not":
            report.error(at, f"`{_shown(instance)}` has a meaning of its own; choose another name")
        case "minLength" | "minItems" | "minProperties":
            report.error(at, "must not be empty")
        case "minimum" | "maximum" if isinstance(instance, int):
            word = "at least" if error.validator == "minimum" else "at most"
            report.error(at, f"{_shown(instance)} is out of range: {word} {error.validator_value}")
        case "uniqueItems":
            for index, item in enumerate(instance):
                if item in instance[:index]:
                    report.error(instance.items_at[index], f"{_found(item)} is listed twice")
        case "oneOf":
            forms = " or ".join(str(s["title"]) for s in error.validator_value)
            report.error(at, f"expected either {forms}, and not both")
        case "enum" | "minimum" | "maximum":
            pass  # of the wrong type, which is said already
        case _:
            report.error(at, str(error.message))


def _explain_name(error: Any, parent: Map, report: Diagnostics) -> None:
    key, at = str(error.instance), parent.keys_at[error.instance]
    if error.validator == "enum":
        report.error(at, f"unknown key `{key}`", nearest(key, error.validator_value))
    elif error.validator == "not":
        report.error(at, f"`{key}` has a meaning of its own; choose another name")
    else:
        report.error(at, f"`{_shown(key)}` is not in the right form: {_pattern_words(error)}")


def _explain_choice(error: Any, at: Position, document: Map, report: Diagnostics) -> Iterator[Fault]:
    """Of several allowed forms, explain the one the author most likely meant: the one whose outer type fits."""
    schemas, instance = error.validator_value, error.instance
    branches: dict[int, list[Any]] = {index: [] for index in range(len(schemas))}
    for inner in error.context:
        branches[int(inner.relative_schema_path[0])].append(inner)
    outer = {index: [e.validator for e in found if not e.relative_path] for index, found in branches.items()}
    fitting = [index for index, found in outer.items() if not {"type", "const", "enum"} & set(found)]
    if isinstance(instance, Map) and all(found == ["required"] for found in outer.values()):
        yield tuple(error.absolute_path)
        keys = [f"`{key}`" for s in schemas for key in s["required"]]
        report.error(at, f"missing key {' or '.join(keys)}")
        return
    if isinstance(instance, Map) and fitting:
        given = {index: instance.keys() & schemas[index].get("properties", {}).keys() for index in fitting}
        if instance and not any(given.values()):
            known = [key for index in fitting for key in schemas[index].get("properties", {})]
            yield tuple(error.absolute_path)
            for key in instance:
                report.error(instance.keys_at[key], f"unknown key `{key}`", nearest(key, known))
            return
        fitting = [index for index in fitting if len(given[index]) == max(map(len, given.values()))]
    if fitting:
        best = min(fitting, key=lambda index: (len(branches[index]), index))
        for inner in branches[best]:
            yield from _explain(inner, document, report)
        return
    yield tuple(error.absolute_path)
    words = [str(v) for s in schemas for v in (s.get("enum") or [s["const"]] if {"enum", "const"} & s.keys() else [])]
    if isinstance(instance, str) and len(words) > 3:
        report.error(at, f"unknown value {_found(instance)}", nearest(instance, words))
        return
    forms = [_TYPES[s["type"]] for s in schemas if "type" in s and "enum" not in s]
    hint = nearest(str(instance), words) if isinstance(instance, str) else ""
    hint = hint if hint.startswith("did you mean") else ""
    forms += [f"`{word}`" for word in words] if len(words) < 4 else ["a known word"]
    report.error(at, f"expected {' or '.join(dict.fromkeys(forms))}, found {_found(instance)}", hint)


def _at(document: Map, path: Iterable[str | int]) -> Any:
    node: Any = document
    for step in path:
        node = node[step]
    return node


def _pattern_words(error: Any) -> str:
    return str(error.schema.get("description", f"must match {error.validator_value}"))


def _described(schema: Any, key: str) -> str:
    described = schema.get("properties", {}).get(key, {}).get("description", "")
    return f"`{key}`: {described}" if described else ""


def _found(instance: Any) -> str:
    if instance is None:
        return "nothing"
    if isinstance(instance, dict):
        return "a mapping"
    if isinstance(instance, list):
        return "a list"
    if isinstance(instance, int | float) and not isinstance(instance, bool):
        return f"the number {_shown(instance)}"
    return f"`{_shown(instance)}`"


def _shown(instance: Any) -> str:
    text = str(instance).lower() if isinstance(instance, bool) else str(instance)
    return text if len(text) <= 60 else f"{text[:57]}..."
