"""What is known of a container before it is a container type: keys of the language, what to choose, what was lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stockade.model.names import CAPABILITIES, KERNEL_INTERFACES, KERNEL_SETTINGS

RUNTIMES_OWN = {
    "/proc": "proc",
    "/sys": "sysfs",
    "/sys/fs/cgroup": "cgroup",
    "/dev": "tmpfs",
    "/dev/pts": "devpts",
    "/dev/shm": "tmpfs",
    "/dev/mqueue": "mqueue",
}
"""Where every runtime mounts a file system of its own, and which kind."""

ENGINES_FILES = frozenset(["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/.containerenv", "/run/secrets"])
"""What an engine writes for each container and mounts into it."""

PER_CONTAINER = ("/var/lib/kubelet/pods/", "/var/lib/containerd/", "/run/containerd/", "/var/lib/docker/containers/")
"""Folders of the host with one part for each container: no path in them belongs to a type."""


class ImportFault(ValueError):
    """What was read is not what it claims to be; the message begins with the path in the document."""


@dataclass(slots=True)
class Draft:
    """`body` has keys and values as the language writes them; `comments` by key says what a person must choose.

    `added` are the capabilities that somebody asked for, as against what an engine gives unasked. `notes` are lines
    for the person who imports: `narrowed:`, `not expressed:`, `left to ...:`. `uses` is what can be seen of a
    privileged container's use of its privileges. `seccomp` is the container's own profile, None for an engine's.
    """

    name: str = ""
    body: dict[str, Any] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    added: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    uses: list[str] = field(default_factory=list)
    seccomp: Mapping[str, Any] | None = None

    def note(self, line: str) -> None:
        """Add a note, once."""
        if line not in self.notes:
            self.notes.append(line)


def member(body: Mapping[str, Any], path: str, key: str, kind: type | tuple[type, ...], default: Any) -> Any:
    """`body[key]`, the default where it is missing or null. ImportFault where it is of another kind."""
    value = body.get(key)
    if value is None:
        return default
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise ImportFault(f"{path}.{key}: expected {' or '.join(one.__name__ for one in kinds)}, got {value!r}"[:300])
    return value


def texts(body: Mapping[str, Any], path: str, key: str) -> list[str]:
    """A list of strings, empty where it is missing or null."""
    found = member(body, path, key, list, [])
    for at, item in enumerate(found):
        if not isinstance(item, str):
            raise ImportFault(f"{path}.{key}[{at}]: expected str, got {item!r}"[:300])
    return list(found)


def capability(word: str, path: str) -> str:
    """A capability as the language has it. ImportFault where the kernel has none of that name."""
    name = word.upper().removeprefix("CAP_")
    if name not in CAPABILITIES:
        raise ImportFault(f"{path}: unknown capability {word!r}")
    return name


def listed(names: Iterable[str]) -> list[str] | str:
    """Capabilities as the language lists them."""
    found = sorted(names)
    return "all" if set(found) == set(CAPABILITIES) else found


def size(number: int) -> int | str:
    """Bytes as a person writes them, where that is exact."""
    for unit, shift in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if number and not number % (1 << shift):
            return f"{number >> shift}{unit}"
    return number


def hidden(draft: Draft, key: str, group: str, paths: list[str] | None) -> None:
    """`mask` or `read-only`: the group and what there is beside it; without the group, the group is added and noted."""
    members = KERNEL_INTERFACES if key == "mask" else KERNEL_SETTINGS
    if not paths:
        draft.body[key] = "none"
        return
    if added := sorted(set(members) - set(paths)):
        draft.note(f"narrowed: {key}: {', '.join(added)} too, which belong to {group}")
    others = sorted(set(paths) - set(members))
    draft.body[key] = [group, *others] if others else group


def mount(draft: Draft, source: str, to: str, options: Iterable[str], kind: str, path: str) -> None:
    """One mount: a tmpfs, a path of the host, or what is the runtime's or the engine's to arrange."""
    said = set(options)
    if RUNTIMES_OWN.get(to) == kind or (to == "/sys/fs/cgroup" and kind == "cgroup2"):
        return
    if kind == "tmpfs":
        _tmpfs(draft, to, said)
    elif kind not in ("bind", "none") and not said & {"bind", "rbind"}:
        draft.note(f"not expressed: {path}: a {kind} at {to}")
    elif to in ENGINES_FILES or source.startswith(PER_CONTAINER):
        draft.note(f"left to the engine: {to} from {source}: one for each container, and so no part of a type")
    elif source.startswith("/") and to.startswith("/"):
        for option in ({"dev", "suid"} & said) | ({"nodev", "nosuid"} - said):
            word = option.removeprefix("no")
            draft.note(f"narrowed: {to} is mounted no{word}")
        kept = said - {"nodev", "nosuid", "dev", "suid", "bind", "rprivate", "private"}
        if not kept & {"ro", "rro"}:
            kept |= {"rw"}
        draft.body.setdefault("mounts", []).append(
            {"source": source, "to": to, "options": sorted(kept), "why": "as in the imported container"}
        )
        draft.comments["mounts"] = "each path of the host: is it needed, may it be read-only, and why"
    else:
        draft.note(f"not expressed: {path}: {source or kind} at {to}")


def _tmpfs(draft: Draft, to: str, said: set[str]) -> None:
    limits = [option.partition("=")[2] for option in said if option.startswith("size=")]
    for option in sorted({"exec", "suid", "dev"} & said):
        draft.note(f"narrowed: the tmpfs at {to} is no{option}")
    plain = {"nodev", "noexec", "nosuid", "exec", "dev", "suid", "rw"}
    for option in sorted(option for option in said - plain if not option.startswith("size=")):
        draft.note(f"not expressed: the tmpfs at {to} with {option}")
    entry: Any = to
    if limits:
        entry = {"path": to, "size": size(tmpfs_size(limits[0], to))}
    draft.body.setdefault("tmpfs", []).append(entry)


def tmpfs_size(text: str, to: str) -> int:
    """A tmpfs's size option in bytes, as tmpfs(5) reads it: a number with k, m or g behind it."""
    factor = {"k": 10, "m": 20, "g": 30}.get(text[-1:].lower())
    digits = text if factor is None else text[:-1]
    if not digits.isdecimal():
        raise ImportFault(f"the tmpfs at {to}: {text!r} is no size in bytes")
    return int(digits) << (factor or 0)
