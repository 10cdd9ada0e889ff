"""Widening any rule across a promise fails the check at that rule's line, and names every promise it crosses."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from stockade.model.grants import members
from stockade.model.host import Rule
from stockade.model.policy import Policy
from stockade.model.promise import LabelPromise
from stockade.source.yaml import Map, Seq

from tests.prove.mutate import Edit, Source, check

SHIPPED = Path(__file__).resolve().parents[2] / "policy"
ROUNDS = 24

Access = dict[tuple[str, str], int]


@pytest.fixture(scope="module")
def source() -> Source:
    return Source(SHIPPED)


class Widener:
    """All ways to widen a rule by one name, with the access that each adds and the promises that it crosses."""

    def __init__(self, source: Source, policy: Policy) -> None:
        self.source, self.host = source, policy.host
        self.subjects = {s.name: s.label for s in policy.host.subjects.values() if s.parent is None}
        self.objects = {o.name: o.label for o in policy.host.objects.values()}
        self.promises = [
            (p.name, frozenset().union(*(part.members for part in p.who.parts)), p.what, p.access)
            for p in policy.promises.values()
            if isinstance(p, LabelPromise)
        ]
        self.rules: dict[tuple[str, int, int], list[Rule]] = {}
        for rule in policy.host.rules:
            if rule.origin is None:
                self.rules.setdefault((rule.at.file, rule.at.line, rule.at.column), []).append(rule)

    def bodies(self) -> Iterator[tuple[Map, list[Rule]]]:
        for document in self.source.documents:
            for body in document.get("rules", ()):
                yield body, self.rules[body.at.file, body.at.line, body.at.column]

    def widenings(self, body: Map, rules: list[Rule]) -> Iterator[tuple[Edit, Access]]:
        actors = frozenset().union(*(members(rule) for rule in rules))
        if "within" not in body and not isinstance(body["who"], Map):
            for name, label in self.subjects.items():
                if label not in actors:
                    added = {(label, t): rules[0].access for t in rules[0].what.members(label)}
                    yield self._append(body, "who", name), added
        if not isinstance(body["what"], Map):
            for name, label in (self.subjects | self.objects).items():
                added = {(u, label): r.access for r in rules for u in members(r) if label not in r.what.members(u)}
                if added:
                    yield self._append(body, "what", name), added
        elif len(left_out := body["what"]["except"]) > 1 and isinstance(left_out, Seq):
            for name in left_out:
                labels = self._labels(name)
                rest = frozenset().union(*(self._labels(other) for other in left_out if other != name))
                whole = self._labels(
                    *body["what"]["of"] if isinstance(body["what"]["of"], Seq) else [body["what"]["of"]]
                )
                others = [other for other in left_out if other != name]
                at = body["what"].values_at["except"]
                edit = Edit(at, self.source.text(at), f"[{', '.join(others)}]", f"what without except {name}")
                yield edit, {(u, t): r.access for r in rules for u in members(r) for t in (labels & whole) - rest}
        if "may" in body and "within" not in body:
            for name, verb in self.host.verbs.items():
                if name not in rules[0].verbs:
                    added = {(u, t): verb.access for u in actors for t in rules[0].what.members(u)}
                    yield self._append(body, "may", name), added

    def crossed(self, added: Access) -> set[str]:
        return {
            name
            for name, who, what, access in self.promises
            if any(given & access and u in who and t in what.members(u) for (u, t), given in added.items())
        }

    def _append(self, body: Map, key: str, name: str) -> Edit:
        value, at = body[key], body.values_at[key]
        listed = [*value, name] if isinstance(value, Seq) else [value, name]
        return Edit(at, self.source.text(at), f"[{', '.join(listed)}]", f"{key} + {name} at {body.at}")

    def _labels(self, *names: str) -> frozenset[str]:
        found: frozenset[str] = frozenset()
        for name in names:
            if name in self.host.sets:
                found |= self.host.sets[name].labels
            elif name in self.host.subjects:
                found |= {self.host.subjects[name].label}
            elif name in self.host.objects:
                found |= {self.host.objects[name].label}
            elif name != "self":
                universe = {"subjects": self.host.subject_labels, "objects": self.host.object_labels}
                found |= universe.get(name, self.host.subject_labels | self.host.object_labels)
        return found


def test_widenings_are_found_where_they_are(source: Source, policy: Policy, table: dict[tuple[str, str], int]) -> None:
    """In each round every rule is widened at once, each by one name drawn from those that cross a promise."""
    widener = Widener(source, policy)
    draw = random.Random(3)
    candidates: list[tuple[Map, list[tuple[Edit, set[str]]]]] = []
    silent = []
    for body, rules in widener.bodies():
        crossing = []
        for edit, added in widener.widenings(body, rules):
            if promises := widener.crossed(added):
                crossing.append((edit, promises))
            elif any(given & ~table.get(pair, 0) for pair, given in added.items()):
                silent.append(edit.what)
        draw.shuffle(crossing)
        candidates.append((body, crossing))
    total = sum(len(crossing) for _, crossing in candidates)
    print(f"{total} widenings by one name cross a promise, {len(silent)} do not")
    tried, missed = 0, []
    for number in range(ROUNDS):
        chosen = [(body, *crossing[number % len(crossing)]) for body, crossing in candidates if crossing]
        findings, mutant = check(source.mutant(*(edit for _, edit, _ in chosen)))
        assert mutant is not None, findings[:3]
        said: dict[tuple[str, int], set[str]] = {}
        for finding in findings:
            if finding.message.startswith("breaks promise `"):
                said.setdefault((finding.at.file, finding.at.line), set()).add(finding.message.split("`")[1])
        for body, edit, promises in chosen:
            tried += 1
            if not promises <= said.get((body.at.file, body.at.line), set()):
                missed.append((edit.what, promises))
    assert missed == []
    assert tried > 1500
    assert silent == []
