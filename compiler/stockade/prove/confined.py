"""How one container type is confined, as the evaluator of actions sees it: from the source, or from a bundle alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from stockade.bundle.manifest import BundleError
from stockade.bundle.read import Bundle
from stockade.model.container import ContainerType, Level
from stockade.model.example import levels
from stockade.model.host import OBJECT_ROLE, PROCESS_ROLE, USER
from stockade.model.policy import Policy
from stockade.model.seccomp import SyscallPolicy, Verdict
from stockade.model.syscalls import ARCHITECTURES, NATIVE, numbers
from stockade.oci.build import to_runtime_spec
from stockade.seccomp.emulate import decode, run
from stockade.seccomp.semantics import Reference

Filter = Callable[[str, str, Sequence[int], bool], Verdict]
"""(architecture, call, six arguments, whether by its x32 number) -> the filter's verdict."""


class Oracle(Protocol):
    """Whoever decides about labels: libsepol on the compiled kernel policy."""

    def allowed(self, scon: str, tcon: str, tclass: str) -> frozenset[str]:
        """The permissions that a process of context `scon` has on an object of class `tclass` and context `tcon`."""
        ...


@dataclass(frozen=True, slots=True)
class Confined:
    """One container type with an example pair of categories.

    `spec` are its runtime-spec parts, `context` its processes' label, `files` that of its own files, `subjects` the
    labels of processes; `other` is the level of another container. `place` says where a key of the type was said, and
    `runtime` who starts it. `complains` says that what SELinux refuses it is logged, and passes.
    """

    name: str
    spec: Mapping[str, Any]
    architectures: tuple[str, ...]
    filter: Filter
    context: str
    files: str
    subjects: frozenset[str]
    other: str
    place: Callable[[str], str]
    runtime: str = "runc"
    complains: bool = False

    @property
    def domain(self) -> str:
        """The SELinux type of its processes."""
        return self.context.split(":")[2]

    @property
    def level(self) -> str:
        """The level that files of its own have: the pair of categories, or the lowest of its range."""
        return self.files.split(":", 3)[3]


def process_context(container: ContainerType, categories: int) -> str:
    """The context of one container of a type, with an example pair of categories where each has its own."""
    return f"{USER}:{PROCESS_ROLE}:{container.domain}:{levels(container.level, categories)[0]}"


def source_filter(policy: SyscallPolicy, archs: tuple[str, ...]) -> Filter:
    """What a policy for these architectures answers, as its source says; each question is worked out once."""
    references: dict[str, Reference] = {}

    @cache
    def answer(arch: str, call: str, args: Sequence[int], x32: bool) -> Verdict:
        abi = "x32" if x32 else arch
        if abi not in archs:
            return policy.foreign
        if abi not in references:
            references[abi] = Reference(policy, abi)
        return references[abi].decide(numbers(abi)[call], args)

    return answer


def of_type(
    policy: Policy,
    container: ContainerType,
    filters: Callable[[SyscallPolicy, tuple[str, ...]], Filter] = source_filter,
    spec: Callable[[ContainerType], dict[str, Any]] = to_runtime_spec,
) -> Confined:
    """A container type as its source says. `filters` is `source_filter`, or remembers it.

    `spec` is `to_runtime_spec`, or `as_said` for a type that has been compiled before.
    """
    of_process, of_files, other = levels(container.level, policy.host.categories)

    return Confined(
        name=container.name,
        spec=spec(container),
        architectures=container.architectures,
        filter=filters(container.answered, container.architectures),
        context=f"{USER}:{PROCESS_ROLE}:{container.domain}:{of_process}",
        files=f"{USER}:{OBJECT_ROLE}:{container.files}:{of_files}",
        subjects=policy.host.subject_labels,
        other=other,
        place=lambda key: f" ({container.place(key)})",
        complains=container.complains,
    )


def of_bundle(
    bundle: Bundle, name: str, subjects: frozenset[str], categories: int, permissive: frozenset[str]
) -> Confined:
    """A container type as its compiled artefacts say; `subjects`, `categories`, `permissive`: the kernel policy's."""
    folder = f"containers/{name}"
    spec: dict[str, Any] = json.loads(bundle.bytes(f"{folder}/oci.json"))
    listed = {entry.path for entry in bundle.manifest.entries}
    programs = {
        arch: decode(bundle.bytes(f"{folder}/seccomp.{arch}.bpf"))
        for arch in NATIVE
        if f"{folder}/seccomp.{arch}.bpf" in listed
    }
    if not programs:
        raise BundleError(folder, "no seccomp filter for any architecture")

    def answer(arch: str, call: str, args: Sequence[int], x32: bool) -> Verdict:
        number = numbers("x32" if x32 else arch)[call]
        return run(programs[arch], ARCHITECTURES[arch].token, number, args)[0]

    level = Level(spec["annotations"]["io.stockade.level"])
    of_process, of_files, other = levels(level, categories)
    return Confined(
        name=name,
        spec=spec,
        architectures=tuple(programs),
        filter=answer,
        context=f"{':'.join(spec['process']['selinuxLabel'].split(':')[:3])}:{of_process}",
        files=f"{':'.join(spec['linux']['mountLabel'].split(':')[:3])}:{of_files}",
        subjects=subjects,
        other=other,
        place=lambda key: "",
        complains=spec["process"]["selinuxLabel"].split(":")[2] in permissive,
    )
