"""Builds the host's policy from the documents of `host/` and the domains that container types declare."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from stockade.model.access import CLASS_MASK, NOTHING
from stockade.model.classes import INITIAL_SIDS
from stockade.model.grants import members
from stockade.model.host import (
    Constraint,
    Creates,
    FileSystem,
    Host,
    LabelFrom,
    Labels,
    Leaf,
    NamedSet,
    Object,
    Part,
    Rule,
    Subject,
    Test,
    Transition,
)
from stockade.model.position import Position
from stockade.source.diagnostics import Diagnostics
from stockade.source.domains import Domain, layer_access, narrowed_rules
from stockade.source.scope import Scope
from stockade.source.verbs import Vocabulary
from stockade.source.yaml import Map, Seq

NEEDED_SIDS = ("kernel", "security", "unlabeled", "file", "any_socket", "port", "netif", "netmsg", "node", "devnull")
_NO_HEADER = {"name": "", "version": "", "why": "", "capabilities": (), "categories": 2, "default-container": ""}
SECTIONS = ("subjects", "objects", "sets", "verbs", "groups", "initial")
LISTS = ("rules", "quiet", "transitions", "constraints", "filesystems")


class HostBuilder:
    """Reads the host's documents in two steps: first every name, then everything that uses names."""

    def __init__(self, documents: Iterable[Map], report: Diagnostics) -> None:
        self.report = report
        self.scope = Scope(report)
        self.vocabulary = Vocabulary(report)
        self.header: Map = Map(Position("host", 1, 1))
        self.named: dict[str, dict[str, tuple[Map, Position]]] = {section: {} for section in SECTIONS}
        self.lists: dict[str, list[tuple[Map, Position]]] = {section: [] for section in LISTS}
        self.subjects: dict[str, Subject] = {}
        self.objects: dict[str, Object] = {}
        for document in documents:
            self._collect(document)
        if not (any(self.named.values()) or any(self.lists.values()) or "host" in report.incomplete):
            report.error(Position("host", 1, 1), "nothing is said of the host")
            report.incomplete.add("host")
        self._declare()

    def _collect(self, document: Map) -> None:
        for key, value in document.items():
            if key == "policy":
                if self.header:
                    self.report.error(
                        document.keys_at[key], "`policy` is given twice", f"the first is at {self.header.at}"
                    )
                    continue
                self.header = value
            elif key in self.named:
                for name, body in value.items():
                    at = value.keys_at[name]
                    if name in self.named[key]:
                        first = self.named[key][name][1]
                        self.report.error(at, f"`{name}` is declared twice in `{key}`", f"the first is at {first}")
                    else:
                        self.named[key][name] = (body, at if isinstance(body, Map) else value.values_at[name])
            else:
                self.lists[key].extend(zip(value, value.items_at, strict=True))

    def _declare(self) -> None:
        taken: dict[str, Position] = {}
        for section in ("subjects", "objects", "sets"):
            for name, (_, at) in self.named[section].items():
                if name in taken:
                    self.report.error(at, f"`{name}` is already the name of something else", f"at {taken[name]}")
                taken[name] = at
        for name, (body, at) in self.named["subjects"].items():
            aliases = tuple(sorted(body.get("aliases", ())))
            self.subjects[name] = Subject(name=name, label=body["label"], aliases=aliases, why=body["why"], at=at)
            self.scope.subjects[name] = body["label"]
        for name, (body, at) in self.named["objects"].items():
            self.objects[name] = Object(
                name=name,
                label=body["label"],
                aliases=tuple(sorted(body.get("aliases", ()))),
                subtrees=_listed(body, "at"),
                programs=_listed(body, "programs"),
                mount_points=_listed(body, "mounts"),
                context_mounts=_listed(body, "context-mounts"),
                default=body.get("default", False),
                why=body["why"],
                at=at,
            )
            self.scope.objects[name] = body["label"]
        for name, (body, _) in self.named["sets"].items():
            self.scope.declared_sets[name] = (body["members"], body.values_at["members"])
        for name, (body, _) in self.named["groups"].items():
            self.vocabulary.add_group(name, body)
        for name, (body, at) in self.named["verbs"].items():
            self.vocabulary.add_verb(name, body, at)

    def declare_domain(self, domain: Domain) -> None:
        """Add a container type's own domain; call before `build`, parents before those that narrow them."""
        if domain.name in self.scope.names():
            message = f"the domain of `{domain.name}` has the name of a subject, object or set of the host"
            self.report.error(domain.at, message, "choose another name for the container type")
            return
        self.subjects[domain.name] = Subject(
            name=domain.name,
            label=domain.label,
            parent=domain.parent,
            declared_by=domain.name,
            why=domain.why,
            at=domain.at,
        )
        self.scope.subjects[domain.name] = domain.label
        if domain.parent is not None:
            self.scope.narrowed[domain.label] = domain.parent

    def check_labels(self) -> None:
        """No label and no alias may stand for two things; no path may be claimed twice."""
        seen: dict[str, Position] = {}
        paths: dict[str, Position] = {}
        defaults: list[Object] = []
        things: list[Subject | Object] = sorted([*self.subjects.values(), *self.objects.values()], key=lambda t: t.at)
        things.sort(key=lambda t: isinstance(t, Subject) and t.declared_by is not None)
        for thing in things:
            for label in (thing.label, *thing.aliases):
                if label in seen:
                    self.report.error(thing.at, f"the label `{label}` is used twice", f"the first is at {seen[label]}")
                seen.setdefault(label, thing.at)
        for claimant in sorted(self.objects.values(), key=lambda t: t.at):
            for path in (*claimant.subtrees, *claimant.programs, *claimant.mount_points, *claimant.context_mounts):
                if path in paths:
                    self.report.error(
                        claimant.at, f"the path `{path}` is claimed twice", f"the first is at {paths[path]}"
                    )
                paths.setdefault(path, claimant.at)
                if any(part in (".", "..") for part in path.split("/")):
                    self.report.error(claimant.at, f"`{path}` must not contain `.` or `..`")
            if claimant.default:
                defaults.append(claimant)
        if len(defaults) > 1 or not (defaults or "host" in self.report.incomplete):
            at = defaults[1].at if defaults else self.header.at
            names = ": " + ", ".join(f"`{d.name}`" for d in defaults) if defaults else ""
            self.report.error(at, f"exactly one object must be the default, not {len(defaults)}{names}")

    def build(self, domains: Mapping[str, Domain]) -> Host:
        """The host's policy; `domains` by label are those of all container types, with what their layers allow."""
        self.check_labels()
        if not self.header:
            if "host" not in self.report.incomplete:
                self.report.error(self.header.at, "no file of the host's policy has the key `policy`")
            self.header.update(_NO_HEADER)
        self.vocabulary.check_partition(self.header.at)
        sets = {
            name: NamedSet(name=name, labels=self.scope.set(name), why=body["why"], at=at)
            for name, (body, at) in sorted(self.named["sets"].items())
        }
        for found in sets.values():
            if not found.labels and self.scope.is_whole(found.name):
                self.report.error(found.at, f"set `{found.name}` has no members")
        rules = [rule for body, at in self.lists["rules"] for rule in self._rule(body, at, domains)]
        rules += [rule for body, at in self.lists["quiet"] for rule in self._rule(body, at, domains, audit=False)]
        whole = not (self.report.incomplete & {"host", "containers"})
        whole = whole and not (self.scope.unresolved or self.vocabulary.unresolved)
        given: dict[str, list[Rule]] = {}  # by the label that has them, of those that somebody narrows
        narrowed = {domain.parent for domain in domains.values() if domain.parent}
        for rule in rules:
            for label in narrowed & members(rule):
                given.setdefault(label, []).append(rule)
        for domain in domains.values():  # parents first, so that a type may narrow one that narrows another
            if domain.parent:
                own = list(narrowed_rules(domain, given.get(domain.parent, []), self.report, whole=whole))
                given[domain.label] = own
                rules += own
        header = self.header
        return Host(
            name=header["name"],
            version=header["version"],
            why=header["why"],
            policy_capabilities=tuple(sorted(header["capabilities"])),
            categories=header["categories"],
            subjects=dict(sorted(self.subjects.items())),
            objects=dict(sorted(self.objects.items())),
            sets=sets,
            verbs=dict(sorted(self.vocabulary.verbs.items())),
            rules=tuple(sorted(rules, key=lambda r: (r.origin or "", r.at, r.access, str(r.who), str(r.what)))),
            transitions=tuple(sorted(self._transitions(), key=lambda t: (t.at, t.source, t.filename or ""))),
            constraints=tuple(sorted(self._constraints(), key=lambda c: c.at)),
            filesystems=tuple(sorted(self._filesystems(), key=lambda f: f.name)),
            initial=self._initial(),
        )

    def _rule(self, body: Map, at: Position, domains: Mapping[str, Domain], audit: bool = True) -> Iterator[Rule]:
        before = self.scope.unresolved
        who = self.scope.grantees(body["who"], body.values_at["who"])
        whole = self.scope.unresolved == before
        what = self.scope.labels(body["what"], body.values_at["what"], "objects")
        access, verbs = self.vocabulary.access(body)
        rule = Rule(who=who, what=what, access=access, verbs=verbs, audit=audit, why=body["why"], at=at)
        layer = body.get("within")
        if layer is None:
            yield rule
            return
        for label in sorted(frozenset().union(*(part.members for part in who.parts))):
            if label not in domains:
                if whole and "containers" not in self.report.incomplete:
                    self.report.error(body.values_at["within"], f"`{label}` is the domain of no container type")
                continue
            allowed = access & layer_access(domains[label], layer)
            if allowed:
                alone = Labels((Part(domains[label].subject, frozenset([label])),))
                yield replace(rule, who=alone, access=allowed, verbs=verbs if allowed == access else ())

    def _one(self, body: Map, key: str, known: Mapping[str, Any], kind: str) -> str:
        """The label of one named thing, an empty text (noted) when there is no such thing."""
        name = body[key]
        if name not in known:
            self.report.unknown(body.values_at[key], kind, name, known)
            return ""
        return str(known[name].label)

    def _transitions(self) -> Iterator[Transition]:
        seen: dict[tuple[str, str, Creates, str | None], Position] = {}
        for found in self._each_transition():
            key = (found.who, found.source, found.creates, found.filename)
            if key in seen:
                self.report.error(found.at, "there is a transition for this already", f"the first is at {seen[key]}")
            if found.who and found.source:
                seen.setdefault(key, found.at)
            yield found

    def _each_transition(self) -> Iterator[Transition]:
        everything = {**self.subjects, **self.objects}
        for body, at in self.lists["transitions"]:
            who = self._one(body, "who", self.subjects, "subject")
            if "runs" in body:
                target = self._one(body, "becomes", self.subjects, "subject")
                level = {"all": f"s0-s0:c0.c{self.header['categories'] - 1}", "none": "s0"}
                for name, place in _items(body, "runs"):
                    if name not in self.objects:
                        self.report.unknown(place, "object", name, self.objects)
                        continue
                    yield Transition(
                        who=who,
                        source=self.objects[name].label,
                        creates=Creates.PROCESS,
                        target=target,
                        level=level.get(body.get("level", "")),
                        why=body["why"],
                        at=at,
                    )
            else:
                target = self._one(body, "becomes", self.objects, "object")
                source = self._one(body, "in", everything, "object")
                for filename, _ in _items(body, "named") if "named" in body else [(None, at)]:
                    creates = Creates(body["creates"])
                    yield Transition(
                        who=who,
                        source=source,
                        creates=creates,
                        target=target,
                        filename=filename,
                        why=body["why"],
                        at=at,
                    )

    def _constraints(self) -> Iterator[Constraint]:
        for body, at in self.lists["constraints"]:
            before = self.vocabulary.unresolved
            access, verbs = self.vocabulary.access(body)
            for name, place in _items(body, "relabelling") if "relabelling" in body else []:
                for found in self.vocabulary.classes(name, place):
                    access |= CLASS_MASK[found]
            if access == NOTHING and self.vocabulary.unresolved == before:
                self.report.error(at, "this constraint holds nothing back")
            leaves = tuple(self._leaf(leaf, place) for leaf, place in _items(body, "any-of"))
            relabelling = "relabelling" in body
            if relabelling and ("may" in body or "access" in body):
                self.report.error(at, "`relabelling` stands alone: it has neither `may` nor `access`")
            yield Constraint(access=access, verbs=verbs, any_of=leaves, relabelling=relabelling, why=body["why"], at=at)

    def _leaf(self, leaf: Any, at: Position) -> Leaf:
        if not isinstance(leaf, Map):
            return Leaf(Test(leaf))
        key = next(iter(leaf))
        labels = self.scope.labels(leaf[key], leaf.values_at[key], "subjects" if key == "who" else "everything")
        if labels.but_itself or any(part.itself for part in labels.parts):
            self.report.error(at, "`self` has no meaning in a constraint")
        members = frozenset().union(*(part.members for part in labels.parts))
        return Leaf(Test(key), str(labels), members)

    def _filesystems(self) -> Iterator[FileSystem]:
        seen: dict[str, Position] = {}
        for body, at in self.lists["filesystems"]:
            label = self._one(body, "label", self.objects, "object")
            for name, place in _items(body, "types"):
                if name in seen:
                    self.report.error(place, f"file system `{name}` is listed twice", f"the first is at {seen[name]}")
                seen[name] = place
                yield FileSystem(
                    name=name, labels_from=LabelFrom(body["labels-from"]), label=label, why=body["why"], at=at
                )

    def _initial(self) -> dict[str, str]:
        found: dict[str, str] = {}
        everything: dict[str, Subject | Object] = {**self.subjects, **self.objects}
        for sid, (name, at) in sorted(self.named["initial"].items()):
            if sid not in INITIAL_SIDS:
                self.report.unknown(at, "initial SID", sid, INITIAL_SIDS)
            elif str(name) not in everything:
                self.report.unknown(at, "name", str(name), everything)
            else:
                found[sid] = everything[str(name)].label
        for sid in NEEDED_SIDS:
            if sid not in self.named["initial"] and "host" not in self.report.incomplete:
                self.report.error(self.header.at, f"the kernel needs a label for its initial SID `{sid}`")
        return found


def _items(body: Map, key: str) -> list[tuple[Any, Position]]:
    value = body[key]
    return list(zip(value, value.items_at, strict=True)) if isinstance(value, Seq) else [(value, body.values_at[key])]


def _listed(body: Map, key: str) -> tuple[str, ...]:
    return tuple(sorted(value for value, _ in _items(body, key))) if key in body else ()
