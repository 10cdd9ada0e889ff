"""The written schemas are those generated, valid by their own standard; the quick test agrees with jsonschema."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from stockade.source.diagnostics import Diagnostics
from stockade.source.fits import compiled
from stockade.source.schemas import KINDS, generated
from stockade.source.shape import SCHEMAS, quick, schema, validator
from stockade.source.yaml import read_documents

from tests.source import policies

FIRST_LINE = re.compile(r"# yaml-language-server: \$schema=(\S+)\Z")


def kind_of(name: str, document: dict[str, Any]) -> str:
    if name.startswith("containers/"):
        return "groups" if "groups" in document else "container"
    if "open" in document:
        return "waiver"
    kinds = {"host": "host", "actions": "action", "promises": "promise", "expectations": "expectation"}
    return kinds[name.split("/")[0]]


def documents() -> list[tuple[str, dict[str, Any]]]:
    waiver = b"open: later\nwhy: not yet\nwho: [a, b]\nmay: read\nwhat: {of: objects, except: c}\n"
    found = [("waiver", document) for document in read_documents("promises/open.yaml", waiver, Diagnostics())]
    for folder in (policies.SHIPPED, policies.BASE):
        for name, data in policies.files_of(folder).items():
            report = Diagnostics()
            found += [(kind_of(name, document), document) for document in read_documents(name, data, report)]
            assert report.found == []
    return found


DOCUMENTS = documents()


def test_the_written_schemas_are_the_generated_ones() -> None:
    assert {path.name: path.read_text("utf-8") for path in SCHEMAS.glob("*.json")} == generated()


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_is_a_schema(kind: str) -> None:
    assert schema(kind)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema(kind))


def test_every_shipped_file_names_its_schema(shipped: policies.Files) -> None:
    assert shipped
    for name, data in shipped.items():
        match = FIRST_LINE.match(data.decode().splitlines()[0])
        assert match, name
        path = (policies.SHIPPED / name).parent / match[1]
        assert path.resolve().parent == SCHEMAS, name
        (document, *_) = read_documents(name, data, Diagnostics())
        assert path.name == f"{kind_of(name, document)}.schema.json", name
        assert path.is_file(), name


def test_every_kind_is_among_the_documents() -> None:
    assert {kind for kind, _ in DOCUMENTS} == set(KINDS)


@pytest.mark.parametrize(("kind", "document"), DOCUMENTS)
def test_the_quick_test_takes_what_is_right(kind: str, document: dict[str, Any]) -> None:
    assert quick(kind)(document)
    assert validator(kind).is_valid(document)


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 5000)
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["all", "@standard", "self", "/a/b", "512MiB", "x_t", "why"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["why", "x", "except", "of"]), inner),
    max_leaves=5,
)


def steps(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(found for key, value in inner for found in steps(value, (*path, key)))]


def replaced(node: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = dict(node) if isinstance(node, dict) else list(node)
    copy[path[0]] = replaced(node[path[0]], path[1:], value)
    return copy


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_the_quick_test_agrees_with_jsonschema(data: st.DataObject) -> None:
    kind, document = data.draw(st.sampled_from(DOCUMENTS))
    path = data.draw(st.sampled_from(steps(document)))
    changed = replaced(document, path, data.draw(VALUES))
    if quick(kind)(changed):
        assert validator(kind).is_valid(changed)
    elif not any(isinstance(changed_at(changed, p), float) for p in steps(changed)):
        assert not validator(kind).is_valid(changed)


def changed_at(node: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        node = node[step]
    return node


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ({"type": "integer"}, True),
        ({"const": True}, 1),
        ({"const": 1}, True),
        ({"enum": ["a"]}, ["a"]),
        ({"type": "array", "uniqueItems": True}, [{"a": 1}, {"a": 1}]),
        ({"type": "object", "additionalProperties": False}, {"a": 1}),
        ({"type": "object", "required": ["a"]}, {}),
        ({"type": "object", "propertyNames": {"pattern": "^a"}}, {"b": 1}),
        ({"oneOf": [{"type": "string"}, {"minLength": 1}]}, "a"),
        ({"not": {"type": "string"}}, "a"),
        ({"minProperties": 1}, {}),
        ({"type": "integer", "maximum": 3}, 4),
        ({"type": "integer", "minimum": 3}, 2),
    ],
)
def test_the_quick_test_refuses(rule: dict[str, Any], value: Any) -> None:
    assert not compiled(rule)(value)
    assert not Draft202012Validator(rule).is_valid(value)


def test_an_unknown_keyword_is_not_passed_over() -> None:
    with pytest.raises(KeyError):
        compiled({"type": "object", "dependentRequired": {"a": ["b"]}})


@pytest.mark.parametrize("value", ["aa", 7, None, {"a": 1}])
def test_what_is_asked_of_a_list_is_not_asked_of_anything_else(value: object) -> None:
    assert compiled({"uniqueItems": True, "items": {"type": "string"}})(value)
