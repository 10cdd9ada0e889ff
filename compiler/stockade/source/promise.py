"""Builds promises and actions: what must never hold, and what a container might try."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stockade.model.action import (
    ActionCase,
    Need,
    NeedsAccess,
    NeedsCapability,
    NeedsDevice,
    NeedsHostNamespace,
    NeedsSyscall,
    NeedsWritablePath,
)
from stockade.model.container import ContainerType
from stockade.model.host import Labels, Part
from stockade.model.position import Position
from stockade.model.promise import ActionPromise, LabelPromise, Promise, Waiver
from stockade.source.diagnostics import Diagnostics
from stockade.source.scope import Scope
from stockade.source.syscalls import SyscallBuilder
from stockade.source.verbs import Vocabulary
from stockade.source.yaml import Map, Seq


class PromiseBuilder:
    """Resolves promises and actions against everything else the policy names."""

    def __init__(
        self,
        scope: Scope,
        vocabulary: Vocabulary,
        syscalls: SyscallBuilder,
        containers: Mapping[str, ContainerType],
        report: Diagnostics,
    ) -> None:
        self.scope = scope
        self.vocabulary = vocabulary
        self.syscalls = syscalls
        self.containers = containers
        self.report = report

    def actions(self, documents: Iterable[Map]) -> dict[str, ActionCase]:
        """Every action by name."""
        found: dict[str, ActionCase] = {}
        for body in documents:
            name, at = body["action"], body.values_at["action"]
            if name in found:
                self.report.error(at, f"action `{name}` is declared twice", f"the first is at {found[name].at}")
                continue
            needs = tuple(self._need(need, place) for need, place in _items(body["needs"], at))
            kept = tuple(need for need in needs if need is not None)
            found[name] = ActionCase(name=name, seen_in=tuple(body["seen-in"]), needs=kept, why=body["why"], at=at)
        return dict(sorted(found.items()))

    def promises(self, documents: Iterable[Map], actions: Mapping[str, ActionCase]) -> dict[str, Promise]:
        """Every promise by name."""
        found: dict[str, Promise] = {}
        for body in documents:
            name, at = body["promise"], body.values_at["promise"]
            if name in found:
                self.report.error(at, f"promise `{name}` is declared twice", f"the first is at {found[name].at}")
                continue
            kind = "never" if "never" in body else "only"
            clause: Map = body[kind]
            promise: Promise | None = None
            if "action" in clause:
                promise = self._action_promise(body, clause, kind, actions)
            else:
                promise = self._label_promise(body, clause, kind)
            if promise is not None:
                found[name] = promise
        return dict(sorted(found.items()))

    def waivers(self, documents: Iterable[Map]) -> dict[str, Waiver]:
        """Every waiver by name."""
        found: dict[str, Waiver] = {}
        for body in documents:
            name, at = body["open"], body.values_at["open"]
            if name in found:
                self.report.error(at, f"waiver `{name}` is declared twice", f"the first is at {found[name].at}")
                continue
            who_at, before = body.values_at["who"], self.scope.unresolved
            who = self.scope.labels(body["who"], who_at, "subjects")
            what = self.scope.labels(body["what"], body.values_at["what"], "objects")
            access, verbs = self.vocabulary.access(body)
            if any(part.itself for part in who.parts) or who.but_itself:
                self.report.error(who_at, "`self` cannot be who a waiver speaks of")
            elif not any(part.members for part in who.parts) and before == self.scope.unresolved:
                self.report.error(who_at, "this waiver speaks of nobody")
            steps = [self.vocabulary.verbs[verb].access for verb in verbs if verb in self.vocabulary.verbs]
            rest = access
            for step in steps:
                rest &= ~step
            found[name] = Waiver(
                name=name,
                who=who,
                what=what,
                access=access,
                steps=(*steps, rest) if rest else tuple(steps),
                why=body["why"],
                at=at,
            )
        return dict(sorted(found.items()))

    def _label_promise(self, body: Map, clause: Map, kind: str) -> LabelPromise | None:
        for key in ("who", "what"):
            if key not in clause:
                self.report.error(clause.at, f"missing key `{key}`", "a promise names `who` and `what`, or `action`")
                return None
        if "may" not in clause and "access" not in clause:
            self.report.error(clause.at, "missing key `may`: the verbs that nobody of `who` has")
            return None
        for key in ("container", "at-least"):
            holder = clause if key == "container" else body
            if key in holder:
                self.report.error(holder.keys_at[key], f"`{key}` belongs to a promise on an action")
        who_at = clause.values_at["who"]
        before = self.scope.unresolved
        who = self.scope.labels(clause["who"], who_at, "subjects")
        if kind == "only":
            who = self._others(who)
        what = self.scope.labels(clause["what"], clause.values_at["what"], "objects")
        access, verbs = self.vocabulary.access(clause)
        if any(part.itself for part in who.parts) or who.but_itself:
            self.report.error(who_at, "`self` cannot be who a promise speaks of")
        elif not any(part.members for part in who.parts) and before == self.scope.unresolved:
            self.report.error(who_at, "this promise speaks of nobody")
        return LabelPromise(
            name=body["promise"],
            who=who,
            what=what,
            access=access,
            verbs=verbs,
            silent_on=self._silent_on(body, self.scope.subjects),
            who_at=who_at,
            why=body["why"],
            at=body.values_at["promise"],
        )

    def _others(self, who: Labels) -> Labels:
        """Everyone but those who alone may: of the subjects, or of all labels when objects are among those named."""
        named = frozenset().union(*(part.members for part in who.parts))
        universe = "subjects" if named <= self.scope.universe("subjects") else "everything"
        words = "-".join(sorted(part.name for part in who.parts))
        return Labels((Part(f"{universe}-but-{words}", self.scope.universe(universe) - named),))

    def _action_promise(
        self, body: Map, clause: Map, kind: str, actions: Mapping[str, ActionCase]
    ) -> ActionPromise | None:
        for key in ("who", "what", "may", "access"):
            if key in clause:
                self.report.error(clause.keys_at[key], f"`{key}` belongs to a promise on labels, not on an action")
        names = []
        for name, place in _items(clause["action"], clause.values_at["action"]):
            if name in actions:
                names.append(name)
            else:
                self.report.unknown(place, "action", name, actions)
        if "container" not in clause:
            self.report.error(clause.at, "missing key `container`: the types that the promise speaks of")
            return None
        containers: set[str] = set()
        for name, place in _items(clause["container"], clause.values_at["container"]):
            if name == "all":
                containers |= self.containers.keys()
            elif name in self.containers:
                containers.add(name)
            else:
                self.report.unknown(place, "container type", name, self.containers)
        if kind == "only":
            containers = set(self.containers) - containers
            if not containers and "containers" not in self.report.incomplete:
                self.report.error(clause.values_at["container"], "this promise speaks of nobody")
        return ActionPromise(
            name=body["promise"],
            containers=frozenset(containers),
            actions=tuple(sorted(names)),
            layers=int(body.get("at-least", "1 layer").split()[0]),
            silent_on=self._silent_on(body, self.containers),
            who_at=clause.values_at["container"],
            why=body["why"],
            at=body.values_at["promise"],
        )

    def _silent_on(self, body: Map, known: Iterable[str]) -> dict[str, str]:
        excused: Map = body.get("silent-on", Map(body.at))
        for name in excused:
            if name not in known:
                self.report.unknown(excused.keys_at[name], "name", name, known)
        return dict(sorted(excused.items()))

    def _need(self, body: Map, at: Position) -> Need | None:
        match next(iter(body)):
            case "capability":
                return NeedsCapability(tuple(name for name, _ in _items(body["capability"], at)))
            case "host-namespace":
                return NeedsHostNamespace(body["host-namespace"])
            case "writable-path":
                return NeedsWritablePath(body["writable-path"])
            case "device":
                device = body["device"]
                return NeedsDevice(device["type"], device["major"], device["minor"], device["access"])
            case "selinux":
                need: Map = body["selinux"]
                access, _ = self.vocabulary.access(need)
                labels = self.scope.labels(need["target"], need.values_at["target"], "everything")
                members = frozenset().union(*(part.members for part in labels.parts))
                return NeedsAccess(access, members, any(part.itself for part in labels.parts), str(labels))
            case _:
                return self._syscall(body, at)

    def _syscall(self, body: Map, at: Position) -> Need | None:
        calls: list[str] = []
        for name, place in _items(body["syscall"], body.values_at["syscall"]):
            calls.extend(self.syscalls.calls(name, place))
        given: Map = body.get("with", Map(at))
        meanings = []
        for call in dict.fromkeys(calls):
            arguments: dict[int, int] = {}
            for key, value in given.items():
                known = self.syscalls.argument(call, key, given.keys_at[key])
                number = known and self.syscalls.number(call, key, known[1], value, given.values_at[key])
                if known is None or number is None:
                    return None
                if known[0] in arguments:
                    self.report.error(given.keys_at[key], f"`{key}` is given twice, by another name")
                arguments[known[0]] = number
            meanings.append((call, arguments))
        for call, arguments in meanings:
            if arguments != meanings[0][1]:
                message = f"these arguments of `{call}` are not those of `{meanings[0][0]}`"
                self.report.error(given.at, message, "write an action for each, or only calls with the same arguments")
                return None
        return NeedsSyscall(tuple(sorted(set(calls))), dict(sorted(meanings[0][1].items()))) if meanings else None


def _items(value: Any, at: Position) -> list[tuple[Any, Position]]:
    return list(zip(value, value.items_at, strict=True)) if isinstance(value, Seq) else [(value, at)]
