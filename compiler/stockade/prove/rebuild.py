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
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from stockade.bundle.compile import compile_layers
from stockade.bundle.lines import lines
from stockade.bundle.manifest import BundleError, Entry, Manifest
from stockade.bundle.memory import Memory, recall, remember
from stockade.bundle.read import Bundle
from stockade.bundle.write import settle_time, write
from stockade.model.alike import Kinds
from stockade.model.policy import Policy
from stockade.oci.build import OciError
from stockade.prove.bundled import kernel_policy
from stockade.prove.kept import action_promises
from stockade.prove.matrix import policy_matrix, with_rows
from stockade.prove.policy import layer_faults, source_findings
from stockade.prove.reached import (
    enough_files,
    known_after,
    known_of,
    reached_types,
    relabelled_types,
    with_neighbours,
)
from stockade.prove.relabel import relabel
from stockade.seccomp.oci import NotRepresentable
from stockade.selinux.cil import own_domains
from stockade.selinux.libsepol import Decisions, SepolError
from stockade.selinux.module import ModuleError
from stockade.selinux.policydb import PolicydbError
from stockade.selinux.policydb_rules import Unlike
from stockade.source.diagnostics import PolicyError
from stockade.source.files import SourceFile, digest
from stockade.source.load import build


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
        reached = reached_types(files, memory)
        if not reached:
            return None
        reached, policy, relabelled = _enough(files, memory, reached)
        if not relabelled <= reached or bundle.manifest.complaining:
            return None
        if any(container.complains for container in policy.containers.values()):
            return None  # what a promise is worth there is for a whole build to say
        if source_findings(policy):
            return None
        alone = replace(policy, containers={name: policy.containers[name] for name in sorted(reached)})
        types = alone.containers.values()
        layers = compile_layers(policy, types)
        selinux = relabel(policy, bundle, (c for c in types if c.name in relabelled)) if relabelled else None
        with Decisions(selinux.kernel_policy if selinux else kernel_policy(bundle)[1]) as oracle:
            matrix = policy_matrix(alone, oracle, Kinds())
            denied = list(selinux.denied(policy, oracle)) if selinux else []
        if [*denied, *action_promises(alone, matrix), *layer_faults(policy, types, layers)]:
            return None
        others = selinux.artefacts if selinux else ()
        rewritten = {artefact.path for artefact in others}
        manifest = write(
            output,
            [*with_rows((a for name in alone.containers for a in layers.artefacts[name]), matrix), *others],
            policy_name=policy.host.name,
            policy_version=policy.host.version,
            source_digest=source,
            compiler_digest=compiler,
            standing=bundle,
            kept=[e for e in bundle.manifest.entries if e.path not in rewritten and _is_kept(e, reached)],
            settled=memory.settled,
        )
    except (BundleError, PolicyError, NotRepresentable, OciError, SepolError, ModuleError, PolicydbError, Unlike):
        return None  # a whole build says what is wrong
    memory = known_after(files, memory, policy, reached, lines(types, layers.filters), settle_time(output))
    remember(hashlib.sha256(manifest.to_json()).hexdigest(), memory)
    return Rebuilt(
        manifest, {name: known.line for name, known in memory.types.items()}, tuple(alone.containers), memory.promises
    )


def _enough(
    files: list[SourceFile], memory: Memory, reached: frozenset[str]
) -> tuple[frozenset[str], Policy, frozenset[str]]:
    """The types that are reached, a policy that says enough of all, and those of which SELinux knows something else.

    Unlike where types are others than they were.
    """
    while True:
        enough = enough_files(files, memory, reached)
        policy = build(enough)
        relabelled = relabelled_types(policy, enough, memory)
        if relabelled is None:
            raise Unlike("types are others")
        domains = {policy.containers[name].domain for name in relabelled} & own_domains(policy).keys()
        if (more := with_neighbours(reached, domains, memory)) == reached:
            return reached, policy, relabelled
        reached = more


def memorise(
    manifest: Manifest, output: Path, files: list[SourceFile], policy: Policy, said: Mapping[str, tuple[str, ...]]
) -> None:
    """Remember a whole build at `output`, for `rebuild`; `said` are its lines by container type."""
    known = known_of(files, policy, said, settle_time(output))
    remember(hashlib.sha256(manifest.to_json()).hexdigest(), known)


def _is_kept(entry: Entry, reached: frozenset[str]) -> bool:
    """Whether a file of the standing bundle is one of the new bundle too."""
    folder, _, rest = entry.path.partition("/")
    name, _, file = rest.partition("/")
    return folder != "containers" or name not in reached or file.startswith("selinux.")
