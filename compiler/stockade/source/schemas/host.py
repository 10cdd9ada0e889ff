"""The schema of a file of `host/`."""

from __future__ import annotations

from stockade.model.classes import CLASSES
from stockade.model.host import Creates, LabelFrom
from stockade.model.names import FILE_SYSTEMS
from stockade.source.schemas.parts import (
    CLASS_OR_GROUP,
    GLOB,
    NAME,
    SET,
    WHY,
    Schema,
    closed,
    either,
    enum,
    label,
    name,
    named,
    one_or_more,
    path,
    several,
    statement,
    text,
)

POLICY_CAPABILITIES = (
    "always_check_network cgroup_seclabel extended_socket_class genfs_seclabel_symlinks ioctl_skip_cloexec "
    "network_peer_controls nnp_nosuid_transition open_perms"
).split()
"""The capabilities that a policy can declare, as the kernel and libsepol name them."""


def host() -> Schema:
    """A file of `host/`: any of these keys, each possibly spread over several files."""
    subject = closed(
        ["label", "why"],
        {"label": label("the SELinux type of the process"), "aliases": several(label("another name")), "why": WHY},
    )
    where = one_or_more(path(GLOB))
    thing = closed(
        ["label", "why"],
        {
            "label": label("the SELinux type of the files"),
            "aliases": several(label("another name")),
            "context-mounts": {
                **where,
                "description": "mount points of file systems that are mounted with this as context=",
            },
            "mounts": {**where, "description": "mount points; what is below them belongs to what is mounted there"},
            "at": {**where, "description": "folders or files labelled with all that is below them; `*` within a name"},
            "programs": {**where, "description": "single regular files"},
            "default": {"const": True, "description": "what no other object claims in the image is this"},
            "why": WHY,
        },
    )
    verb = closed(
        ["on", "why"],
        {
            "on": {
                "type": "object",
                "minProperties": 1,
                "propertyNames": CLASS_OR_GROUP,
                "additionalProperties": either(
                    several(name("a permission")),
                    {"const": "all"},
                    closed(["except"], {"except": several(name("a permission"))}),
                ),
            },
            "why": WHY,
        },
    )
    rule = statement(
        ["who", "what"],
        {
            "who": SET,
            "within": {
                **enum(["capabilities", "sockets"]),
                "description": "narrowed, for each container domain, to what its container types list",
            },
            "what": SET,
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
            "why": WHY,
        },
    )
    transition["oneOf"] = [
        {
            "title": "`runs`, perhaps with `level`,",
            "required": ["runs"],
            "not": {"anyOf": [{"required": ["in"]}, {"required": ["creates"]}, {"required": ["named"]}]},
        },
        {
            "title": "`creates` and `in`, perhaps with `named`",
            "required": ["creates", "in"],
            "not": {"anyOf": [{"required": ["runs"]}, {"required": ["level"]}]},
        },
    ]
    leaf = either(
        enum(["dominates", "same-context"]),
        closed(["who"], {"who": SET}),
        closed(["what"], {"what": SET}),
        description="a test",
    )
    constraint = statement([], {"any-of": several(leaf), "relabelling": several(name("a class or @group"))})
    constraint["required"] = ["any-of", "why"]
    constraint["anyOf"].append({"required": ["relabelling"]})
    filesystem = closed(
        ["types", "labels-from", "label", "why"],
        {
            "types": several(enum(sorted(FILE_SYSTEMS))),
            "labels-from": enum(LabelFrom),
            "label": name("the object that the file system itself is"),
            "why": WHY,
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
                    "why": WHY,
                    "default-container": name("the type of a container for which none is named"),
                    "guards": {
                        "const": "derived",
                        "description": "whatever no rule gives is promised away, by a derived guard if by nothing else",
                    },
                    "categories": {"type": "integer", "minimum": 2, "maximum": 1024},
                    "capabilities": several(enum(POLICY_CAPABILITIES)),
                },
            ),
            "groups": named(
                closed(["classes", "why"], {"classes": several(enum(sorted(CLASSES))), "why": WHY}), "groups"
            ),
            "subjects": named(subject, "kinds of process"),
            "objects": named(thing, "kinds of file and other passive things"),
            "sets": named(closed(["members", "why"], {"members": SET, "why": WHY}), "named sets"),
            "verbs": named(verb, "words for permissions"),
            "rules": {"type": "array", "items": rule, "minItems": 1},
            "quiet": {"type": "array", "items": statement(["who", "what"], {"who": SET, "what": SET}), "minItems": 1},
            "transitions": {"type": "array", "items": transition, "minItems": 1},
            "constraints": {"type": "array", "items": constraint, "minItems": 1},
            "filesystems": {"type": "array", "items": filesystem, "minItems": 1},
            "initial": named(name("the subject or object it is"), "the kernel's initial SIDs", r"^[a-z_]+$"),
        },
        "part of the host's policy",
    )
