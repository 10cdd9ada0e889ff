"""Everything that is proven of a policy: what its source promises, and that what was compiled is what it says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from stockade.bundle.compile import Compiled, Layers
from stockade.model.alike import Kinds, few, kinds
from stockade.model.container import ContainerType
from stockade.model.finding import Finding
from stockade.model.grants import Grants, grants
from stockade.model.once import Once
from stockade.model.policy import Policy
from stockade.model.seccomp import SyscallPolicy
from stockade.oci.prove import prove_oci as prove_spec
from stockade.prove.binary import disagreements, kinds_in
from stockade.prove.containers import loose_layers, unknown_options, widenings
from stockade.prove.contract import contract_faults, contract_findings
from stockade.prove.expected import meaningless
from stockade.prove.kept import action_promises
from stockade.prove.labels import broken_promises, incomplete_promises
from stockade.prove.matrix import Matrix, policy_matrix
from stockade.prove.mutation import stale_waivers, unguarded
from stockade.seccomp.emulate import BadProgram
from stockade.seccomp.prove import Disagreement, prove_filter
from stockade.seccomp.regions import Unprovable
from stockade.seccomp.runtime import Ambiguous
from stockade.seccomp.runtime import prove_oci as prove_profile
from stockade.selinux.binary import Binary
from stockade.selinux.libsepol import Decisions


def source_findings(policy: Policy, table: Grants | None = None) -> list[Finding]:
    """What the source alone shows to be wrong; `table` is `grants(policy.host)`, where somebody has it.

    Labels are asked about for two of each kind. Where something is found, all are asked, so that all of it is said.
    """
    alike = kinds(policy)
    small = few(policy, alike)
    given = grants(small.host)
    if small is not policy and not (
        _label_findings(small, given)
        or list(widenings(policy, given, alike))
        or list(unknown_options(policy))
        or list(meaningless(small, given))
        or list(unguarded(small, given))
    ):
        return []
    whole = table or grants(policy.host)
    return statement_findings(policy, whole) or list(unguarded(policy, whole))


def statement_findings(policy: Policy, table: Grants) -> list[Finding]:
    """What is wrong with something that the source says, rather than with what it leaves unsaid.

    Expectations ask what compiles, so they are looked at where nothing else is wrong.
    """
    found = [*_label_findings(policy, table), *widenings(policy, table), *unknown_options(policy)]
    return found or list(meaningless(policy, table))


def _label_findings(policy: Policy, table: Grants) -> list[Finding]:
    """What is wrong with rules and promises on labels."""
    return [
        *broken_promises(policy, table),
        *incomplete_promises(policy, table),
        *stale_waivers(policy, table),
        *loose_layers(policy, table),
        *contract_findings(policy.host),
    ]


def action_findings(policy: Policy, compiled: Compiled, alike: Kinds | None = None) -> tuple[Matrix, list[Finding]]:
    """Every action in every type, decided on the compiled kernel policy, and the promises on them that do not hold.

    `alike` is `kinds_in(policy, compiled.kernel_policy)`.
    """
    with Decisions(compiled.kernel_policy) as oracle:
        matrix = policy_matrix(policy, oracle, alike)
    return matrix, list(action_promises(policy, matrix))


def _prove_profile(profile: Mapping[str, Any], policy: SyscallPolicy, archs: tuple[str, ...]) -> None:
    prove_profile(policy, profile, archs)


def artefact_faults(policy: Policy, compiled: Compiled, alike: Kinds | None = None) -> Iterator[str]:
    """Every way in which an artefact is not what the source says; empty when all of them are.

    `alike` is `kinds_in(policy, compiled.kernel_policy)`.
    """
    policy = policy.heard
    alike = alike or kinds_in(policy, compiled.kernel_policy)
    yield from disagreements(policy, Binary(compiled.kernel_policy), alike)
    yield from contract_faults(policy, compiled)
    yield from layer_faults(policy, policy.containers.values(), compiled)


def layer_faults(policy: Policy, types: Iterable[ContainerType], compiled: Compiled | Layers) -> Iterator[str]:
    """Every way in which what these types compile to beside SELinux is not what the source says."""
    # Types that extend another often have the very same filter and profile: what was proven is not proven again.
    filters, profiles = Once(prove_filter), Once(_prove_profile)
    for container in types:
        for arch in container.architectures:
            try:
                filters(container.answered, arch, compiled.filters[container.name, arch])
            except (Disagreement, BadProgram, Unprovable) as fault:
                yield f"seccomp.{arch}.bpf of `{container.name}`: {fault}"
        try:
            profiles(compiled.profiles[container.name], container.answered, container.architectures)
        except (Disagreement, Ambiguous, Unprovable) as fault:
            yield f"seccomp.json of `{container.name}`: {fault}"
        if compiled.profiles[container.name].get("listenerPath") != container.asks:
            yield f"seccomp.json of `{container.name}`: its listener is not {container.asks}"
        for fault_text in prove_spec(container, compiled.specs[container.name]):
            yield f"oci.json of `{container.name}`: {fault_text}"
