"""What the schemas of all kinds of file are made of: names, lists, closed mappings, set expressions, access."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

NAME = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
LABEL = r"^[a-z][a-z0-9_]*_t$"
PATH = r"^/([A-Za-z0-9._@+,:=%~-]+(/[A-Za-z0-9._@+,:=%~-]+)*)?$"
GLOB = PATH.replace("%~-", "%~*-")
SIZE = r"^[0-9]+(\.[0-9]+)?(B|KiB|MiB|GiB|TiB|KB|MB|GB|TB)?$"
RESERVED = ["self", "subjects", "objects", "everything"]

WHY: Schema = {
    "type": "string",
    "pattern": r"\S",
    "description": "the reason, in a sentence; it is carried into what is compiled",
}


def text(description: str, **more: Any) -> Schema:
    """A string that is not empty."""
    return {"type": "string", "minLength": 1, "description": description, **more}


def name(description: str) -> Schema:
    """A name: lower case words joined by dashes."""
    return {"type": "string", "description": description}


def label(description: str) -> Schema:
    """An SELinux type."""
    return {"type": "string", "pattern": LABEL, "description": f"{description}; lower case, ending in _t"}


def path(pattern: str = PATH) -> Schema:
    """An absolute path."""
    words = "an absolute path without a slash at its end, of letters, digits and ._@+,:=%~-"
    return {"type": "string", "pattern": pattern, "description": words if pattern == PATH else f"{words}*"}


def several(item: Schema, description: str = "") -> Schema:
    """A list without repetition, not empty."""
    return {"type": "array", "items": item, "minItems": 1, "uniqueItems": True, "description": description}


def possibly_none(item: Schema, description: str = "") -> Schema:
    """A list without repetition that may be empty."""
    return {"type": "array", "items": item, "uniqueItems": True, "description": description}


def closed(required: list[str], properties: Schema, description: str = "") -> Schema:
    """A mapping with these keys and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
        "description": description,
    }


def named(value: Schema, description: str, pattern: str = NAME) -> Schema:
    """A mapping from names to values."""
    words = "lower case words joined by dashes" if pattern == NAME else "lower case letters and `_`"
    return {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"type": "string", "pattern": pattern, "not": {"enum": RESERVED}, "description": words},
        "additionalProperties": value,
        "description": description,
    }


def either(*branches: Schema, description: str = "") -> Schema:
    """One of several forms."""
    return {"anyOf": list(branches), "description": description}


def one_or_more(item: Schema, description: str = "") -> Schema:
    """One value, or a list of them."""
    return either(item, several(item), description=description)


def enum(values: Any) -> Schema:
    """One of these words."""
    return {"type": "string", "enum": [str(v) for v in values]}


TERMS = one_or_more(name("a subject, an object, a set, `self`, `subjects`, `objects` or `everything`"))
SET = either(
    *TERMS["anyOf"],
    closed(
        ["except"],
        {"of": TERMS, "except": TERMS},
        "all of `of` but those named; left out, `of` is everything fitting",
    ),
    description="a set expression",
)
CLASS_OR_GROUP: Schema = {
    "type": "string",
    "pattern": r"^(@[a-z][a-z0-9-]*|[a-z][a-z0-9_]*)$",
    "description": "a class, or a group as @name",
}
ACCESS: Schema = {
    "type": "object",
    "minProperties": 1,
    "propertyNames": CLASS_OR_GROUP,
    "additionalProperties": either(several(name("a permission of the class")), {"const": "all"}),
    "description": "SELinux classes, or groups as @name, with their permissions, where no verb says it",
}
ACCESS_KEYS: Schema = {"may": one_or_more(name("a verb")), "access": ACCESS}


def statement(required: list[str], properties: Schema) -> Schema:
    """A mapping with `may` or `access`, `why`, and these keys."""
    lead: Schema = {key: properties[key] for key in ("open", "who", "relabelling") if key in properties}
    schema = closed([*required, "why"], {**lead, **ACCESS_KEYS, **properties, "why": WHY})
    schema["anyOf"] = [{"required": ["may"]}, {"required": ["access"]}]
    return schema
