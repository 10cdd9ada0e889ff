"""The bundle for a host on the reference policy: modules in place of a kernel policy, the other layers as they are."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from stockade.bundle.compile import BINARY, CIL, JSON, TEXT, Compiled
from stockade.bundle.summary import Statements, summary
from stockade.bundle.write import Artefact
from stockade.model.policy import Policy
from stockade.oci.build import to_json, to_runtime_spec
from stockade.selinux import contract
from stockade.selinux.module import build_pp, module_to_cil
from stockade.selinux.refpolicy import Module, module


def relabelled(policy: Policy) -> tuple[Policy, dict[str, Module]]:
    """The policy with the labels that its container types have there, and the module of each type."""
    modules = {name: module(policy, container) for name, container in policy.containers.items()}
    there = {
        name: replace(container, domain=modules[name].domain, files=modules[name].files)
        for name, container in policy.containers.items()
    }
    return replace(policy, containers=there), modules


def refpolicy_artefacts(policy: Policy, compiled: Compiled, jobs: int = 2) -> tuple[Artefact, ...]:
    """What a build for the reference policy writes, of a policy that `compiled` is made of. Raises ModuleError."""
    there, modules = relabelled(policy)
    kept = [a for a in compiled.artefacts if a.path.startswith("containers/") and "/seccomp." in a.path]
    kept += [
        Artefact("host/lxc_contexts", contract.lxc_contexts(there), TEXT),
        Artefact("host/container_labels.json", contract.container_labels(there), JSON),
    ]
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        statements = Statements(policy)
        made = pool.map(lambda one: _module(policy, statements, there, *one), modules.items())
        return tuple(kept) + tuple(artefact for artefacts in made for artefact in artefacts)


def _module(policy: Policy, statements: Statements, there: Policy, name: str, made: Module) -> list[Artefact]:
    package = build_pp(made.te, made.fc)
    folder = f"containers/{name}"
    page = summary(policy.containers[name], statements) + "\n".join(_section(made)).encode()
    return [
        Artefact(f"{folder}/selinux.te", made.te, TEXT),
        Artefact(f"{folder}/selinux.if", made.interfaces, TEXT),
        Artefact(f"{folder}/selinux.fc", made.fc, TEXT),
        Artefact(f"{folder}/selinux.pp", package, BINARY),
        Artefact(f"{folder}/selinux.cil", module_to_cil(package).encode(), CIL),
        Artefact(f"{folder}/oci.json", to_json(to_runtime_spec(there.containers[name])), JSON),
        Artefact(f"{folder}/summary.md", page, "text/markdown"),
    ]


def _section(made: Module) -> Iterator[str]:
    yield "\n## On the reference policy\n"
    yield f"- module: `{made.name}`; processes: `{made.domain}`; files: `{made.files}`"
    yield "- what the rules give and nothing there stands for, so that it is denied:"
    yield from (f"  - {line}" for line in made.unmapped)
    yield ""
