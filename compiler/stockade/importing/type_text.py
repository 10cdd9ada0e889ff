"""Writes a container type that was imported: what it has beyond the type it extends, with comments where to choose."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

ORDER = (
    "container extends why widens selinux architectures capabilities syscalls sockets namespaces cgroup root tmpfs "
    "mounts mask read-only no-new-privileges rlimits devices sysctls"
).split()
SCHEMA = "# yaml-language-server: $schema=../../compiler/stockade/source/schemas/container.schema.json"
_SAFE = re.compile(r"[A-Za-z_/][\w./+-]*\Z|[0-9]+[A-Za-z]+\Z|[0-9]+ [0-9]+\Z")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
_WIDTH = 118


def type_text(
    body: Mapping[str, Any], comments: Mapping[str, str], head: list[str], raw: Mapping[str, list[str]]
) -> str:
    """The file of a container type; `head` are comments before it, `raw` the lines of keys that are written already."""
    lines = [SCHEMA, *(f"# {line}" for line in head)]
    for key in ORDER:
        if key in comments:
            lines.append(f"# choose: {key}: {comments[key]}")
        if key in raw:
            lines += raw[key]
        elif key in body:
            lines += _entry(key, body[key])
    return "\n".join(lines) + "\n"


def _entry(key: str, value: Any) -> list[str]:
    flow = f"{key}: {spell(value)}"
    if not isinstance(value, (list, dict)) or (len(flow) <= _WIDTH and not _nested(value)):
        return [flow]
    if isinstance(value, dict):
        return [f"{key}:", *(f"  {name}: {spell(item)}" for name, item in value.items())]
    return [f"{key}:", *(f"  - {spell(item)}" for item in value)]


def _nested(value: Any) -> bool:
    items = value.values() if isinstance(value, dict) else value
    return len(value) > 1 and any(isinstance(item, dict) for item in items)


def spell(value: Any) -> str:
    """A value in the flow style of YAML; what might mean something else unquoted is quoted."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(spell(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {spell(item)}" for key, item in value.items()) + "}"
    if isinstance(value, int):
        return str(value)
    words = str(value).split(" ")
    safe = all(_SAFE.match(word) for word in words) or _SAFE.match(str(value))
    return str(value) if safe and str(value).lower() not in _WORDS else json.dumps(str(value))
