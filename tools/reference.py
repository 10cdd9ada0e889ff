"""Writes the reference of the policy language from the schemas that the loader reads: `tools/reference.py FILE`.

A test compares the page with what this writes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stockade.source.schemas import KINDS

HEAD = """# The language, key by key

Generated from the schemas (`make reference`), in the order in which [`stockade fmt`](writing.md) writes keys.
[The language](language.md), [container types](containers.md) and [promises and actions](promises.md) say what the keys
mean; here is what may stand behind each. A key in **bold** must be there.
"""

TITLES = {
    "host": "Files of `host/`",
    "container": "Files of `containers/`: a type",
    "groups": "Files of `containers/`: groups of system calls",
    "promise": "Files of `promises/`: a promise",
    "waiver": "Files of `promises/`: a waiver",
    "action": "Files of `actions/`",
    "expectation": "Files of `expectations/`",
}
LONG = 14
"""More words than this are counted and not listed."""


def page() -> str:
    """The whole page."""
    lines = [HEAD]
    for kind, build in KINDS.items():
        lines.append(f"## {TITLES[kind]}\n")
        for place, schema in _mappings(build(), ""):
            if place:
                lines.append(f"`{place}`:\n")
            lines += ["| key | value |", "|---|---|", *_rows(schema), ""]
    return "\n".join(lines).rstrip() + "\n"


def _rows(schema: dict[str, Any]) -> Iterator[str]:
    required = schema.get("required", ())
    for key, value in schema["properties"].items():
        shown = f"**`{key}`**" if key in required else f"`{key}`"
        yield f"| {shown} | {_said(value)} |"
    if isinstance(other := schema.get("additionalProperties"), dict):
        yield f"| any other | {_said(other)} |"


def _said(value: dict[str, Any]) -> str:
    """What a value is, in words."""
    if value.get("description") == "a set expression":
        return "[a set expression](language.md#set-expressions)"
    form = _form(value)
    description = value.get("description", "")
    said = f"{description}: {form}" if description and not description.startswith(form) else form
    return said.replace("|", "\\|")


def _form(value: dict[str, Any]) -> str:
    if "const" in value:
        return f"`{str(value['const']).lower()}`" if isinstance(value["const"], bool) else f"`{value['const']}`"
    if "enum" in value:
        words = [f"`{word}`" for word in value["enum"]]
        return ", ".join(words) if len(words) <= LONG else f"one of {len(words)} words, {words[0]} to {words[-1]}"
    branches = value.get("anyOf", ())
    if len(branches) == 2 and branches[1].get("items") == branches[0]:
        return f"{_form(branches[0])}, or a list of these"
    if branches and "properties" not in value:
        return " or ".join(dict.fromkeys(_form(branch) for branch in value["anyOf"]))
    match value.get("type"):
        case "array":
            return f"list of: {_said(value['items'])}"
        case "object" if "properties" in value:
            return "mapping with " + ", ".join(f"`{key}`" for key in value["properties"])
        case "object":
            names = value.get("propertyNames", {})
            keys = _form(names) if "enum" in names else names.get("description") or "name"
            return f"mapping, {keys}: {_said(value.get('additionalProperties', {}))}"
        case "integer":
            bounds = [f"{word} {value[key]}" for key, word in (("minimum", "from"), ("maximum", "to")) if key in value]
            return " ".join(["whole number", *bounds])
        case "boolean":
            return "`true` or `false`"
        case _:
            return str(value.get("description") or "text").partition(" without a slash at its end")[0]


def _mappings(schema: dict[str, Any], place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, schema) of every mapping with keys of its own that is worth a table: more than two keys."""
    if len(schema.get("properties", ())) > 2 or (not place and "properties" in schema):
        yield place, schema
    for key, value in schema.get("properties", {}).items():
        yield from _mappings(value, f"{place}.{key}" if place else key)
    for branch in schema.get("anyOf", ()):
        if "properties" in branch or "items" in branch:
            yield from _mappings(branch, place)
    if isinstance(items := schema.get("items"), dict):
        yield from _mappings(items, f"{place}[]")
    if isinstance(other := schema.get("additionalProperties"), dict) and "properties" not in schema:
        yield from _mappings(other, f"{place}.*")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print("usage: tools/reference.py FILE", file=sys.stderr)
        sys.exit(2)
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
