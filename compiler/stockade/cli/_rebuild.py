"""Building again after container files changed: what the change cannot reach is kept, byte for byte.

An artefact is kept when its bytes are those that were proven, by the digest in the manifest, and everything that it was
proven against is the same: the compiler, every file of the source but container files, its own type's file and those of
the types that it extends, and what SELinux knows of every type. That last part is looked at here: a change of it, like
every other doubt, means that there is nothing to keep, and all is built anew.

What is not kept is compiled and proven as ever, with as much of the policy as stands for all of it: the changed types,
those that they extend and those that extend them, what the rest of the source names, two of each kind of domain that
are alike, and types enough that each domain has all the capabilities and sockets that it had.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from stockade.bundle.compile import compile_layers
from stockade.bundle.manifest import BundleError, Entry, Manifest
from stockade.bundle.memory import Memory, TypeMemory, recall, remember
from stockade.bundle.read import Bundle
from stockade.bundle.summary import Statements, always_allowed
from stockade.bundle.write import write
from stockade.model.alike import Kinds, kinds
from stockade.model.container import ContainerType
from stockade.model.host import Rule
from stockade.model.once import Once
from stockade.model.policy import Policy
from stockade.model.promise import LabelPromise
from stockade.oci.build import OciError
from stockade.prove.kept import action_promises
from stockade.prove.matrix import policy_matrix, with_rows
from stockade.prove.policy import layer_faults, source_findings
from stockade.seccomp.explain import explain
from stockade.seccomp.oci import NotRepresentable
from stockade.selinux.libsepol import Decisions, SepolError
from stockade.source.diagnostics import PolicyError
from stockade.source.files import SourceFile, digest, digests
from stockade.source.load import build

_KERNEL_POLICY = re.compile(r"host/policy\.[0-9]+")


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A bundle that was built again: `lines` are those of a report by container type, `types` those that were."""

    manifest: Manifest
    lines: Mapping[str, tuple[str, ...]]
    types: tuple[str, ...]
    promises: int


def rebuild(files: list[SourceFile], bundle: Bundle, output: Path, source: str, compiler: str) -> Rebuilt | None:
    """The `bundle` at `output`, built again from `files`; None where that takes a whole build, and nothing was written.

    `source` and `compiler` are the digests of the files and of this compiler.
    """
    try:
        memory = recall(bundle.digest)
        if memory is None or bundle.manifest.compiler != compiler or digest(memory.files) != bundle.manifest.source:
            return None
        reached = _reached(files, memory)
        if not reached:
            return None
        enough = _enough(files, memory, reached)
        policy = build(enough)
        if any(container.complains for container in policy.containers.values()) or bundle.manifest.complaining:
            return None  # what a promise is worth there is for a whole build to say
        if not _same_labels(policy, enough, memory) or source_findings(policy):
            return None
        alone = replace(policy, containers={name: policy.containers[name] for name in sorted(reached)})
        types = alone.containers.values()
        layers = compile_layers(policy, types)
        kernel_policy = next(e.path for e in bundle.manifest.entries if _KERNEL_POLICY.fullmatch(e.path))
        with Decisions(bundle.bytes(kernel_policy)) as oracle:
            matrix = policy_matrix(alone, oracle, Kinds())
        if [*action_promises(alone, matrix), *layer_faults(policy, types, layers)]:
            return None
        manifest = write(
            output,
            with_rows((artefact for name in alone.containers for artefact in layers.artefacts[name]), matrix),
            policy_name=policy.host.name,
            policy_version=policy.host.version,
            source_digest=source,
            compiler_digest=compiler,
            standing=bundle,
            kept=[entry for entry in bundle.manifest.entries if _is_kept(entry, reached)],
        )
    except (BundleError, PolicyError, NotRepresentable, OciError, SepolError):
        return None  # a whole build says what is wrong
    new = lines(types, layers.filters)
    known = {name: replace(known, line=new.get(name, known.line)) for name, known in memory.types.items()}
    memory = replace(memory, files=digests(files), types=known)
    remember(hashlib.sha256(manifest.to_json()).hexdigest(), memory)
    return Rebuilt(
        manifest, {name: found.line for name, found in known.items()}, tuple(alone.containers), memory.promises
    )


def memorise(manifest: Manifest, files: list[SourceFile], policy: Policy, said: Mapping[str, tuple[str, ...]]) -> None:
    """Remember a whole build, for `rebuild`; `said` are its lines by container type."""
    data = {file.name: file.data for file in files}
    plain = frozenset(c.at.file for c in policy.containers.values() if _plain(data[c.at.file]))
    words = {word for name in data.keys() - plain for word in re.findall(rb"[A-Za-z0-9_-]+", data[name])}
    labels = _labels(policy)
    types = {
        c.name: TypeMemory(c.at.file, c.extends or "", labels(c), said[c.name]) for c in policy.containers.values()
    }
    named = {name for name in policy.containers if name.encode() in words}
    memory = Memory(digests(files), plain, _core(policy, named), types, len(policy.promises))
    remember(hashlib.sha256(manifest.to_json()).hexdigest(), memory)


def lines(types: Iterable[ContainerType], filters: Mapping[tuple[str, str], bytes]) -> dict[str, tuple[str, ...]]:
    """What a build says of each container type in one line."""
    explained = Once(explain)
    return {
        c.name: (
            c.name,
            c.domain,
            str(len(c.capabilities["bounding"])),
            str(len(c.sockets.families)),
            str(len(always_allowed(c, explained))),
            " ".join(f"{arch}:{len(filters[c.name, arch]) // 8}" for arch in c.architectures),
            _bytes(c.cgroup.get("memory.max")),
            str(c.cgroup.get("pids.max", "-")),
        )
        for c in types
    }


def _plain(data: bytes) -> bool:
    """Whether a file cannot have groups of system calls, which are for all types."""
    return b"groups" not in data


def _reached(files: list[SourceFile], memory: Memory) -> frozenset[str]:
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


def _enough(files: list[SourceFile], memory: Memory, reached: frozenset[str]) -> list[SourceFile]:
    """The files that say enough to build the types that are reached."""
    names = reached | memory.core
    while more := {memory.types[name].extends for name in names} - names - {""}:
        names |= more
    wanted = {memory.types[name].file for name in names}
    return [file for file in files if file.name not in memory.plain or file.name in wanted]


def _same_labels(policy: Policy, files: list[SourceFile], memory: Memory) -> bool:
    """Whether SELinux knows of every type what it knew, and every file declares the types that it declared."""
    labels, read_ = _labels(policy), {file.name for file in files}
    declared = {name for name, known in memory.types.items() if known.file in read_}
    return declared == policy.containers.keys() and all(
        labels(c) == memory.types[c.name].labels and c.at.file == memory.types[c.name].file
        for c in policy.containers.values()
    )


def _labels(policy: Policy) -> Callable[[ContainerType], str]:
    """A digest of all that the SELinux side of a bundle has from a container type, and from the domain that it uses."""
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

    return lambda c: _digest(
        [
            [c.name, c.extends, c.domain, c.files, c.level, str(c.at), c.why, domain(c.domain)],
            sorted(c.capabilities["bounding"]),
            sorted(c.sockets.families),
        ]
    )


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _core(policy: Policy, named: Iterable[str]) -> frozenset[str]:
    """Container types that stand for all others in what SELinux knows of them."""
    left_out = kinds(policy).left_out
    kept = {policy.default, *named, *(c.extends for c in policy.containers.values() if c.extends)}
    kept |= {s.declared_by for s in policy.host.subjects.values() if s.declared_by and s.label not in left_out}
    layers: dict[str, set[str]] = {}
    for container in sorted(policy.containers.values(), key=lambda c: (c.name not in kept, c.name)):
        has = {*container.capabilities["bounding"], *container.sockets.families, ""}
        seen = layers.setdefault(container.domain, set())
        if container.name in kept or (container.domain not in left_out and not has <= seen):
            kept.add(container.name)
            seen |= has
    return frozenset(kept)


def _is_kept(entry: Entry, reached: frozenset[str]) -> bool:
    """Whether a file of the standing bundle is one of the new bundle too."""
    folder, _, rest = entry.path.partition("/")
    name, _, file = rest.partition("/")
    return folder != "containers" or name not in reached or file.startswith("selinux.")


def _bytes(value: object) -> str:
    """A size for a person: the largest binary unit that it is a whole number of."""
    if not isinstance(value, int):
        return "-"
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    power = 0
    while value and value % 1024 == 0 and power < len(units) - 1:
        value, power = value // 1024, power + 1
    return f"{value} {units[power]}"
