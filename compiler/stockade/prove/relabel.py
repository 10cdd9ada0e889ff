"""What SELinux has of some container types, built anew inside a bundle that stands: their texts, and their rules.

The domain that a container type declares is the source of its own rules and of no other, and all else in the policy
speaks of it by the sets that it is in. Where these are the same, a change of what the type says changes rows of the
kernel policy whose source is that domain, and nothing more. So a policy of few types is compiled, with every neverallow
in it, the rows are exchanged in the kernel policy that stands, and what the domain may do is read back from there.

That nothing else changes is looked at: the host's file must be line for line the one that stands, and the domain must
be in the sets that it was in. A set that numbers labels by digits is the exception. Its members depend on how many
labels there are, but not on what any of them may do, so those are taken from the files that stand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from stockade.bundle.compile import BINARY, CIL, TEXT, kernel_files
from stockade.bundle.read import Bundle
from stockade.bundle.write import Artefact
from stockade.model.access import spell, words
from stockade.model.container import ContainerType
from stockade.model.grants import grants, unreported
from stockade.model.policy import Policy
from stockade.prove.bundled import kernel_policy
from stockade.prove.labels import breaches, label_promises
from stockade.prove.table import table_of_vectors
from stockade.selinux import contract
from stockade.selinux.attributes import is_digit, may_be_digit
from stockade.selinux.cil import Writer
from stockade.selinux.decisions import Decisions, Reason
from stockade.selinux.libsepol import compile_cil
from stockade.selinux.module import body, build_pp, renamed
from stockade.selinux.policydb_rules import Rules, Unlike, values, with_rules_of
from stockade.selinux.te import type_fc, type_te
from stockade.selinux.text import context

_RULES = (b"(allow ", b"(dontaudit ", b"(neverallow ")
_BY_DIGIT = (b"(typeattribute", *_RULES)
Table = Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class Relabelled:
    """Artefacts that take the place of others, and the kernel policy that goes with them.

    `before` and `after` are the access of the domains whose rules were exchanged, to labels that stand for all.
    """

    artefacts: tuple[Artefact, ...]
    kernel_policy: bytes
    before: Table
    after: Table

    def denied(self, policy: Policy, oracle: Decisions) -> Iterator[str]:
        """Every gained or lost access of which libsepol says another thing, asked of each class by one permission."""
        subjects = policy.host.subject_labels
        asked: dict[tuple[str, bool, str, str], list[str]] = {}
        for (domain, target), (gained, lost) in _changes(self.before, self.after).items():
            for access, is_gained in ((gained, True), (lost, False)):
                for tclass, (permission, *_) in spell(access).items():
                    asked.setdefault((domain, is_gained, tclass, permission), []).append(target)
        for (domain, is_gained, tclass, permission), targets in asked.items():
            for target in {targets[0], targets[-1]}:
                pair = context(domain, subjects), context(target, subjects)
                # A constraint may deny what a rule gives; that there is a rule is what was changed.
                if bool(oracle.access(*pair, tclass, permission).reason & Reason.TE) is is_gained:
                    yield f"libsepol says of {domain}, {target}, {tclass} {permission} what the source does not"


def relabel(policy: Policy, bundle: Bundle, types: Iterable[ContainerType]) -> Relabelled:
    """The SELinux side of `types` of `policy`, which has them and types enough to stand for all others of the bundle.

    Raises Unlike where more than that differs from the bundle, or something does not hold; CilError where libsepol
    refuses it.
    """
    types = tuple(types)
    host = policy.host
    named = {*host.sets, *host.verbs, *host.subject_labels, *host.object_labels}
    if doubtful := sorted(filter(may_be_digit, named)):
        raise Unlike(f"{doubtful[0]} is named as sets by digit are")
    given = json.loads(bundle.bytes("host/container_labels.json"))["types"]
    if changed := [c.name for c in types if given.get(c.name) != contract.labels(c)]:
        raise Unlike(f"a runtime has other labels for {changed[0]}")
    writer = Writer(policy)
    host_cil = kernel_files(policy, writer)[0][0][1]
    standing = {c.name: bundle.bytes(f"containers/{c.name}/selinux.cil") for c in types}
    if _without_digits(host_cil) != _without_digits(bundle.bytes("host/policy.cil")):
        raise Unlike("the host's policy is another")
    # What is written from here on is for the bundle, whose labels have other numbers.
    for container in types:
        if writer.own.get(container.domain) == container.name:
            writer.attributes.carry(container.domain, filter(is_digit, _sets(standing[container.name])))
    artefacts: list[Artefact] = []
    touched: set[str] = set()
    for container in types:
        old, new = standing[container.name], writer.type_cil(container)
        if container.domain not in writer.own:
            new = _with_head(new, old)
        elif _statements(new)[0] != _statements(old)[0]:
            raise Unlike(f"{container.domain} is in other sets")
        elif (said := _statements(new)[1]) != (was := _statements(old)[1]):
            touched.add(container.domain)
            of_others = _spoken_of(host_cil.split(b"\n"))
            if alone := ((_spoken_of(said) ^ _spoken_of(was)) & writer.attributes.members.keys()) - of_others:
                raise Unlike(f"nothing but {container.domain} speaks of {min(alone)}")
        artefacts += _files(container, writer, new, bundle)
    path, kernel = kernel_policy(bundle)
    if not touched:
        return Relabelled(tuple(artefacts), kernel, {}, {})
    before = Rules(kernel)
    had = _table(policy, before, touched, "allow")
    kernel = with_rules_of(before, Rules(_compiled(policy, touched, had)), touched)
    after = Rules(kernel, before)
    has = _table(policy, after, touched, "allow")
    if faults := list(_faults(policy, touched, has, _table(policy, after, touched, "dontaudit"))):
        raise Unlike(faults[0])
    return Relabelled((*artefacts, Artefact(path, kernel, BINARY)), kernel, had, has)


def _compiled(policy: Policy, domains: set[str], before: Table) -> bytes:
    """The kernel policy of the host and of some domains: those of others are declared and have no rules of their own.

    All rules whose source is one of `domains` are there. Of the promises, those are held against them that a domain
    makes itself and those that what it gained, by what it had `before`, could break; libsepol takes its time for each.
    """
    given = {pair: access for pair, access in grants(policy.host).items() if pair[0] in domains}
    gained = 0
    for more, _ in _changes(before, given).values():
        gained |= more
    makers = {c.name for c in policy.containers.values() if c.domain in domains}
    promises = {p.name: p for p in label_promises(policy) if p.own in makers or p.access & gained}
    policy = replace(policy, promises=promises)
    writer = Writer(policy)
    others = {f"containers/{maker}/selinux.cil" for domain, maker in writer.own.items() if domain not in domains}
    files = kernel_files(policy, writer)[0]
    few = [(name, text.partition(b"(block ")[0] if name in others else text) for name, text in files]
    return compile_cil(few).policy


def _files(container: ContainerType, writer: Writer, cil: bytes, bundle: Bundle) -> Iterator[Artefact]:
    folder = f"containers/{container.name}"
    te, fc = type_te(container, writer), type_fc(container)
    if body(te) == body(bundle.bytes(f"{folder}/selinux.te")):
        package = bundle.bytes(f"{folder}/selinux.pp")
    else:
        package = build_pp(te, fc)
    yield Artefact(f"{folder}/selinux.cil", cil, CIL)
    yield Artefact(f"{folder}/selinux.te", te, TEXT)
    yield Artefact(f"{folder}/selinux.fc", fc, TEXT)
    yield Artefact(f"{folder}/selinux.pp", renamed(package, te, fc), BINARY)


def _without_digits(cil: bytes) -> list[bytes]:
    """The lines that do not depend on how many labels there are."""
    return [line for line in cil.split(b"\n") if b"_digit_" not in line or not line.lstrip().startswith(_BY_DIGIT)]


def _sets(cil: bytes) -> list[str]:
    """The sets that a container type's file puts its domain in."""
    start = b"(typeattributeset "
    return [line[len(start) :].split()[0].decode() for line in cil.split(b"\n") if line.startswith(start)]


def _statements(cil: bytes) -> tuple[list[bytes], list[bytes]]:
    """What a container type's file declares, and what its block says."""
    head, _, block = cil.partition(b"(block ")
    return _uncommented(head), _uncommented(block)


def _spoken_of(lines: Iterable[bytes]) -> set[str]:
    """The types and attributes in these rules. An attribute that no rule speaks of is not in a kernel policy."""
    rules = (line.split() for line in lines if line.lstrip().startswith(_RULES))
    return {name.decode() for rule in rules for name in rule[1:3]}


def _uncommented(cil: bytes) -> list[bytes]:
    return [line for line in cil.split(b"\n") if not line.lstrip().startswith(b";")]


def _with_head(new: bytes, old: bytes) -> bytes:
    """The file that stands, with another head. Unlike where its rules are others: the host's policy has these too."""
    (head, mark, rest), (_, _, stands) = new.partition(b"(block "), old.partition(b"(block ")
    if _without_digits(rest) != _without_digits(stands):
        raise Unlike("rules of the host's policy are others")
    return head + mark + stands


def _faults(policy: Policy, domains: set[str], allowed: Table, quiet: Table) -> Iterator[str]:
    """Every way in which what the domains have is not what the source says, or breaks a promise."""
    for what, wanted, found in (
        ("allows", grants(policy.host), allowed),
        ("denies without a record", unreported(policy.host), quiet),
    ):
        mine = {pair: access for pair, access in wanted.items() if pair[0] in domains}
        for (domain, target), (more, less) in _changes(mine, found).items():
            yield f"the kernel policy {what} {domain} on {target} not what the source says: {words(more | less)}"
    for promise in label_promises(policy):
        for domain, target, access in breaches(promise, allowed):
            yield f"the kernel policy breaks promise `{promise.name}`: {domain} on {target} {words(access)}"


def _changes(before: Table, after: Table) -> dict[tuple[str, str], tuple[int, int]]:
    """(label, label) -> (access gained, access lost), where there is any."""
    pairs = sorted(before.keys() | after.keys())
    found = {pair: (before.get(pair, 0), after.get(pair, 0)) for pair in pairs}
    return {pair: (new & ~old, old & ~new) for pair, (old, new) in found.items() if old != new}


def _table(policy: Policy, rules: Rules, domains: set[str], kind: str) -> dict[tuple[str, str], int]:
    """What rules of a kind say of the domains and the labels of `policy`, by the kernel policy alone."""
    numbers, members = values(rules.policy), dict[int, list[str]]()
    for label in policy.host.subject_labels | policy.host.object_labels:
        for symbol in rules.policy.member_of[numbers[label]]:
            members.setdefault(symbol, []).append(label)
    found: dict[tuple[str, str], dict[str, frozenset[str]]] = {}
    for domain in domains:
        for row in rules.vectors(kind, rules.policy.member_of[numbers[domain]]):
            tclass = rules.policy.classes[row.tclass]
            permissions = frozenset(name for name, bit in tclass.permissions.items() if row.data & bit)
            for label in members.get(row.target, ()):
                vectors = found.setdefault((domain, label), {})
                vectors[tclass.name] = vectors.get(tclass.name, frozenset()) | permissions
    return table_of_vectors(found)
