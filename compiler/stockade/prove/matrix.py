"""Every action in every container type: how many layers stop it, and which; from a policy or from a bundle alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from stockade.bundle.actions import Catalogue, catalogue
from stockade.bundle.read import Bundle
from stockade.bundle.write import Artefact
from stockade.model.action import ESCAPES, ActionCase, Need
from stockade.model.alike import Kinds, few
from stockade.model.once import Once
from stockade.model.policy import Policy
from stockade.oci.build import as_said, to_runtime_spec
from stockade.prove.actions import Verdict, decide
from stockade.prove.confined import Confined, Oracle, of_bundle, of_type, source_filter
from stockade.prove.remembered import Remembered
from stockade.selinux.decisions import Decisions

_COUNT = {0: "stopped by nothing", 1: "stopped by one layer", 2: "stopped by two layers", 3: "stopped by three layers"}


@dataclass(frozen=True, slots=True)
class Matrix:
    """Verdicts by action and container type, both sorted by name; `counts` has how many layers stop each."""

    types: tuple[str, ...]
    actions: Mapping[str, ActionCase]
    verdicts: Mapping[tuple[str, str], Verdict]

    counts: Mapping[tuple[str, str], int]

    def layers(self, action: str, container: str) -> int:
        """How many layers must be broken before a container of this type can do this."""
        return self.counts[action, container]

    def held(self, container: str, layers: int) -> tuple[int, int]:
        """(escapes that at least `layers` layers stop, all escapes) for one type."""
        escapes = [name for name, action in self.actions.items() if action.aim in ESCAPES]
        return sum(self.layers(name, container) >= layers for name in escapes), len(escapes)


def _matrix(actions: Mapping[str, ActionCase], types: Mapping[str, Confined], oracle: Oracle) -> Matrix:
    """Types that are alike in all that an action's needs rest on have one verdict between them."""
    remembered = Remembered(oracle)
    needed = {name: {type(need) for way in action.ways for need in way} for name, action in actions.items()}
    numbers: dict[tuple[object, ...], int] = {}
    rests_on = {
        name: {
            kind: numbers.setdefault((kind, *remembered.facets(confined, kind)), len(numbers))
            for kind in frozenset[type[Need]]().union(*needed.values())
        }
        for name, confined in types.items()
    }
    known: dict[tuple[object, ...], tuple[Verdict, int]] = {}
    verdicts: dict[tuple[str, str], Verdict] = {}
    counts: dict[tuple[str, str], int] = {}
    for action in actions.values():
        kinds = tuple(needed[action.name])
        for name, confined in types.items():
            key = (action.name, *(rests_on[name][kind] for kind in kinds))
            if key not in known:
                verdict = decide(confined, action, remembered)
                known[key] = verdict, len(verdict.stopping)
            verdicts[action.name, name], counts[action.name, name] = known[key]
    return Matrix(tuple(sorted(types)), dict(sorted(actions.items())), verdicts, counts)


def policy_matrix(policy: Policy, oracle: Oracle, alike: Kinds | None = None) -> Matrix:
    """The matrix of a policy as its source says; `oracle` decides about labels.

    `alike` says which domains no decision of the oracle tells apart, for whoever wants to know which layers stop what,
    and not in what words: one verdict stands for all types that are alike, without places in the source. Such a policy
    has been compiled.
    """
    spec = to_runtime_spec if alike is None else as_said
    filters, subjects, known = Once(source_filter), policy.host.subject_labels, alike or Kinds()
    types = {}
    for name, container in policy.containers.items():
        stands_for = replace(container, domain=known.first.get(container.domain, container.domain))
        types[name] = replace(of_type(policy, stands_for, filters, spec), subjects=subjects)
        if alike is not None:
            types[name] = replace(types[name], place=_nowhere)
    return _matrix(few(policy, known).actions, types, oracle)


def _nowhere(key: str) -> str:
    return ""


def bundle_matrix(bundle: Bundle, oracle: Decisions, runtime: str = "runc") -> Matrix:
    """The matrix of a bundle as its artefacts say, its containers started by this runtime. BundleError."""
    known = catalogue(bundle)
    types = {
        name: replace(confined_in(bundle, known, name, oracle.permissive), runtime=runtime) for name in bundle.types
    }
    return _matrix(known.actions, types, oracle)


def confined_in(bundle: Bundle, known: Catalogue, name: str, permissive: frozenset[str]) -> Confined:
    """One container type of a bundle; `permissive` are the labels that its kernel policy never denies. BundleError."""
    return of_bundle(bundle, name, known.subjects, known.categories, permissive)


def with_rows(artefacts: Iterable[Artefact], matrix: Matrix) -> tuple[Artefact, ...]:
    """The same artefacts with each type's row of the matrix at the end of its `summary.md`."""
    paths = {f"containers/{name}/summary.md": name for name in matrix.types}
    return tuple(
        replace(artefact, content=artefact.content + row(matrix, paths[artefact.path]))
        if artefact.path in paths
        else artefact
        for artefact in artefacts
    )


def row(matrix: Matrix, container: str) -> bytes:
    """One type's row, as a section for a person: the actions by how many layers stop them, fewest first."""
    held, escapes = matrix.held(container, 2)
    lines = ["", "## What it could try", ""]
    lines += [f"Of {escapes} ways to reach the kernel, the host or a neighbour, two layers or more stop {held}.", ""]
    by_layers: dict[int, list[str]] = {}
    for name in matrix.actions:
        by_layers.setdefault(matrix.layers(name, container), []).append(name)
    for layers, names in sorted(by_layers.items()):
        lines.append(f"- {_COUNT.get(layers, f'stopped by {layers} layers')}: {', '.join(names)}")
    return ("\n".join(lines) + "\n").encode()
