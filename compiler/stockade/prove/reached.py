"""What a change of container files reaches, by what the last build knew, and which types stand for all the others."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from dataclasses import replace

from stockade.bundle.memory import Memory, TypeMemory
from stockade.bundle.summary import Statements
from stockade.model.alike import kinds
from stockade.model.container import ContainerType
from stockade.model.host import Rule
from stockade.model.policy import Policy
from stockade.model.promise import LabelPromise
from stockade.selinux.cil import own_domains
from stockade.source.files import SourceFile, digests


def known_of(files: list[SourceFile], policy: Policy, said: Mapping[str, tuple[str, ...]], settled: int) -> Memory:
    """What a whole build of `files` knows of its policy; `said` are the lines of a report by container type.

    `settled` is when the bundle was written.
    """
    data = {file.name: file.data for file in files}
    plain = frozenset(c.at.file for c in policy.containers.values() if _plain(data[c.at.file]))
    words = {word for name in data.keys() - plain for word in re.findall(rb"[A-Za-z0-9_-]+", data[name])}
    named = frozenset({policy.default, *(name for name in policy.containers if name.encode() in words)})
    types = _types(policy, policy.containers.keys(), said)
    return Memory(digests(files), plain, named, dict(kinds(policy).first), types, len(policy.promises), settled)


def known_after(
    files: list[SourceFile],
    memory: Memory,
    policy: Policy,
    reached: Collection[str],
    said: Mapping[str, tuple[str, ...]],
    settled: int,
) -> Memory:
    """What a whole build of `files` would know, where `reached` are the types of `policy` that were built again."""
    types = _types(policy, reached, said)
    changed = {known.domain for name, known in types.items() if known.labels != memory.types[name].labels}
    return replace(
        memory,
        files=digests(files),
        kinds=_kinds_after(policy, memory, changed & own_domains(policy).keys()),
        types={**memory.types, **types},
        promises=memory.promises + sum(known.promises - memory.types[name].promises for name, known in types.items()),
        settled=settled,
    )


def _types(policy: Policy, names: Iterable[str], said: Mapping[str, tuple[str, ...]]) -> dict[str, TypeMemory]:
    labels, own = _labels(policy), own_domains(policy)
    promises = Counter(promise.own for promise in policy.promises.values() if isinstance(promise, LabelPromise))
    return {
        c.name: TypeMemory(
            file=c.at.file,
            extends=c.extends or "",
            domain=c.domain,
            declares=own.get(c.domain) == c.name,
            labels=labels(c),
            layers=layers_of(c),
            promises=promises[c.name],
            line=said[c.name],
        )
        for c in map(policy.containers.__getitem__, names)
    }


def layers_of(container: ContainerType) -> tuple[str, ...]:
    """The capabilities and address families of a type, which rules are within for its domain."""
    return (*sorted(container.capabilities["bounding"]), *sorted(container.sockets.families))


def _plain(data: bytes) -> bool:
    """Whether a file cannot have groups of system calls, which are for all types."""
    return b"groups" not in data


def reached_types(files: list[SourceFile], memory: Memory) -> frozenset[str]:
    """The container types that are not what they were; none where something else changed than files of types."""
    if {file.name for file in files} != memory.files.keys():
        return frozenset()
    changed = {f.name: f.data for f in files if hashlib.sha256(f.data).hexdigest() != memory.files[f.name]}
    if not changed.keys() <= memory.plain or not all(map(_plain, changed.values())):
        return frozenset()
    return _with_heirs({name for name, known in memory.types.items() if known.file in changed}, memory)


def with_neighbours(reached: frozenset[str], domains: Collection[str], memory: Memory) -> frozenset[str]:
    """The types that are reached where these domains are not what they were: all that have them too."""
    return _with_heirs(reached | {name for name, known in memory.types.items() if known.domain in domains}, memory)


def _with_heirs(reached: Set[str], memory: Memory) -> frozenset[str]:
    """These types and all that extend them."""
    while more := {name for name, known in memory.types.items() if known.extends in reached} - reached:
        reached |= more
    return frozenset(reached)


def enough_files(files: list[SourceFile], memory: Memory, reached: frozenset[str]) -> list[SourceFile]:
    """The files that say enough to build the types that are reached."""
    names = reached | stand_ins(memory, reached)
    while more := {memory.types[name].extends for name in names} - names - {""}:
        names |= more
    wanted = {memory.types[name].file for name in names}
    return [file for file in files if file.name not in memory.plain or file.name in wanted]


def stand_ins(memory: Memory, reached: frozenset[str]) -> frozenset[str]:
    """Types that stand for all that are not `reached`, in what SELinux knows of them.

    They are those that something names, that others extend, or whose domain is like no other; two domains of each kind;
    and types enough that each of these domains has all the capabilities and address families that it had.
    """
    touched = {memory.types[name].domain for name in reached}
    alike: dict[str, list[str]] = {}
    for label, first in sorted(memory.kinds.items()):
        if label not in touched:
            alike.setdefault(first, []).append(label)
    left_out = {label for labels in alike.values() for label in labels[2:]}
    kept = {known.extends for known in memory.types.values() if known.extends} | memory.named
    kept |= {name for name, known in memory.types.items() if known.declares and known.domain not in left_out}
    together: dict[str, set[str]] = {}
    for name, known in sorted(memory.types.items(), key=lambda item: (item[0] not in kept, item[0])):
        if name in reached:
            continue  # it may have others by now
        seen = together.setdefault(known.domain, set())
        if name in kept or (known.domain not in left_out and not seen.issuperset(known.layers)):
            kept.add(name)
            seen.update(known.layers)
    return frozenset(kept)


def relabelled_types(policy: Policy, files: list[SourceFile], memory: Memory) -> frozenset[str] | None:
    """The types of `policy`, built from `files`, of which SELinux knows something else than it knew.

    None where a file declares other types than it declared, or one of them has another domain or extends another.
    """
    read_ = {file.name for file in files}
    declared = {name for name, known in memory.types.items() if known.file in read_}
    if declared != policy.containers.keys():
        return None
    own = own_domains(policy)
    for c in policy.containers.values():
        known = memory.types[c.name]
        now = c.at.file, c.extends or "", c.domain, own.get(c.domain) == c.name
        if now != (known.file, known.extends, known.domain, known.declares):
            return None
    labels = _labels(policy)
    return frozenset(c.name for c in policy.containers.values() if labels(c) != memory.types[c.name].labels)


def _kinds_after(policy: Policy, memory: Memory, domains: Collection[str]) -> dict[str, str]:
    """The kinds of domains where `domains` are not what they were: `policy` has those that stand for all others."""
    groups = [group - set(domains) for group in _groups(memory.kinds)]
    for now in _groups(kinds(policy).first):
        if not now.isdisjoint(domains):
            together = now.union(*(group for group in groups if not group.isdisjoint(now)))
            groups = [*(group for group in groups if group.isdisjoint(now)), together]
    return {label: min(group) for group in groups if len(group) > 2 for label in group}


def _groups(first: Mapping[str, str]) -> list[set[str]]:
    """The domains of each kind."""
    found: dict[str, set[str]] = {}
    for label, one in first.items():
        found.setdefault(one, set()).add(label)
    return list(found.values())


def _labels(policy: Policy) -> Callable[[ContainerType], str]:
    """A digest of all that the SELinux side of a bundle has from a container type, and from the domain that it uses.

    Capabilities and address families reach it through the domain: as all that the domain's types have together.
    """
    statements, of_domain = Statements(policy), dict[str, str]()
    quiet: dict[str, list[Rule]] = {}
    for rule in policy.host.rules:
        if rule.origin and not rule.audit:
            for label in frozenset().union(*(part.members for part in rule.who.parts)):
                quiet.setdefault(label, []).append(rule)

    def domain(label: str) -> str:
        if label not in of_domain:
            rules = [*statements.rules.get(label, ()), *quiet.get(label, ())]
            promises = [p for p in statements.promises.get(label, ()) if p.own]
            said = [
                (str(s.at), s.why, f"{s.access:x}", s.what.but_itself, [part.name for part in s.what.parts])
                for s in (*rules, *promises)
            ]
            of_domain[label] = _digest([said, [isinstance(s, LabelPromise) for s in (*rules, *promises)]])
        return of_domain[label]

    together: dict[str, set[str]] = {}
    for container in policy.containers.values():
        together.setdefault(container.domain, set()).update(layers_of(container))
    return lambda c: _digest(
        [
            [c.name, c.extends, c.domain, c.files, c.level, str(c.at), c.why, domain(c.domain)],
            sorted(together[c.domain]),
        ]
    )


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
