"""Writes a container type as a person would: one key a line, short lists in one line, comments where to choose."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from stockade.model.names import CAPABILITIES

_HEAD = """\
# yaml-language-server: $schema=../../compiler/stockade/source/schemas/container.schema.json
# The system calls are those of an imported profile. What it does not say is to be chosen: look for `choose`.
container: {name}
why: Imported from a seccomp profile.  # choose: what this type is for, and whom it trusts
selinux:
  process: container_t  # choose: the label of the processes, or `domain` for one of its own
  files: data_t  # choose: the label of the container's files
  level: pair  # choose: pair, all or none
"""
_TAIL = """\
namespaces:  # choose: which are the container's own
  new: [mount, pid, network, ipc, uts, cgroup]
  user: optional
root: read-only  # choose: read-only or writable
no-new-privileges: true  # choose: false only where a set-uid program must gain rights
"""
_WIDTH = 118


def container_text(
    name: str,
    archs: Sequence[str],
    caps: Collection[str],
    syscalls: dict[str, Any],
    sockets: tuple[str | list[str], list[dict[str, Any]]],
) -> str:
    """The file of a container type; `syscalls` and `sockets` as `Importer` gives them."""
    families, denials = sockets
    lines = [_HEAD.format(name=name).rstrip("\n")]
    if len(archs) == 1:
        lines.append(f"architectures: [{archs[0]}]")
    lines.append("# choose: what the program needs; the profile was read for a container that has these")
    lines += _list("capabilities", sorted(caps, key=lambda cap: CAPABILITIES[cap]), "")
    lines += syscall_lines(syscalls, denials)
    lines += socket_lines(families)
    return "\n".join(lines) + "\n" + _TAIL


def syscall_lines(syscalls: dict[str, Any], denials: list[dict[str, Any]]) -> list[str]:
    """The lines of `syscalls`, with what `deny` has to say of sockets."""
    allow = syscalls["allow"]
    lines = ["syscalls:", *(["  allow: all"] if allow == "all" else _list("allow", allow, "  "))]
    for key, entries in (("allow-when", syscalls.get("allow-when", [])), ("deny", [*syscalls["deny"], *denials])):
        if entries:
            lines.append(f"  {key}:")
            lines += [line for entry in entries for line in _entry(entry)]
    return lines + [f"  {key}: {syscalls[key]}" for key in ("denied", "unknown")]


def socket_lines(families: str | list[str]) -> list[str]:
    """The lines of `sockets`."""
    lines = ["sockets:  # choose: fewer families, and why"]
    lines += ["  families: all"] if families == "all" else _list("families", families, "  ")
    return [*lines, "  why: as in the imported profile"]


def _entry(entry: dict[str, Any]) -> Iterable[str]:
    flow = "{" + ", ".join(f"{key}: {_flow(value)}" for key, value in entry.items()) + "}"
    if len(flow) + 6 <= _WIDTH:
        return [f"    - {flow}"]
    lines = []
    for at, (key, value) in enumerate(entry.items()):
        lead = "    - " if at == 0 else "      "
        if isinstance(value, list):
            lines += [lead + line.lstrip() for line in _list(key, value, "      ")][:1]
            lines += _list(key, value, "      ")[1:]
        else:
            lines.append(f"{lead}{key}: {_flow(value)}")
    return lines


def _list(key: str, values: Sequence[Any], indent: str) -> list[str]:
    words = ", ".join(_flow(value) for value in values)
    if len(indent) + len(key) + len(words) + 4 <= _WIDTH:
        return [f"{indent}{key}: [{words}]"]
    wrapped = textwrap.wrap(words, _WIDTH - len(indent) - 2, break_long_words=False, break_on_hyphens=False)
    return [f"{indent}{key}: [", *(f"{indent}  {line}" for line in wrapped), f"{indent}]"]


def _flow(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_flow(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, int):
        return f"{value:#x}" if value > 9 else str(value)
    return f'"{value}"' if value.startswith("@") else str(value)
