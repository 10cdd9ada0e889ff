"""The model as CIL: the host's policy in one file, and a block of its own for every container type's domain."""

from __future__ import annotations

from collections.abc import Iterable

from stockade.model.access import spell
from stockade.model.classes import CLASSES, FILES, INITIAL_SIDS
from stockade.model.container import ContainerType
from stockade.model.grants import members
from stockade.model.host import (
    OBJECT_ROLE,
    PROCESS_ROLE,
    USER,
    Constraint,
    Creates,
    Host,
    LabelFrom,
    Leaf,
    Object,
    Rule,
    Subject,
    Test,
)
from stockade.model.policy import Policy
from stockade.model.promise import LabelPromise
from stockade.selinux.attributes import Attributes, identifier, membership
from stockade.selinux.text import comment, in_verbs, regex, role_of

_SAME = "(and (and (and (and (eq u1 u2) (eq r1 r2)) (eq t1 t2)) (eq h1 h2)) (eq l1 l2))"
_LOW = "((s0) (s0))"
_LONG = 2  # more classes than this are written once, under a name
# New inodes take the level of the folder, as one's own new files must not leak into, or out of, a labelled place.
_LEVEL_FROM_TARGET = (*sorted(FILES), "fd", "filesystem", "io_uring")


def own_domains(policy: Policy) -> dict[str, str]:
    """Label -> container type, for the domains that container types declare."""
    return {s.label: s.declared_by for s in policy.host.subjects.values() if s.declared_by}


class Writer:
    """Writes the files of one policy; attributes are collected on the way and must be the same for all of them."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.host: Host = policy.host
        self.subjects = self.host.subject_labels
        self.attributes = Attributes(self.host)
        self.own = own_domains(policy)
        self.owners = frozenset(self.own.values())
        self._declared: set[str] = set()
        self._verbs_in: dict[int, tuple[list[str], int]] = {}
        self.of_host = [rule for rule in self.host.rules if rule.origin is None]
        self._rules: dict[str, list[Rule]] = {}
        for rule in self.host.rules:
            for label in members(rule):
                self._rules.setdefault(label, []).append(rule)
        self._never = self._promises_by_source()
        self._body = self._host_body()
        self._blocks = {label: [*self._statements(self.rules_of(label)), *self._promises(label)] for label in self.own}
        self._repeated: dict[str, list[str]] = {}

    def host_cil(self) -> bytes:
        """`host/policy.cil`: everything but the domains that container types declare."""
        lines = [f"; {self.host.name} {self.host.version}: {self.host.why}", "", *self._frame(), *self._types()]
        lines += [*self._sets(), *self._verbs(), *self._body]
        return ("\n".join(lines) + "\n").encode()

    def type_cil(self, container: ContainerType) -> bytes:
        """`containers/TYPE/selinux.cil`: the domain of one type. Where the host declares it, the rules alone."""
        label, lines = container.domain, comment(";", container.at, container.why)
        if label in self.own:
            owner = self.own[label]
            if owner == container.name:
                lines += self._declaration(label)
            else:
                lines.append(f"; {label} is declared by container type {owner}")
            statements = self._blocks[label]
        else:
            lines.append(f"; {label} is declared by the host's policy, which has these rules too")
            if label not in self._repeated:
                self._repeated[label] = self._statements(self.rules_of(label), label)
            statements = self._repeated[label]
        lines += [f"(block {identifier(container.name)}", *(f"  {line}" for line in statements), ")"]
        return ("\n".join(lines) + "\n").encode()

    def rules_of(self, label: str) -> list[Rule]:
        """The rules of a label; what is not to be logged is written once, with the type's declaration."""
        return [r for r in self._rules.get(label, ()) if r.audit or r.origin is not None]

    def _declaration(self, label: str) -> list[str]:
        lines = [f"(type {label})", f"(roletype {PROCESS_ROLE} {label})"]
        if self.policy.containers[self.own[label]].complains:
            lines.append(f"(typepermissive {label})")
        return lines + [f"(typeattributeset {name} ({label}))" for name in membership(self.attributes.members, label)]

    def _frame(self) -> list[str]:
        order = " ".join(sorted(CLASSES))
        capabilities = [f"(policycap {name})" for name in self.host.policy_capabilities]
        top = self.host.categories - 1
        categories = [f"c{number}" for number in range(self.host.categories)]
        lines = ["(handleunknown deny)", "(mls true)", *capabilities, "", "; object classes"]
        lines += [f"(class {name} ({' '.join(sorted(CLASSES[name]))}))" for name in sorted(CLASSES)]
        lines += [f"(classorder (unordered {order}))", "", "; one sensitivity; categories keep containers apart"]
        lines += ["(sensitivity s0)", "(sensitivityorder (s0))", *(f"(category {name})" for name in categories)]
        lines += [f"(categoryorder ({' '.join(categories)}))", f"(sensitivitycategory s0 (range c0 c{top}))"]
        lines += [f"(defaultrange {name} target low-high)" for name in _LEVEL_FROM_TARGET]
        lines += ["", "; one user; processes have one role, everything else the other", f"(user {USER})"]
        lines += [f"(role {PROCESS_ROLE})", f"(role {OBJECT_ROLE})"]
        lines += [f"(userrole {USER} {PROCESS_ROLE})", f"(userrole {USER} {OBJECT_ROLE})"]
        lines += [f"(userlevel {USER} (s0))", f"(userrange {USER} ((s0) (s0 (range c0 c{top}))))", ""]
        lines += [f"(sid {sid})" for sid in INITIAL_SIDS]
        lines.append(f"(sidorder ({' '.join(INITIAL_SIDS)}))")
        lines += [f"(sidcontext {sid} {self._context(label)})" for sid, label in self.host.initial.items()]
        return [*lines, ""]

    def _context(self, label: str) -> str:
        return f"({USER} {role_of(label, self.subjects)} {label} {_LOW})"

    def _types(self) -> list[str]:
        lines: list[str] = []
        things: list[Subject | Object] = [*self.host.subjects.values(), *self.host.objects.values()]
        for thing in things:
            if thing.label in self.own:
                continue
            lines += [*comment(";", thing.at, thing.why), f"(type {thing.label})"]
            lines.append(f"(roletype {role_of(thing.label, self.subjects)} {thing.label})")
            for alias in thing.aliases:
                lines += [f"(typealias {alias})", f"(typealiasactual {alias} {thing.label})"]
        return [*lines, ""]

    def _sets(self) -> list[str]:
        lines: list[str] = []
        reasons = {identifier(name): found for name, found in self.host.sets.items()}
        for name, labels in sorted(self.attributes.members.items()):
            found = reasons.get(name)
            lines += comment(";", found.at, found.why) if found else []
            lines.append(f"(typeattribute {name})")
            mine = sorted(labels - self.own.keys())
            if mine:
                lines.append(f"(typeattributeset {name} ({' '.join(mine)}))")
        return [*lines, ""]

    def _verbs(self) -> list[str]:
        lines: list[str] = []
        for verb in self.host.verbs.values():
            name = identifier(verb.name)
            lines += [*comment(";", verb.at, verb.why), f"(classpermission {name})"]
            for class_name, permissions in spell(verb.access).items():
                lines.append(f"(classpermissionset {name} ({class_name} ({' '.join(permissions)})))")
        return [*lines, ""]

    def _host_body(self) -> list[str]:
        lines = self._statements(self.of_host)
        lines += ["", *self._promises(), "", *self._transitions(), "", *self._constraints(), "", *self._labels()]
        return lines

    def _statements(self, rules: Iterable[Rule], only: str | None = None) -> list[str]:
        """Allow rules with their reasons; `only` limits what is written to one source type."""
        lines: list[str] = []
        for rule in rules:
            lines += comment(";", rule.at, rule.why)
            pairs = dict.fromkeys(self.attributes.pairs(rule.who, rule.what))
            if only is not None:
                pairs = dict.fromkeys((only, target) for _, target in pairs)
            declaration, names = self._permissions(rule)
            lines += declaration
            word = "allow" if rule.audit else "dontaudit"
            lines += [f"({word} {source} {target} {name})" for source, target in pairs for name in names]
        return lines

    def _permissions(self, rule: Rule) -> tuple[list[str], list[str]]:
        """(declarations, names) of a rule's access: whole verbs by name, and what is left written out.

        What is left gets a name of its own where it is long and would be written more than once.
        """
        verbs, rest = self._in_verbs(rule.access)
        names = [identifier(verb) for verb in verbs]
        classes = spell(rest)
        if len(classes) > _LONG and len(rule.what.parts) > 1:
            stem = rule.at.file.rsplit("/", 1)[-1].removesuffix(".yaml")
            name = identifier(f"{stem}-{rule.at.line}-{rule.who}".replace(", ", "-"))
            return _class_permission(name, rest), [*names, name]
        return [], [*names, *(f"({name} ({' '.join(permissions)}))" for name, permissions in classes.items())]

    def _in_verbs(self, access: int) -> tuple[list[str], int]:
        if access not in self._verbs_in:
            self._verbs_in[access] = in_verbs(access, self.host.verbs.values())
        return self._verbs_in[access]

    def _promises_by_source(self) -> dict[str | None, list[tuple[LabelPromise, list[tuple[str, str]]]]]:
        """Promises on labels, each with its pairs of sets, by the container type's domain that is their source.

        None has all other pairs, and every promise that is no type's own.
        """
        found: dict[str | None, list[tuple[LabelPromise, list[tuple[str, str]]]]] = {}
        for promise in self.policy.promises.values():
            if not isinstance(promise, LabelPromise):
                continue
            pairs: dict[str | None, list[tuple[str, str]]] = {} if promise.own else {None: []}
            for pair in dict.fromkeys(self.attributes.pairs(promise.who, promise.what)):
                pairs.setdefault(pair[0] if pair[0] in self.own else None, []).append(pair)
            for source, mine in pairs.items():
                found.setdefault(source, []).append((promise, mine))
        return found

    def _promises(self, source_type: str | None = None) -> list[str]:
        """Promises as neverallow; `source_type` asks for those whose source is that declared type, else all others.

        One neverallow for each pair of sets, however many permissions it is about: libsepol walks all rules for each.
        """
        lines: list[str] = []
        for promise, pairs in self._never.get(source_type, ()):
            verbs, rest = self._in_verbs(promise.access)
            name = identifier(f"never-{promise.name}" if rest else "-and-".join(verbs))
            if (promise.own or source_type is None) and name not in self._declared and (rest or len(verbs) > 1):
                if not promise.own:  # one in the block of a type is known in that block alone
                    self._declared.add(name)
                lines += _class_permission(name, promise.access)
            if pairs:
                lines += comment(";", promise.at, promise.why, f"{promise.name}: ")
                lines += [f"(neverallow {source} {target} {name})" for source, target in pairs]
        return lines

    def _transitions(self) -> list[str]:
        lines: list[str] = []
        for t in self.host.transitions:
            lines += comment(";", t.at, t.why)
            filename = f' "{t.filename}"' if t.filename else ""
            lines.append(f"(typetransition {t.who} {t.source} {t.creates}{filename} {t.target})")
            if t.creates is Creates.PROCESS and t.level:
                high = f"(s0 (range c0 c{self.host.categories - 1}))" if t.level != "s0" else "(s0)"
                lines.append(f"(rangetransition {t.who} {t.source} process ((s0) {high}))")
        return lines

    def _constraints(self) -> list[str]:
        lines: list[str] = []
        for c in self.host.constraints:
            lines += comment(";", c.at, c.why)
            expression = self._expression(c)
            if c.relabelling:
                lines += [f"(mlsvalidatetrans {name} {expression})" for name in spell(c.access)]
                continue
            verbs, rest = self._in_verbs(c.access)
            lines += [f"(mlsconstrain {identifier(verb)} {expression})" for verb in verbs]
            for name, permissions in spell(rest).items():
                lines.append(f"(mlsconstrain ({name} ({' '.join(permissions)})) {expression})")
        return lines

    def _expression(self, constraint: Constraint) -> str:
        # Nested to the left: the kernel evaluates with a stack five deep, and this order never needs more than three.
        expression = ""
        for leaf in constraint.any_of:
            term = self._leaf(leaf, constraint.relabelling)
            expression = f"(or {expression} {term})" if expression else term
        return expression

    def _leaf(self, leaf: Leaf, relabelling: bool) -> str:
        if leaf.test is Test.DOMINATES:
            return "(dom h1 h2)"
        if leaf.test is Test.SAME:
            return _SAME
        side = "t2" if leaf.test is Test.WHAT else "t3" if relabelling else "t1"
        return f"(eq {side} {self.attributes.of_members(leaf.name, leaf.labels)})"

    def _labels(self) -> list[str]:
        lines: list[str] = []
        kinds = {LabelFrom.XATTR: "xattr", LabelFrom.TASK: "task", LabelFrom.TRANSITION: "trans"}
        for fs in self.host.filesystems:
            lines += comment(";", fs.at, fs.why)
            if fs.labels_from is LabelFrom.FILESYSTEM:
                lines.append(f'(genfscon {fs.name} "/" {self._context(fs.label)})')
            else:
                lines.append(f"(fsuse {kinds[fs.labels_from]} {fs.name} {self._context(fs.label)})")
        for thing in self.host.objects.values():
            lines += self._paths(thing)
        return lines

    def _paths(self, thing: Object) -> list[str]:
        context = self._context(thing.label)
        lines = [f'(filecon "/.*" any {context})'] if thing.default else []
        lines += [f'(filecon "{_quoted(regex(path))}(/.*)?" any {context})' for path in thing.subtrees]
        lines += [f'(filecon "{_quoted(regex(path))}" file {context})' for path in thing.programs]
        for path in thing.mount_points:
            lines += [
                f'(filecon "{_quoted(regex(path))}" dir {context})',
                f'(filecon "{_quoted(regex(path))}/.*" any ())',
            ]
        if lines or thing.context_mounts:
            mounted = f" (by context= on {', '.join(thing.context_mounts)})" if thing.context_mounts else ""
            lines = [*comment(";", thing.at, f"{thing.why}{mounted}"), *lines]
        return lines


def _class_permission(name: str, access: int) -> list[str]:
    """A named set of permissions."""
    lines = [f"(classpermission {name})"]
    for class_name, permissions in spell(access).items():
        lines.append(f"(classpermissionset {name} ({class_name} ({' '.join(permissions)})))")
    return lines


def _quoted(pattern: str) -> str:
    if '"' in pattern:
        raise ValueError(f"a path with a quotation mark cannot be written in CIL: {pattern}")
    return pattern
