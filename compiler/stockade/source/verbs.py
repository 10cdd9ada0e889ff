"""Verbs and class groups: from the words of a policy to masks of permissions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stockade.model.access import CLASS_MASK, EVERYTHING, NOTHING, PAIRS, pair
from stockade.model.classes import CLASSES
from stockade.model.host import Verb
from stockade.model.position import Position
from stockade.source.diagnostics import Diagnostics
from stockade.source.yaml import Map, Seq


class Vocabulary:
    """The class groups and verbs of a policy; `unresolved` counts the names that stood for nothing."""

    def __init__(self, report: Diagnostics) -> None:
        self.report = report
        self.groups: dict[str, tuple[str, ...]] = {}
        self.verbs: dict[str, Verb] = {}
        self._torn: set[str] = set()
        self.unresolved = 0

    def _unknown(self, at: Position, what: str, name: str, known: Iterable[str], of: str = "") -> None:
        self.unresolved += 1
        self.report.unknown(at, what, name, known, of)

    def add_group(self, name: str, body: Map) -> None:
        """Declare a group of classes."""
        self.groups[name] = tuple(body["classes"])

    def classes(self, name: str, at: Position) -> tuple[str, ...]:
        """The classes a class name or `@group` stands for; none (noted) when it stands for nothing."""
        if name.startswith("@"):
            if name[1:] not in self.groups:
                self._unknown(at, "group of classes", name, [f"@{group}" for group in self.groups])
                return ()
            return self.groups[name[1:]]
        if name not in CLASSES:
            self._unknown(at, "class", name, CLASSES)
            return ()
        return (name,)

    def add_verb(self, name: str, body: Map, at: Position) -> None:
        """Declare a verb from its classes and permissions."""
        access, before = NOTHING, self.unresolved
        on: Map = body["on"]
        for key, value in on.items():
            access |= self._permissions(self.classes(key, on.keys_at[key]), key, value, on.values_at[key])
        if self.unresolved > before:
            self._torn.add(name)
        self.verbs[name] = Verb(name=name, access=access, why=body["why"], at=at)

    def _permissions(self, classes: tuple[str, ...], key: str, value: Any, at: Position) -> int:
        whole = NOTHING
        for name in classes:
            whole |= CLASS_MASK[name]
        if not classes or value == "all":
            return whole
        listed = value["except"] if isinstance(value, Map) else value
        chosen = NOTHING
        assert isinstance(listed, Seq)
        for permission, place in zip(listed, listed.items_at, strict=True):
            having = [name for name in classes if permission in CLASSES[name]]
            if not having:
                known = frozenset().union(*(CLASSES[name] for name in classes))
                self._unknown(place, "permission", permission, known, f"`{key}`")
            for name in having:
                chosen |= pair(name, permission)
        return whole & ~chosen if isinstance(value, Map) else chosen

    def check_partition(self, at: Position) -> None:
        """Every permission must be in exactly one verb, so that none is granted or guarded by accident."""
        seen = NOTHING
        ordered = sorted(self.verbs.values(), key=lambda v: v.at)
        for verb in ordered:
            if twice := verb.access & seen:
                other = next(v for v in ordered if v.access & twice)
                first = PAIRS[(twice & -twice).bit_length() - 1]
                self.report.error(
                    verb.at, f"`{first[0]} {first[1]}` is in verb `{verb.name}` and in verb `{other.name}` ({other.at})"
                )
            seen |= verb.access
        missing = EVERYTHING & ~seen
        if missing and not self.unresolved and "host" not in self.report.incomplete:
            count = missing.bit_count()
            name, permission = PAIRS[(missing & -missing).bit_length() - 1]
            self.report.error(at, f"{_counted(count)} in no verb, the first of them `{name} {permission}`")

    def access(self, body: Map) -> tuple[int, tuple[str, ...]]:
        """What a statement's `may` and `access` add up to, with the verbs it used."""
        total, used = NOTHING, []
        if "may" in body:
            may, at = body["may"], body.values_at["may"]
            items = zip(may, may.items_at, strict=True) if isinstance(may, Seq) else [(may, at)]
            for name, place in items:
                if name not in self.verbs:
                    self._unknown(place, "verb", name, self.verbs)
                    continue
                self.unresolved += name in self._torn
                total |= self.verbs[name].access
                used.append(name)
        if "access" in body:
            written: Map = body["access"]
            for key, value in written.items():
                classes = self.classes(key, written.keys_at[key])
                total |= self._permissions(classes, key, value, written.values_at[key])
            used = []
        return total, tuple(sorted(used))


def _counted(number: int) -> str:
    return "one permission is" if number == 1 else f"{number} permissions are"
