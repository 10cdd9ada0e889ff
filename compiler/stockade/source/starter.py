"""A policy to start from: the shipped host under a name of one's own, with a first container type and what is expected.

The schemas go along into a folder that is no part of the policy, so that an editor finds them wherever the policy is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from stockade.source.diagnostics import Diagnostics
from stockade.source.files import SourceFile
from stockade.source.yaml import Map, read_documents

SCHEMAS = ".schemas"
"""The folder of a policy for its schemas; names that begin with a dot are not read as policy."""

_CHECKOUT = "$schema=../../compiler/stockade/source/schemas/"
_HEAD = "# yaml-language-server: $schema=../" + SCHEMAS + "/{}.schema.json\n"


@dataclass(frozen=True, slots=True)
class First:
    """The first container type of one's own. What is None is the parent's."""

    name: str
    why: str
    extends: str
    capabilities: tuple[str, ...] = ()
    families: tuple[str, ...] | None = None
    memory: str | None = None
    pids: int | None = None


def named(files: Iterable[SourceFile], name: str) -> list[SourceFile]:
    """A policy's files under another name, at version 0.1, with schemas beside them."""
    found = []
    for file in files:
        text = file.data.decode("utf-8").replace(_CHECKOUT, f"$schema=../{SCHEMAS}/")
        for document in read_documents(file.name, text.encode(), Diagnostics()):
            header = document.get("policy") if file.name.startswith("host/") else None
            if isinstance(header, Map):
                text = _with(text, header, "name", name)
                text = _with(text, header, "version", '"0.1"')
        found.append(SourceFile(file.name, text.encode()))
    return found


def _with(text: str, body: Map, key: str, value: str) -> str:
    """A text with another value behind a key, which stands on a line of its own."""
    at = body.values_at[key]
    lines = text.split("\n")
    lines[at.line - 1] = lines[at.line - 1][: at.column - 1] + value
    return "\n".join(lines)


def first_files(first: First) -> list[SourceFile]:
    """The files of a container type and of what is expected of it."""
    return [
        SourceFile(f"containers/{first.name}.yaml", _type(first).encode()),
        SourceFile(f"expectations/{first.name}.yaml", _expectation(first).encode()),
    ]


def _type(first: First) -> str:
    lines = [_HEAD.format("container") + f"container: {first.name}", f"extends: {first.extends}"]
    lines.append(f"why: {json.dumps(first.why, ensure_ascii=False)}")
    lines.append(f"selinux: {{domain: {first.name.replace('-', '_')}_t}}")
    lines.append(f"capabilities: [{', '.join(first.capabilities)}]")
    if first.families is not None:
        lines.append(f"sockets: {{families: [{', '.join(first.families)}], why: what it speaks with others}}")
    cgroup = {"memory.max": first.memory, "pids.max": first.pids}
    limits = [f"{file}: {value}" for file, value in cgroup.items() if value is not None]
    if limits:
        lines.append(f"cgroup: {{{', '.join(limits)}}}")
    return "\n".join(lines) + "\n"


def _expectation(first: First) -> str:
    families = [f'"socket(family={family.upper()})"' for family in first.families or () if family in ("inet", "unix")]
    may = ["read", "write", *first.capabilities, *families]
    kept = [f'"{asked}"' for asked in ("modify:cache", "modify:private")]
    return (
        f"{_HEAD.format('expectation')}"
        f"# `stockade test` asks these of every change.\n"
        f"expect: {first.name}-does-its-work\n"
        f"why: What it is for, and what it never needs.\n"
        f"who: {first.name}\n"
        f"may: [{', '.join(may)}]\n"
        f"may-not: [{', '.join(kept)}]\n"
    )
