"""Compiles a whole policy into the artefacts of a bundle, and keeps what the proofs want to look at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from stockade.bundle import actions
from stockade.bundle.summary import Statements, summary
from stockade.bundle.write import Artefact
from stockade.model.alike import few, kinds
from stockade.model.container import ContainerType
from stockade.model.json_text import spelled
from stockade.model.once import Once
from stockade.model.policy import Policy
from stockade.oci.build import to_json, to_runtime_spec
from stockade.seccomp.cbpf import compile_filter
from stockade.seccomp.explain import explain
from stockade.seccomp.oci import to_oci
from stockade.selinux import contract, toolchain
from stockade.selinux.cil import Writer
from stockade.selinux.libsepol import CilError, compile_cil
from stockade.selinux.module import body, build_pp, renamed
from stockade.selinux.te import type_fc, type_te

POLICY_VERSION = toolchain.DEFAULT_POLICY_VERSION
"""The kernel policy format that is written unless another is asked for."""

CIL = "text/x-selinux-cil"
TEXT = "text/plain"
JSON = "application/json"
BINARY = "application/octet-stream"


class CompileError(Exception):
    """The toolchain refused what the policy compiles to; the message is for a person."""


@dataclass(frozen=True, slots=True)
class Layers:
    """What container types compile to beside SELinux.

    `filters` are keyed by container type and architecture, `profiles` (OCI `linux.seccomp`) and `specs` (runtime-spec
    parts) by container type.
    """

    artefacts: Mapping[str, tuple[Artefact, ...]]
    filters: Mapping[tuple[str, str], bytes]
    profiles: Mapping[str, Mapping[str, Any]]
    specs: Mapping[str, Mapping[str, object]]


def compile_layers(policy: Policy, types: Iterable[ContainerType]) -> Layers:
    """Compile container types of a policy for all layers but SELinux. A room's own error says what cannot be."""
    types = tuple(types)
    filter_of, profile_of, json_of, explained = Once(compile_filter), Once(to_oci), Once(spelled), Once(explain)
    statements = Statements(policy)
    filters = {(c.name, arch): filter_of(c.answered, arch) for c in types for arch in c.architectures}
    profiles = {c.name: profile_of(c.answered, c.architectures, c.asks) for c in types}
    specs = {c.name: to_runtime_spec(c) for c in types}
    artefacts = {
        container.name: (
            Artefact(f"containers/{container.name}/seccomp.json", json_of(profiles[container.name]), JSON),
            Artefact(f"containers/{container.name}/oci.json", to_json(specs[container.name]), JSON),
            Artefact(
                f"containers/{container.name}/summary.md", summary(container, statements, explained), "text/markdown"
            ),
            *_filters(f"containers/{container.name}", container, filters),
        )
        for container in types
    }
    return Layers(artefacts, filters, profiles, specs)


@dataclass(frozen=True, slots=True)
class Compiled:
    """What one policy compiles to.

    `cil` are the files of the kernel policy in the order in which they were compiled. `filters` are keyed by container
    type and architecture, `profiles` (OCI `linux.seccomp`) and `specs` (runtime-spec parts) by container type.
    """

    artefacts: tuple[Artefact, ...]
    cil: tuple[tuple[str, bytes], ...]
    kernel_policy: bytes
    filters: Mapping[tuple[str, str], bytes]
    profiles: Mapping[str, Mapping[str, Any]]
    specs: Mapping[str, Mapping[str, object]]


def compile_policy(policy: Policy, jobs: int = 2, policy_version: int = POLICY_VERSION) -> Compiled:
    """Compile every layer, the kernel policy in format `policy_version`.

    CompileError, or a room's own error, says what cannot be compiled and why.
    """
    policy = policy.heard
    if problems := toolchain.check(policy_version, policy.host.policy_capabilities):
        raise CompileError("; ".join(problems))
    writer = Writer(policy)
    types = policy.containers.values()
    cil, blocks = kernel_files(policy, writer)
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        # checkmodule and semodule_package are programs of their own, so they run while the rest is compiled here.
        packages: dict[bytes, Future[bytes]] = {}
        modules = {container.name: _module(pool, packages, container, writer) for container in types}
        layers = compile_layers(policy, types)
        try:
            small = few(policy, kinds(policy))
            if small is not policy:
                # libsepol looks at every rule for every neverallow; here it has two domains of each kind to look at.
                compile_cil(kernel_cil(small), policy_version=policy_version)
            compiled = compile_cil(cil, policy_version=policy_version, neverallow=small is policy)
        except CilError as error:
            raise CompileError(f"libsepol refuses the compiled policy: {error}") from error
        artefacts = [
            Artefact("host/policy.cil", cil[0][1], CIL),
            Artefact(f"host/policy.{policy_version}", compiled.policy, BINARY),
            Artefact("host/file_contexts", compiled.file_contexts.encode(), TEXT),
            Artefact("host/mount_contexts", contract.mount_contexts(policy.host), TEXT),
            Artefact("host/tmpfiles.conf", contract.tmpfiles(policy.host), TEXT),
            Artefact("host/lxc_contexts", contract.lxc_contexts(policy), TEXT),
            Artefact(actions.PATH, actions.to_json(policy), JSON),
            Artefact("host/container_labels.json", contract.container_labels(policy), JSON),
        ]
        for container in types:
            folder = f"containers/{container.name}"
            te, fc, package = modules[container.name]
            artefacts += [
                Artefact(f"{folder}/selinux.cil", blocks[container.name], CIL),
                Artefact(f"{folder}/selinux.te", te, TEXT),
                Artefact(f"{folder}/selinux.fc", fc, TEXT),
                Artefact(f"{folder}/selinux.pp", renamed(package.result(), te, fc), BINARY),
                *layers.artefacts[container.name],
            ]
    return Compiled(tuple(artefacts), tuple(cil), compiled.policy, layers.filters, layers.profiles, layers.specs)


def kernel_cil(policy: Policy) -> list[tuple[str, bytes]]:
    """(name, text) of the CIL files that the kernel policy is compiled from, in their order."""
    return kernel_files(policy, Writer(policy))[0]


def kernel_files(policy: Policy, writer: Writer) -> tuple[list[tuple[str, bytes]], dict[str, bytes]]:
    """The files of the kernel policy by name, in their order, and the file of every container type by type."""
    blocks = {container.name: writer.type_cil(container) for container in policy.containers.values()}
    cil = [("host/policy.cil", writer.host_cil())]
    cil += [(f"containers/{name}/selinux.cil", text) for name, text in blocks.items() if name in writer.owners]
    return cil, blocks


def _module(
    pool: Executor, packages: dict[bytes, Future[bytes]], container: ContainerType, writer: Writer
) -> tuple[bytes, bytes, Future[bytes]]:
    """The sources of a module, and its package under whatever name: types of one domain differ in the name alone."""
    te = type_te(container, writer)
    fc = type_fc(container)
    # A module that declares its domain is like no other.
    key = te if writer.own.get(container.domain) == container.name else body(te)
    if key not in packages:
        packages[key] = pool.submit(build_pp, te, fc)
    return te, fc, packages[key]


def _filters(folder: str, container: ContainerType, filters: Mapping[tuple[str, str], bytes]) -> Iterator[Artefact]:
    for arch in container.architectures:
        yield Artefact(f"{folder}/seccomp.{arch}.bpf", filters[container.name, arch], BINARY)
