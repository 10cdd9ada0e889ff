"""Builds promises and actions: what must never hold, and what a container might try."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stockade.model.action import ActionCase
from stockade.model.container import ContainerType
from stockade.model.host import Labels, Part
from stockade.model.promise import ActionPromise, LabelPromise, Promise, Waiver
from stockade.source.action import ActionBuilder, items
from stockade.source.diagnostics import Diagnostics
from stockade.source.scope import Scope
from stockade.source.syscalls import SyscallBuilder
from stockade.source.verbs import Vocabulary
from stockade.source.yaml import Map


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

    def actions(self, documents: Iterable[Map], mounts: Iterable[str]) -> dict[str, ActionCase]:
        """Every action by name; `mounts` are the host's mount points."""
        return ActionBuilder(self.scope, self.vocabulary, self.syscalls, mounts, self.report).actions(documents)

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
        for name, place in items(clause["action"], clause.values_at["action"]):
            if name in actions:
                names.append(name)
            else:
                self.report.unknown(place, "action", name, actions)
        if "container" not in clause:
            self.report.error(clause.at, "missing key `container`: the types that the promise speaks of")
            return None
        containers: set[str] = set()
        for name, place in items(clause["container"], clause.values_at["container"]):
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
