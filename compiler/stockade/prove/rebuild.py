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
from stockade.bundle.memory import recall, remember
from stockade.bundle.read import Bundle
from stockade.bundle.write import write
from stockade.model.alike import Kinds
from stockade.model.policy import Policy
from stockade.oci.build import OciError
from stockade.prove.bundled import kernel_policy
from stockade.prove.kept import action_promises
from stockade.prove.matrix import policy_matrix, with_rows
from stockade.prove.policy import layer_faults, source_findings
from stockade.prove.reached import enough_files, known_of, layers_of, reached_types, same_labels
from stockade.seccomp.oci import NotRepresentable
from stockade.selinux.libsepol import Decisions, SepolError
from stockade.source.diagnostics import PolicyError
from stockade.source.files import SourceFile, digest, digests
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
        enough = enough_files(files, memory, reached)
        policy = build(enough)
        if any(container.complains for container in policy.containers.values()) or bundle.manifest.complaining:
            return None  # what a promise is worth there is for a whole build to say
        if not same_labels(policy, enough, memory) or source_findings(policy):
            return None
        alone = replace(policy, containers={name: policy.containers[name] for name in sorted(reached)})
        types = alone.containers.values()
        layers = compile_layers(policy, types)
        with Decisions(kernel_policy(bundle)[1]) as oracle:
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
    known = {**memory.types}
    for name, container in alone.containers.items():
        known[name] = replace(known[name], layers=layers_of(container), line=new[name])
    memory = replace(memory, files=digests(files), types=known)
    remember(hashlib.sha256(manifest.to_json()).hexdigest(), memory)
    return Rebuilt(
        manifest, {name: found.line for name, found in known.items()}, tuple(alone.containers), memory.promises
    )


def memorise(manifest: Manifest, files: list[SourceFile], policy: Policy, said: Mapping[str, tuple[str, ...]]) -> None:
    """Remember a whole build, for `rebuild`; `said` are its lines by container type."""
    remember(hashlib.sha256(manifest.to_json()).hexdigest(), known_of(files, policy, said))


def _is_kept(entry: Entry, reached: frozenset[str]) -> bool:
    """Whether a file of the standing bundle is one of the new bundle too."""
    folder, _, rest = entry.path.partition("/")
    name, _, file = rest.partition("/")
    return folder != "containers" or name not in reached or file.startswith("selinux.")
