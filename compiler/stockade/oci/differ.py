"""Where two runtime-spec documents of one container type say different things to the runtime."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_NAMED = {"mounts": "destination", "linux.namespaces": "type", "linux.devices": "path", "process.rlimits": "type"}
"""The arrays whose entries are found by a member of theirs."""


@dataclass(frozen=True, slots=True)
class Different:
    """A place that differs, such as `process.noNewPrivileges`, and what either document says there, as JSON or a word.

    None for what a document does not say.
    """

    path: str
    old: str | None
    new: str | None

    def __str__(self) -> str:
        if self.old is None or self.new is None:
            return f"{self.path}: {self.new} is new" if self.old is None else f"{self.path}: {self.old} is gone"
        return f"{self.path}: {self.old} is now {self.new}"

    def as_dict(self) -> dict[str, str | None]:
        """Plain values for JSON."""
        return {"path": self.path, "old": self.old, "new": self.new}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Different]:
    """All of them, in the order of their places. `linux.seccomp` is left to whoever compares filters."""
    return [one for one in _of("", old, new) if not one.path.startswith("linux.seccomp")]


def _of(path: str, old: object, new: object) -> Iterator[Different]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted(old.keys() | new.keys()):
            here = f"{path}.{name}" if path else str(name)
            if name in old and name in new:
                yield from _of(here, old[name], new[name])
            else:
                yield Different(here, *(_shown(one[name]) if name in one else None for one in (old, new)))
    elif _is_array(old) and _is_array(new):
        yield from _arrays(path, old, new)
    elif type(old) is not type(new) or old != new:
        yield Different(path, _shown(old), _shown(new))


def _arrays(path: str, old: Any, new: Any) -> Iterator[Different]:
    """Arrays of words as sets, arrays of named things by their names, and all others, whose order counts, whole."""
    name = _NAMED.get(path)
    if name and all(isinstance(one, Mapping) and isinstance(one.get(name), str) for one in (*old, *new)):
        before, after = ({one[name]: one for one in side} for side in (old, new))
        if len(before) == len(old) and len(after) == len(new):
            yield from _of(path, before, after)
            return
    words = all(isinstance(one, str) for one in (*old, *new))
    if words and len(set(old)) == len(old) and len(set(new)) == len(new):
        yield from (Different(path, word, None) for word in sorted(set(old) - set(new)))
        yield from (Different(path, None, word) for word in sorted(set(new) - set(old)))
    elif _shown(old) != _shown(new):
        yield Different(path, _shown(old), _shown(new))


def _is_array(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
