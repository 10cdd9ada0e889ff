"""Tests whether a document fits its JSON Schema, quickly: the schema becomes one Python function.

It knows the keywords that our schemas use and refuses to compile any other. It answers yes or no; what is wrong, and
whether anything is, is for `jsonschema` to say, which is asked only after a no: a yes here must never be wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Fits = Callable[[Any], bool]

_TYPES: dict[str, Fits] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: type(value) is str,
    "integer": lambda value: type(value) is int,
    "boolean": lambda value: type(value) is bool,
}
_ANNOTATIONS = {"$schema", "$id", "description", "title"}


def compiled(schema: dict[str, Any]) -> Fits:
    """The test that a schema is; KeyError for a keyword that is not known here."""
    tests = [_TYPES[schema["type"]]] if "type" in schema else []
    tests += [_KEYWORDS[key](schema[key], schema) for key in sorted(schema.keys() - _ANNOTATIONS - {"type"})]
    if len(tests) == 1:
        return tests[0]
    return lambda value: all(test(value) for test in tests)


def _enum(values: list[Any], _: Any) -> Fits:
    allowed = frozenset(value for value in values if type(value) is str)
    return lambda value: type(value) is str and value in allowed


def _const(wanted: Any, _: Any) -> Fits:
    return lambda value: type(value) is type(wanted) and value == wanted


def _pattern(pattern: str, _: Any) -> Fits:
    search = re.compile(pattern).search
    return lambda value: not isinstance(value, str) or search(value) is not None


def _properties(properties: dict[str, Any], _: Any) -> Fits:
    tests = {key: compiled(schema) for key, schema in properties.items()}
    return lambda value: (
        not isinstance(value, dict) or all(tests[key](item) for key, item in value.items() if key in tests)
    )


def _additional(schema: Any, whole: dict[str, Any]) -> Fits:
    known = whole.get("properties", {}).keys()
    test = compiled(schema) if isinstance(schema, dict) else lambda _: bool(schema)
    return lambda value: (
        not isinstance(value, dict) or all(test(item) for key, item in value.items() if key not in known)
    )


def _names(schema: dict[str, Any], _: Any) -> Fits:
    test = compiled(schema)
    return lambda value: not isinstance(value, dict) or all(map(test, value))


def _items(schema: dict[str, Any], _: Any) -> Fits:
    test = compiled(schema)
    return lambda value: not isinstance(value, list) or all(map(test, value))


def _unique(wanted: bool, _: Any) -> Fits:
    def test(value: Any) -> bool:
        if not isinstance(value, list):
            return True
        if any(isinstance(item, dict | list) for item in value):
            return all(item not in value[:index] for index, item in enumerate(value))
        return len(set(value)) == len(value)

    return test if wanted else lambda _: True


def _any(schemas: list[dict[str, Any]], _: Any) -> Fits:
    tests = [compiled(schema) for schema in schemas]
    return lambda value: any(test(value) for test in tests)


def _one(schemas: list[dict[str, Any]], _: Any) -> Fits:
    tests = [compiled(schema) for schema in schemas]
    return lambda value: sum(test(value) for test in tests) == 1


def _not(schema: dict[str, Any], _: Any) -> Fits:
    test = compiled(schema)
    return lambda value: not test(value)


def _at_least(kinds: Any) -> Callable[[int, Any], Fits]:
    return lambda least, _: lambda value: not isinstance(value, kinds) or len(value) >= least


_KEYWORDS: dict[str, Callable[[Any, Any], Fits]] = {
    "enum": _enum,
    "const": _const,
    "pattern": _pattern,
    "properties": _properties,
    "additionalProperties": _additional,
    "propertyNames": _names,
    "required": lambda keys, _: lambda value: not isinstance(value, dict) or all(key in value for key in keys),
    "items": _items,
    "uniqueItems": _unique,
    "anyOf": _any,
    "oneOf": _one,
    "not": _not,
    "minLength": _at_least(str),
    "minItems": _at_least(list),
    "minProperties": _at_least(dict),
    "minimum": lambda least, _: lambda value: not isinstance(value, int) or value >= least,
    "maximum": lambda most, _: lambda value: not isinstance(value, int) or value <= most,
}
