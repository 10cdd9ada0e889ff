"""What a change of container files reaches, by what the last build knew, and which types stand for all the others."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping

from stockade.bundle.memory import Memory, TypeMemory
from stockade.bundle.summary import Statements
from stockade.model.alike import kinds
from stockade.model.container import ContainerType
from stockade.model.host import Rule
from stockade.model.policy import Policy
from stockade.model.promise import LabelPromise
from stockade.source.files import SourceFile, digests


def known_of(files: list[SourceFile], policy: Policy, said: Mapping[str, tuple[str, ...]]) -> Memory:
    """What a whole build of `files` knows of its policy; `said` are the lines of a report by container type."""
    data = {file.name: file.data for file in files}
    plain = frozenset(c.at.file for c in policy.containers.values() if _plain(data[c.at.file]))
    words = {word for name in data.keys() - plain for word in re.findall(rb"[A-Za-z0-9_-]+", data[name])}
    labels = _labels(policy)
    own = {s.declared_by for s in policy.host.subjects.values()}
    types = {
        c.name: TypeMemory(
            file=c.at.file,
            extends=c.extends or "",
            domain=c.domain,
            declares=c.name in own,
            labels=labels(c),
            layers=layers_of(c),
            line=said[c.name],
        )
        for c in policy.containers.values()
    }
    named = frozenset({policy.default, *(name for name in policy.containers if name.encode() in words)})
    return Memory(digests(files), plain, named, dict(kinds(policy).first), types, len(policy.promises))


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
    reached = {name for name, known in memory.types.items() if known.file in changed}
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


def same_labels(policy: Policy, files: list[SourceFile], memory: Memory) -> bool:
    """Whether SELinux knows of every type what it knew, and every file declares the types that it declared."""
    labels, read_ = _labels(policy), {file.name for file in files}
    declared = {name for name, known in memory.types.items() if known.file in read_}
    return declared == policy.containers.keys() and all(
        labels(c) == memory.types[c.name].labels and c.at.file == memory.types[c.name].file
        for c in policy.containers.values()
    )


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
