"""One fact about a host, with where it was read and what became of the reading; and a host's facts as a document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

SCHEMA: Final = 2
"""In the second, members of lists may have an outcome of their own; documents of the first are read too."""
LIMIT: Final = 64 << 20
"""A document of facts beyond this many bytes is not one of ours."""


class Outcome(StrEnum):
    """What became of reading a fact. Only a value can make a rule pass."""

    VALUE = "value"
    ABSENT = "absent"
    UNREADABLE = "unreadable"
    MALFORMED = "malformed"


class FactsError(Exception):
    """A document that is no host's facts; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A typed value and the path it came from; `why` says what was wrong where there is no value."""

    outcome: Outcome
    value: Any = None
    path: str = ""
    why: str = ""

    @classmethod
    def of(cls, value: Any, path: str = "") -> Fact:
        """A fact that was read."""
        return cls(Outcome.VALUE, value, path)

    @classmethod
    def absent(cls, path: str = "", why: str = "not there") -> Fact:
        """What the host does not have."""
        return cls(Outcome.ABSENT, None, path, why)

    @classmethod
    def unreadable(cls, path: str, why: str) -> Fact:
        """What is there and may not be read."""
        return cls(Outcome.UNREADABLE, None, path, why)

    @classmethod
    def malformed(cls, path: str, why: str) -> Fact:
        """What was read and is not what should be there."""
        return cls(Outcome.MALFORMED, None, path, why)

    @property
    def known(self) -> bool:
        """Is there a value?"""
        return self.outcome is Outcome.VALUE

    def member(self, **who: Any) -> dict[str, Any]:
        """What stands for one member of a list that has no value: who it is, `outcome` and `why`, with the path."""
        return {**who, "outcome": str(self.outcome), "why": f"{self.path}: {self.why}" if self.path else self.why}

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: `value`, or `outcome` and `why`; `path` where there is one."""
        said = {"value": self.value} if self.known else {"outcome": str(self.outcome), "why": self.why}
        return {"path": self.path, **said} if self.path else said


@dataclass(frozen=True, slots=True)
class Facts:
    """All that was read of one host.

    `kind` is "live" where a kernel was asked and "image" where only an unpacked root was read; `collected` is the time
    in seconds since 1970. A name that is not in `facts` was never read, which is no value either.
    """

    kind: str
    facts: Mapping[str, Fact] = field(default_factory=dict)
    collected: int = 0

    def get(self, name: str) -> Fact:
        """The fact of that name; one that was never read is unreadable."""
        return self.facts.get(name) or Fact.unreadable("", "was not collected")

    def to_json(self) -> str:
        """The document: one object, one fact a line, sorted by name."""
        lines = [f"  {json.dumps(name)}: {_line(self.facts[name].as_dict())}" for name in sorted(self.facts)]
        head = f'"schema": {SCHEMA},\n"kind": {json.dumps(self.kind)},\n"collected": {self.collected}'
        return f'{{\n{head},\n"facts": {{\n' + ",\n".join(lines) + "\n}\n}\n"


def missing(member: Any) -> str:
    """Which member of a list has no value, what became of reading it, and why; nothing where it has one."""
    if not isinstance(member, dict) or member.get("outcome") not in _UNTOLD:
        return ""
    container = member.get("container") or member.get("id")
    who = f"process {member['pid']}" if "pid" in member else f"container {container!s:.12}" if container else "this"
    return f"{who} is {member['outcome']}: {member.get('why', '')}"


_UNTOLD: Final = tuple(str(one) for one in Outcome if one is not Outcome.VALUE)


def from_json(content: bytes | str) -> Facts:
    """A host's facts from their document. FactsError says what is wrong with it."""
    if len(content) > LIMIT:
        raise FactsError(f"more than {LIMIT} bytes")
    try:
        document = json.loads(content, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise FactsError(f"not JSON: {error}") from None
    if type(document) is not dict or set(document) != {"schema", "kind", "collected", "facts"}:
        raise FactsError("not a host's facts: an object of schema, kind, collected and facts")
    if type(document["schema"]) is not int or not 1 <= document["schema"] <= SCHEMA:
        raise FactsError(f"schema {document['schema']!r}, and those up to {SCHEMA} are known")
    if document["kind"] not in ("live", "image") or type(document["collected"]) is not int:
        raise FactsError("kind is live or image, collected is a whole number of seconds")
    if type(document["facts"]) is not dict:
        raise FactsError("facts is no object")
    return Facts(
        document["kind"], {name: _fact(name, said) for name, said in document["facts"].items()}, document["collected"]
    )


def _fact(name: str, said: Any) -> Fact:
    if type(said) is not dict:
        raise FactsError(f"{name}: a fact is an object")
    path = said.get("path", "")
    if type(path) is not str:
        raise FactsError(f"{name}: path is no text")
    if set(said) - {"path"} == {"value"}:
        return Fact.of(said["value"], path)
    if set(said) - {"path"} == {"outcome", "why"} and type(said["why"]) is str:
        outcomes = {str(one): one for one in Outcome if one is not Outcome.VALUE}
        if type(said["outcome"]) is str and said["outcome"] in outcomes:
            return Fact(outcomes[said["outcome"]], None, path, said["why"])
    raise FactsError(f"{name}: a fact has a value, or an outcome (absent, unreadable, malformed) and why")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice in one object")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _line(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, allow_nan=False)
