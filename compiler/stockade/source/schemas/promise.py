"""The schemas of the documents of `promises/` and of `actions/`."""

from __future__ import annotations

from typing import Final

from stockade.model.action import Abi, Aim, Categories, Layer, Reach, Use
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
            **ACCESS_KEYS,
            "what": SET,
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
                "pattern": "^[1-8] layers?$",
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


def _kinds() -> list[Schema]:
    """What an action may need of a layer: the first key that is required says what it is."""
    target = closed(
        [],
        {
            **ACCESS_KEYS,
            "target": SET,
            "own-files": {"const": True, "description": "the container's own files, with its categories"},
            "categories": enum(Categories),
        },
    )
    target["anyOf"] = [{"required": ["may"]}, {"required": ["access"]}]
    target["oneOf"] = [
        {"title": "`target`", "required": ["target"], "not": {"required": ["own-files"]}},
        {"title": "`own-files`", "required": ["own-files"], "not": {"required": ["target"]}},
    ]
    arguments = {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": either({"type": "integer"}, text("a constant by name")),
        "description": "the arguments of the call, by name; those left out are 0",
    }
    number = {"type": "integer", "minimum": 0}
    access = {"type": "string", "pattern": "^(?=.)r?w?m?$", "description": "some of rwm, in this order"}
    device = closed(
        ["type", "major", "minor", "access"],
        {"type": enum(["c", "b"]), "major": number, "minor": number, "access": access},
    )
    return [
        closed(
            ["syscall"],
            {"syscall": one_or_more(name("any one of these calls")), "with": arguments, "abi": enum(Abi)},
        ),
        closed(
            ["capability"],
            {"capability": one_or_more(enum(CAPABILITIES), "any one of these"), "of": enum(["initial", "own"])},
        ),
        closed(["every-capability"], {"every-capability": {"const": True}}),
        closed(["selinux"], {"selinux": target}),
        closed(["host-namespace"], {"host-namespace": enum(NAMESPACES)}),
        closed(["device"], {"device": device}),
        closed(["writable-path"], {"writable-path": path()}),
        closed(["readable-path"], {"readable-path": path()}),
        closed(["mount-allows"], {"mount-allows": closed(["path", "use"], {"path": path(), "use": enum(Use)})}),
        closed(["host-path"], {"host-path": closed(["path", "reach"], {"path": path(), "reach": enum(Reach)})}),
        closed(["new-privileges"], {"new-privileges": {"const": True}}),
        closed(["no-limit"], {"no-limit": text("a cgroup v2 file")}),
    ]


NEEDS: Final[dict[str, Schema]] = {kind["required"][0]: kind for kind in _kinds()}
"""Each need by the key that says which it is."""


def _needs() -> Schema:
    """What an action needs: a list of needs, or of choices among such lists."""
    said = f"what it needs of a layer: {', '.join(Layer)}"
    simple = NEEDS.values()
    several_needs = {"type": "array", "items": either(*simple, description=said), "minItems": 1}
    choice = {"type": "array", "items": several_needs, "minItems": 1, "description": "any one of these lists of needs"}
    need = either(*simple, closed(["any"], {"any": choice}), description=said)
    return {"type": "array", "items": need, "minItems": 1, "description": "every one of these"}


def expectation() -> Schema:
    """A document of `expectations/`."""
    question = text("a question as `stockade can` takes it: an action, VERB:OBJECT, a capability, a system call")
    schema = closed(
        ["expect", "why", "who"],
        {
            "expect": text("the expectation's name: lower case words joined by dashes", pattern=NAME),
            "why": WHY,
            "who": one_or_more(name("a container type or a subject")),
            "level": text("level and categories of the objects, as in s0:c3,c4; s0 when left out"),
            "may": several(question),
            "may-not": several(question),
        },
        "what is expected of the policy",
    )
    schema["anyOf"] = [{"required": ["may"]}, {"required": ["may-not"]}]
    return schema


def action() -> Schema:
    """A document of `actions/`."""
    return closed(
        ["action", "why", "aim", "seen-in", "needs", "try"],
        {
            "action": text("the action's name: lower case words joined by dashes", pattern=NAME),
            "why": WHY,
            "aim": {**enum(Aim), "description": "whom it is aimed at"},
            "seen-in": several(text("where it was seen: a CVE, a paper, a guide")),
            "needs": _needs(),
            "try": closed(
                ["does"],
                {
                    "does": text("how the probe of this name tries it"),
                    "reached": several(
                        text("an error by name"), "errors that the kernel finds only after every permission"
                    ),
                    "absent": {
                        "type": "object",
                        "minProperties": 1,
                        "additionalProperties": WHY,
                        "description": "errors of a kernel that has no such thing, with the reason",
                    },
                    "unasked": {
                        **WHY,
                        "description": "why nothing follows from what a user-mode kernel answers",
                    },
                },
            ),
        },
        "something a container might try",
    )
