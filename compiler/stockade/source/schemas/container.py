"""The schemas of a file of `containers/`: one container type, or groups of system calls."""

from __future__ import annotations

from stockade.model.container import Level, UserNamespace
from stockade.model.names import CAPABILITIES, CAPABILITY_SETS, CGROUP_FILES, FAMILIES, NAMESPACES, RLIMITS
from stockade.model.syscalls import NATIVE
from stockade.source.schemas.parts import (
    NAME,
    PATH,
    RESERVED,
    SET,
    SIZE,
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
    possibly_none,
    several,
    statement,
    text,
)


def _path_or(group: str) -> Schema:
    description = f"an absolute path without a slash at its end, or {group}"
    return {"type": "string", "pattern": f"^{group}$|{PATH}", "description": description}


WIDENS = (
    "capabilities syscalls sockets namespaces cgroup root tmpfs mounts mask read-only no-new-privileges rlimits "
    "devices sysctls selinux"
).split()
"""The keys in which a type may be wider than the one it extends."""


def container() -> Schema:
    """A file of `containers/` that describes one container type."""
    capability_list = either(possibly_none(enum(CAPABILITIES)), {"const": "all"})
    condition = either(
        {"type": "integer"},
        text("a constant by name"),
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
        "properties": {
            "call": one_or_more(name("a system call, or a group as @name")),
            "errno": name("the error number"),
            "action": name("what else than an error: log when allowed; trace, notify, trap or a kill when denied"),
            "why": WHY,
        },
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
        {"source": path(), "to": path(), "options": several(text("a mount option")), "why": WHY},
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
                "pattern": "^(?=.)r?w?m?$",
                "description": "some of rwm, in this order",
            },
            "why": WHY,
        },
    )
    return closed(
        ["container", "why"],
        {
            "container": text(
                "the type's name: lower case words joined by dashes",
                pattern=NAME,
                **{"not": {"enum": [*RESERVED, "all"]}},
            ),
            "extends": name("the type this one narrows"),
            "why": WHY,
            "widens": {
                "type": "object",
                "minProperties": 1,
                "propertyNames": enum(WIDENS),
                "additionalProperties": WHY,
                "description": "keys in which this type may be wider than the one it extends, with the reason",
            },
            "mode": {
                **enum(["enforce", "complain", "record"]),
                "description": "`complain`: SELinux and seccomp log what they would refuse, and let it pass; `record`: "
                "they log everything",
            },
            "selinux": closed(
                [],
                {
                    "process": label("an existing type that the processes get"),
                    "domain": label("a type of this container type's own, declared here"),
                    "files": label("the type of the container's files"),
                    "level": enum(Level),
                    "may-not": {
                        "type": "array",
                        "items": statement(["what"], {"what": SET}),
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
                    "kernel": text("the kernel whose calls are known, such as 6.1; quote it"),
                    "listener": path(),
                    "unknown": name("the errno of a call that is newer than what is known"),
                    "denied": name("the errno of a known call that no rule allows"),
                },
            ),
            "sockets": closed(
                ["families", "why"], {"families": either(possibly_none(enum(FAMILIES)), {"const": "all"}), "why": WHY}
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
                "propertyNames": enum(sorted(CGROUP_FILES)),
                "additionalProperties": cgroup_value,
            },
            "root": enum(["read-only", "writable"]),
            "tmpfs": possibly_none(either(path(), closed(["path", "size"], {"path": path(), "size": size}))),
            "mounts": {"type": "array", "items": mount},
            "mask": either({"const": "none"}, one_or_more(_path_or("@kernel-interfaces"))),
            "read-only": either({"const": "none"}, one_or_more(_path_or("@kernel-settings"))),
            "no-new-privileges": {"type": "boolean"},
            "rlimits": {
                "type": "object",
                "propertyNames": enum(sorted(RLIMITS)),
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
                    "type": "string",
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
    group = closed(["syscalls", "why"], {"why": WHY, "syscalls": several(name("a system call"))})
    return closed(["groups"], {"groups": named(group, "groups of system calls")}, "groups of system calls")
