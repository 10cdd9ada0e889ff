"""The JSON Schemas (2020-12) of every kind of policy file, generated from the model's own tables.

`python -m stockade.source.schemas` writes them to the folder `schemas` beside this module, from where the loader and
editors read them; a test holds the written files against what is generated here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stockade.model.action import Layer
from stockade.model.classes import CLASSES
from stockade.model.container import Level, UserNamespace
from stockade.model.host import Creates, LabelFrom
from stockade.model.names import CAPABILITIES, CAPABILITY_SETS, CGROUP_FILES, FAMILIES, NAMESPACES, RLIMITS
from stockade.model.syscalls import NATIVE

Schema = dict[str, Any]

NAME = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
LABEL = r"^[a-z][a-z0-9_]*_t$"
PATH = r"^/([^/\s]+(/[^/\s]+)*)?$"
SIZE = r"^[0-9]+(\.[0-9]+)?(B|KiB|MiB|GiB|TiB|KB|MB|GB|TB)?$"
RESERVED = ["self", "subjects", "objects", "everything"]

_WHY: Schema = {
    "type": "string",
    "minLength": 1,
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


def path(description: str = "an absolute path without a trailing slash") -> Schema:
    """An absolute path."""
    return {"type": "string", "pattern": PATH, "description": description}


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
    words = "lower case words joined by dashes" if pattern == NAME else description
    return {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": pattern, "not": {"enum": RESERVED}, "description": words},
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


_TERMS = one_or_more(name("a subject, an object, a set, `self`, `subjects`, `objects` or `everything`"))
_SET = either(
    *_TERMS["anyOf"],
    closed(
        ["except"],
        {"of": _TERMS, "except": _TERMS},
        "all of `of` but those named; left out, `of` is everything fitting",
    ),
    description="a set expression",
)
_CLASS_OR_GROUP: Schema = {
    "pattern": r"^(@[a-z][a-z0-9-]*|[a-z][a-z0-9_]*)$",
    "description": "a class, or a group as @name",
}
_ACCESS: Schema = {
    "type": "object",
    "minProperties": 1,
    "propertyNames": _CLASS_OR_GROUP,
    "additionalProperties": either(several(name("a permission of the class")), {"const": "all"}),
    "description": "SELinux classes, or groups as @name, with their permissions, where no verb says it",
}
_ACCESS_KEYS: Schema = {"may": one_or_more(name("a verb")), "access": _ACCESS}


def statement(required: list[str], properties: Schema) -> Schema:
    """A mapping with `may` or `access`, `why`, and these keys."""
    schema = closed([*required, "why"], {**properties, **_ACCESS_KEYS, "why": _WHY})
    schema["anyOf"] = [{"required": ["may"]}, {"required": ["access"]}]
    return schema


def host() -> Schema:
    """A file of `host/`: any of these keys, each possibly spread over several files."""
    subject = closed(
        ["label", "why"],
        {"label": label("the SELinux type of the process"), "aliases": several(label("another name")), "why": _WHY},
    )
    where = one_or_more(path())
    thing = closed(
        ["label", "why"],
        {
            "label": label("the SELinux type of the files"),
            "aliases": several(label("another name")),
            "at": {**where, "description": "folders or files labelled with all that is below them; `*` within a name"},
            "programs": {**where, "description": "single regular files"},
            "mounts": {**where, "description": "mount points; what is below them belongs to what is mounted there"},
            "context-mounts": {
                **where,
                "description": "mount points of file systems that are mounted with this as context=",
            },
            "default": {"const": True, "description": "what no other object claims in the image is this"},
            "why": _WHY,
        },
    )
    verb = closed(
        ["on", "why"],
        {
            "on": {
                "type": "object",
                "minProperties": 1,
                "propertyNames": _CLASS_OR_GROUP,
                "additionalProperties": either(
                    several(name("a permission")),
                    {"const": "all"},
                    closed(["except"], {"except": several(name("a permission"))}),
                ),
            },
            "why": _WHY,
        },
    )
    rule = statement(
        ["who", "what"],
        {
            "who": _SET,
            "what": _SET,
            "within": {
                **enum(["capabilities", "sockets"]),
                "description": "narrowed, for each container domain, to what its container types list",
            },
        },
    )
    transition = closed(
        ["who", "becomes", "why"],
        {
            "who": name("the subject that acts"),
            "runs": one_or_more(name("the object whose program it executes")),
            "creates": enum([c for c in Creates if c is not Creates.PROCESS]),
            "in": name("the object it creates in"),
            "named": one_or_more(text("only a file of this name")),
            "becomes": name("the label of what appears"),
            "level": enum(["all", "none"]),
            "why": _WHY,
        },
    )
    transition["oneOf"] = [
        {"required": ["runs"], "not": {"anyOf": [{"required": ["in"]}, {"required": ["creates"]}]}},
        {"required": ["creates", "in"], "not": {"anyOf": [{"required": ["runs"]}, {"required": ["level"]}]}},
    ]
    leaf = either(
        enum(["dominates", "same-context"]),
        closed(["who"], {"who": _SET}),
        closed(["what"], {"what": _SET}),
        description="a test",
    )
    constraint = statement([], {"any-of": several(leaf), "relabelling": several(name("a class or @group"))})
    constraint["required"] = ["any-of", "why"]
    constraint["anyOf"].append({"required": ["relabelling"]})
    filesystem = closed(
        ["types", "labels-from", "label", "why"],
        {
            "types": several(text("a file system type as in /proc/filesystems", pattern=r"^[a-z0-9_]+$")),
            "labels-from": enum(LabelFrom),
            "label": name("the object that the file system itself is"),
            "why": _WHY,
        },
    )
    return closed(
        [],
        {
            "policy": closed(
                ["name", "version", "why", "categories", "capabilities", "default-container"],
                {
                    "name": text("the policy's name", pattern=NAME),
                    "version": text("the policy's version; quote it"),
                    "categories": {"type": "integer", "minimum": 2, "maximum": 1024},
                    "default-container": name("the type of a container for which none is named"),
                    "capabilities": several(text("a policy capability of the SELinux kernel interface")),
                    "why": _WHY,
                },
            ),
            "groups": named(
                closed(["classes", "why"], {"classes": several(enum(sorted(CLASSES))), "why": _WHY}), "groups"
            ),
            "subjects": named(subject, "kinds of process"),
            "objects": named(thing, "kinds of file and other passive things"),
            "sets": named(closed(["members", "why"], {"members": _SET, "why": _WHY}), "named sets"),
            "verbs": named(verb, "words for permissions"),
            "rules": {"type": "array", "items": rule, "minItems": 1},
            "quiet": {"type": "array", "items": statement(["who", "what"], {"who": _SET, "what": _SET}), "minItems": 1},
            "transitions": {"type": "array", "items": transition, "minItems": 1},
            "constraints": {"type": "array", "items": constraint, "minItems": 1},
            "filesystems": {"type": "array", "items": filesystem, "minItems": 1},
            "initial": named(name("the subject or object it is"), "the kernel's initial SIDs", r"^[a-z_]+$"),
        },
        "part of the host's policy",
    )


def container() -> Schema:
    """A file of `containers/` that describes one container type."""
    capability_list = either(possibly_none(enum(CAPABILITIES)), {"const": "all"})
    condition = either(
        {"type": "integer"},
        text("a constant by name, or a number"),
        several(either({"type": "integer"}, text("a constant by name"))),
        closed(["none-of"], {"none-of": several(either({"type": "integer"}, text("a flag")))}),
        closed(["all-of"], {"all-of": several(either({"type": "integer"}, text("a flag")))}),
        closed(["not"], {"not": one_or_more(either({"type": "integer"}, text("a constant")))}),
        closed(["from", "to"], {"from": {"type": "integer"}, "to": {"type": "integer"}}),
        closed(["mask", "is"], {"mask": {"type": "integer"}, "is": {"type": "integer"}}),
        description="a condition on an argument",
    )
    conditional: Schema = {
        "type": "object",
        "properties": {"call": one_or_more(name("a system call")), "errno": name("the error number"), "why": _WHY},
        "required": ["call", "why"],
        "additionalProperties": condition,
    }
    call = text("a system call, or a group as @name")
    size = either(
        {"type": "integer", "minimum": 0}, {"type": "string", "pattern": SIZE, "description": "a size such as 512MiB"}
    )
    cgroup_value = either(
        {"type": "integer", "minimum": 0}, text("a size, a share of a CPU such as 50%, a list, or max")
    )
    limit = either({"type": "integer", "minimum": 0}, text("a size, or unlimited"))
    mount = closed(
        ["source", "to", "why"],
        {"source": path(), "to": path(), "options": several(text("a mount option")), "why": _WHY},
    )
    device = closed(
        ["path", "type", "access", "why"],
        {
            "path": path(),
            "type": enum(["c", "b"]),
            "major": {"type": "integer", "minimum": 0},
            "minor": {"type": "integer", "minimum": 0},
            "access": {
                "type": "string",
                "pattern": "^r?w?m?$",
                "minLength": 1,
                "description": "some of rwm, in this order",
            },
            "why": _WHY,
        },
    )
    return closed(
        ["container", "why"],
        {
            "container": text("the type's name", pattern=NAME),
            "why": _WHY,
            "extends": name("the type this one narrows"),
            "widens": named(_WHY, "keys in which this type may be wider than the one it extends, with the reason"),
            "selinux": closed(
                [],
                {
                    "process": label("an existing type that the processes get"),
                    "domain": label("a type of this container type's own, declared here"),
                    "files": label("the type of the container's files"),
                    "level": enum(Level),
                    "may-not": {
                        "type": "array",
                        "items": statement(["what"], {"what": _SET}),
                        "description": "what the parent's processes may and these may not",
                    },
                },
            ),
            "architectures": several(enum(NATIVE)),
            "capabilities": either(
                *capability_list["anyOf"],
                closed(list(CAPABILITY_SETS), dict.fromkeys(CAPABILITY_SETS, capability_list)),
                description="one list for bounding, effective and permitted, or all five sets",
            ),
            "syscalls": closed(
                [],
                {
                    "allow": either(possibly_none(call), {"const": "all"}),
                    "allow-when": {"type": "array", "items": conditional},
                    "deny": {"type": "array", "items": conditional},
                    "unknown": name("the errno of a call that is newer than what is known"),
                    "denied": name("the errno of a known call that no rule allows"),
                },
            ),
            "sockets": closed(
                ["families", "why"], {"families": either(possibly_none(enum(FAMILIES)), {"const": "all"}), "why": _WHY}
            ),
            "namespaces": closed(
                [],
                {
                    "new": possibly_none(enum(n for n in NAMESPACES if n != "user")),
                    "host": possibly_none(enum(n for n in NAMESPACES if n != "user")),
                    "user": enum(UserNamespace),
                },
            ),
            "cgroup": {
                "type": "object",
                "propertyNames": {"enum": sorted(CGROUP_FILES)},
                "additionalProperties": cgroup_value,
            },
            "root": enum(["read-only", "writable"]),
            "tmpfs": possibly_none(either(path(), closed(["path", "size"], {"path": path(), "size": size}))),
            "mounts": {"type": "array", "items": mount},
            "mask": either({"const": "none"}, one_or_more(text("a path, or @kernel-interfaces"))),
            "read-only": either({"const": "none"}, one_or_more(text("a path, or @kernel-settings"))),
            "no-new-privileges": {"type": "boolean"},
            "rlimits": {
                "type": "object",
                "propertyNames": {"enum": sorted(RLIMITS)},
                "additionalProperties": either(
                    *limit["anyOf"], closed(["soft", "hard"], {"soft": limit, "hard": limit})
                ),
            },
            "devices": either(
                {"const": "all"},
                {"const": "@standard"},
                {"type": "array", "items": either({"const": "@standard"}, device)},
            ),
            "sysctls": {
                "type": "object",
                "propertyNames": {
                    "pattern": r"^[a-z0-9_]+(\.[A-Za-z0-9_-]+)+$",
                    "description": "a setting such as net.core.somaxconn",
                },
                "additionalProperties": either({"type": "integer"}, text("a value")),
            },
        },
        "a container type",
    )


def groups() -> Schema:
    """A file of `containers/` that names groups of system calls."""
    group = closed(["syscalls", "why"], {"syscalls": several(name("a system call")), "why": _WHY})
    return closed(["groups"], {"groups": named(group, "groups of system calls")}, "groups of system calls")


def promise() -> Schema:
    """A document of `promises/`."""
    excused = named(_WHY, "subjects or container types the promise does not speak of, with the reason")
    body = closed(
        [],
        {
            "who": _SET,
            "what": _SET,
            **_ACCESS_KEYS,
            "container": one_or_more(name("a container type")),
            "action": one_or_more(name("an action")),
        },
    )
    schema = closed(
        ["promise", "why"],
        {
            "promise": text("the promise's name", pattern=NAME),
            "why": _WHY,
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


def action() -> Schema:
    """A document of `actions/`."""
    need = either(
        closed(["syscall"], {"syscall": one_or_more(name("any one of these calls")), "with": {"type": "object"}}),
        closed(["capability"], {"capability": one_or_more(enum(CAPABILITIES), "any one of these")}),
        closed(["selinux"], {"selinux": closed(["target"], {**_ACCESS_KEYS, "target": _SET})}),
        closed(["host-namespace"], {"host-namespace": enum(NAMESPACES)}),
        closed(
            ["device"],
            {
                "device": closed(
                    ["type", "major", "minor", "access"],
                    {
                        "type": enum(["c", "b"]),
                        "major": {"type": "integer"},
                        "minor": {"type": "integer"},
                        "access": {"type": "string", "pattern": "^r?w?m?$", "minLength": 1},
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
            "action": text("the action's name", pattern=NAME),
            "why": _WHY,
            "seen-in": several(text("where it was seen: a CVE, a paper, a guide")),
            "needs": {"type": "array", "items": need, "minItems": 1, "description": "every one of these"},
        },
        "something a container might try",
    )


KINDS = {"host": host, "container": container, "groups": groups, "promise": promise, "action": action}


def generated() -> dict[str, str]:
    """File name -> content of every schema."""
    result = {}
    for kind, build in KINDS.items():
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"stockade:{kind}", **build()}
        result[f"{kind}.schema.json"] = json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    return result


if __name__ == "__main__":
    folder = Path(__file__).parent / "schemas"
    folder.mkdir(exist_ok=True)
    for filename, content in generated().items():
        (folder / filename).write_text(content, "utf-8")
