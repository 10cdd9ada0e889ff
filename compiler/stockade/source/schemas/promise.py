"""The schemas of the documents of `promises/` and of `actions/`."""

from __future__ import annotations

from stockade.model.action import Layer
from stockade.model.names import CAPABILITIES, NAMESPACES
from stockade.source.schemas.parts import (
    ACCESS_KEYS,
    NAME,
    SET,
    WHY,
    Schema,
    closed,
    either,
    enum,
    name,
    named,
    one_or_more,
    path,
    several,
    statement,
    text,
)


def promise() -> Schema:
    """A document of `promises/`."""
    excused = named(WHY, "subjects or container types the promise does not speak of, with the reason")
    body = closed(
        [],
        {
            "who": SET,
            "what": SET,
            **ACCESS_KEYS,
            "container": one_or_more(name("a container type")),
            "action": one_or_more(name("an action")),
        },
    )
    schema = closed(
        ["promise", "why"],
        {
            "promise": text("the promise's name: lower case words joined by dashes", pattern=NAME),
            "why": WHY,
            "never": {**body, "description": "those who never may"},
            "only": {**body, "description": "those who alone may; nobody else ever does"},
            "at-least": {
                "type": "string",
                "pattern": "^[1-6] layers?$",
                "description": "how many layers must each stop it, as in 2 layers",
            },
            "silent-on": excused,
        },
        "a promise",
    )
    schema["oneOf"] = [
        {"title": "`never`", "required": ["never"], "not": {"required": ["only"]}},
        {"title": "`only`", "required": ["only"], "not": {"required": ["never"]}},
    ]
    return schema


def waiver() -> Schema:
    """A document of `promises/` that begins with `open`."""
    return {
        **statement(
            ["open", "who", "what"],
            {
                "open": text("the waiver's name: lower case words joined by dashes", pattern=NAME),
                "who": SET,
                "what": SET,
            },
        ),
        "description": "what no rule gives and no promise forbids, on purpose",
    }


def action() -> Schema:
    """A document of `actions/`."""
    target = closed(["target"], {**ACCESS_KEYS, "target": SET})
    target["anyOf"] = [{"required": ["may"]}, {"required": ["access"]}]
    arguments = {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": either({"type": "integer"}, text("a constant by name")),
        "description": "the arguments of the call, by name; those left out are 0",
    }
    need = either(
        closed(["syscall"], {"syscall": one_or_more(name("any one of these calls")), "with": arguments}),
        closed(["capability"], {"capability": one_or_more(enum(CAPABILITIES), "any one of these")}),
        closed(["selinux"], {"selinux": target}),
        closed(["host-namespace"], {"host-namespace": enum(NAMESPACES)}),
        closed(
            ["device"],
            {
                "device": closed(
                    ["type", "major", "minor", "access"],
                    {
                        "type": enum(["c", "b"]),
                        "major": {"type": "integer", "minimum": 0},
                        "minor": {"type": "integer", "minimum": 0},
                        "access": {
                            "type": "string",
                            "pattern": "^(?=.)r?w?m?$",
                            "description": "some of rwm, in this order",
                        },
                    },
                )
            },
        ),
        closed(["writable-path"], {"writable-path": path()}),
        description=f"what it needs of a layer: {', '.join(Layer)}",
    )
    return closed(
        ["action", "why", "seen-in", "needs"],
        {
            "action": text("the action's name: lower case words joined by dashes", pattern=NAME),
            "why": WHY,
            "seen-in": several(text("where it was seen: a CVE, a paper, a guide")),
            "needs": {"type": "array", "items": need, "minItems": 1, "description": "every one of these"},
        },
        "something a container might try",
    )
