"""Reads the JSON text of a seccomp profile: nothing twice, nothing that JSON does not have, nothing without bounds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

MAX_BYTES = 4 << 20
MAX_SHOWN = 60


class ProfileError(ValueError):
    """What is wrong with a profile, in one line: `path` says where, as in `$.syscalls[3].args[0].op`."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path, self.why = path, why


class _Twice(dict[str, Any]):
    """An object in which a key stands twice; `key` is that key."""

    key = ""


def parse(data: bytes) -> dict[str, Any]:
    """The object that `data` is. ProfileError for anything else, and for more than 4 MiB."""
    if len(data) > MAX_BYTES:
        raise ProfileError("$", f"more than {MAX_BYTES >> 20} MiB, which no profile needs")
    if not data.strip():
        raise ProfileError("$", "the file is empty")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProfileError("$", f"not UTF-8 at byte {error.start}") from None
    twice: list[_Twice] = []

    def together(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) == len(pairs):
            return found
        keys = [key for key, _ in pairs]
        twice.append(_Twice(found))
        twice[-1].key = next(key for at, key in enumerate(keys) if key in keys[:at])
        return twice[-1]

    try:
        value = json.loads(text, object_pairs_hook=together, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise ProfileError("$", f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ProfileError("$", "nested far deeper than a profile is") from None
    except ProfileError:
        raise
    except ValueError:  # an integer of thousands of digits
        raise ProfileError("$", "a number is too long to be read") from None
    if not isinstance(value, dict):
        raise ProfileError("$", f"expected an object, found {kind(value)}")
    if twice:
        path, key = next(_doubled(value))
        raise ProfileError(path, f"the key `{shown(key)}` stands twice")
    return value


def _no_number(word: str) -> NoReturn:
    raise ProfileError("$", f"not JSON: {word} is no number there")


def _doubled(value: Any) -> Iterator[tuple[str, str]]:
    """Path and key of every object with a key twice, without recursion."""
    left: list[tuple[str, Any]] = [("$", value)]
    while left:
        path, item = left.pop()
        if isinstance(item, _Twice):
            yield path, item.key
        if isinstance(item, dict):
            left += [(f"{path}.{shown(key)}", inner) for key, inner in item.items()]
        elif isinstance(item, list):
            left += [(f"{path}[{at}]", inner) for at, inner in enumerate(item)]


def kind(value: Any) -> str:
    """What a JSON value is, for a person."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", float: "a fraction"}
    return "null" if value is None else names.get(type(value), "a number")


def shown(text: str) -> str:
    """A text of the profile as it can stand in one line: printable and not long."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return plain if len(plain) <= MAX_SHOWN else plain[: MAX_SHOWN - 3] + "..."


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?` for a near miss of a known word, else nothing."""
    import difflib

    candidates = sorted(known)
    close = difflib.get_close_matches(word[:100], candidates, n=1, cutoff=0.6)
    close = close or difflib.get_close_matches(word[:100].lower(), candidates, n=1, cutoff=0.6)
    return f"; did you mean `{close[0]}`?" if close else ""


class Node:
    """An object of the profile and where it stands; hands out its members with their types checked."""

    def __init__(self, value: Any, path: str, keys: Iterable[str]) -> None:
        if not isinstance(value, dict):
            raise ProfileError(path, f"expected an object, found {kind(value)}")
        known = tuple(keys)
        for key in value:
            if key not in known:
                raise ProfileError(path, f"unknown key `{shown(key)}`{nearest(key, known)}")
        self.value: Mapping[str, Any] = value
        self.path = path

    def has(self, key: str) -> bool:
        """Whether the key is there and not null, which profiles written by Go programs have for nothing."""
        return self.value.get(key) is not None

    def text(self, key: str) -> str:
        """A text that has to be there."""
        if not self.has(key):
            raise ProfileError(self.path, f"the key `{key}` is missing")
        value = self.value[key]
        if not isinstance(value, str):
            raise ProfileError(f"{self.path}.{key}", f"expected a text, found {kind(value)}")
        return value

    def number(self, key: str, top: int, default: int | None = None) -> int:
        """A whole number from 0 to `top`; the default where the key is absent and there is one."""
        if not self.has(key):
            if default is None:
                raise ProfileError(self.path, f"the key `{key}` is missing")
            return default
        value = self.value[key]
        if type(value) is not int:
            raise ProfileError(f"{self.path}.{key}", f"expected a whole number, found {kind(value)}")
        if not 0 <= value <= top:
            raise ProfileError(f"{self.path}.{key}", f"{shown(f'{value:#x}')} is not between 0 and {top:#x}")
        return value

    def listed(self, key: str) -> list[tuple[str, Any]]:
        """The members of a list, each with its path; none where the key is absent."""
        if not self.has(key):
            return []
        value = self.value[key]
        if not isinstance(value, list):
            raise ProfileError(f"{self.path}.{key}", f"expected a list, found {kind(value)}")
        return [(f"{self.path}.{key}[{at}]", item) for at, item in enumerate(value)]

    def texts(self, key: str) -> list[tuple[str, str]]:
        """The members of a list of texts, each with its path."""
        found = self.listed(key)
        for path, item in found:
            if not isinstance(item, str):
                raise ProfileError(path, f"expected a text, found {kind(item)}")
        return found
