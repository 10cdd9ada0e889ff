"""`stockade build`: compile and prove a policy, and write the bundle when everything held."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stockade.bundle.manifest import BundleError, Manifest
from stockade.bundle.read import Bundle, read, verify
from stockade.cli.output import PLACE, Answer, Stop, format_option, json_document, message, table, text
from stockade.cli.policy import (
    Proven,
    compiler_digest,
    complain_option,
    find_policy,
    policy_version_option,
    prove,
    uncollected,
)
from stockade.source.files import digest, read_files

if TYPE_CHECKING:
    from stockade.bundle.write import Artefact


@click.command()
@click.argument("policy", required=False, type=PLACE)
@click.option("-o", "--output", type=PLACE, default=Path("build"), show_default=True, help="Where.")
@click.option(
    "--type", "types", multiple=True, help="Only this container type's files, beside the host's (repeatable)."
)
@click.option(
    "--target",
    type=click.Choice(["fortified", "refpolicy"]),
    default="fortified",
    show_default=True,
    help="For which host.",
)
@click.option("--jobs", type=click.IntRange(1, 64), default=os.cpu_count() or 1, help="How many programs run at once.")
@policy_version_option
@complain_option
@click.option("--force", is_flag=True, help="Compile and prove even where nothing has changed.")
@format_option
@uncollected()
def command(
    policy: Path | None,
    output: Path,
    types: tuple[str, ...],
    target: str,
    jobs: int,
    policy_version: int | None,
    complain: bool,
    force: bool,
    form: str,
) -> int:
    """Compile a policy for every layer, prove what was compiled, and write it.

    POLICY is a folder; without it ./policy, then the shipped one. Nothing is written unless everything held, and what
    stood in the output folder before survives a failure. A bundle of the same source and compiler whose files are all
    as they were written is left as it is. After a change of container files only what it reaches is built.

    \b
    Example:
      stockade build ./policy -o ./build
    """
    folder = find_policy(policy)
    files = read_files(folder)
    if target != "fortified" and policy_version is not None:
        raise Stop(f"--policy-version is about the kernel policy, and target `{target}` has none", Answer.USAGE)
    source = digest(files, *options(types, policy_version, target))
    compiler = compiler_digest()
    standing = None if force else _standing(output)
    if (
        standing is not None
        and _is_that(standing, source, compiler)
        and (complain or not standing.manifest.complaining)
    ):
        _report(standing.manifest, output, None, 0, form)
        return Answer.YES
    plain = not options(types, policy_version, target)
    if plain and standing is not None:
        from stockade.prove.rebuild import rebuild

        if again := rebuild(files, standing, output, source, compiler):
            _report(again.manifest, output, again.lines, again.promises, form)
            if form == "text":
                message(f"proven: {_some(again.types)}; nothing else is reached by what changed")
            return Answer.YES
    proven = prove(folder, files, jobs, form, policy_version, complain)
    for name in types:
        if name not in proven.policy.containers:
            raise Stop(f"no container type `{name}`; there are {', '.join(proven.policy.containers)}", Answer.USAGE)
    artefacts = proven.compiled.artefacts
    if target == "refpolicy":
        artefacts = _on_refpolicy(proven, types, jobs)
    from stockade.bundle.write import write

    try:
        manifest = write(
            output,
            [artefact for artefact in artefacts if _wanted(artefact, types)],
            policy_name=proven.policy.host.name,
            policy_version=proven.policy.host.version,
            source_digest=source,
            compiler_digest=compiler,
            complaining=proven.suspended,
        )
    except BundleError as error:
        raise Stop(str(error)) from error
    from stockade.bundle.lines import lines
    from stockade.prove.rebuild import memorise

    said = lines(proven.policy.containers.values(), proven.compiled.filters)
    if plain:
        memorise(manifest, output, files, proven.policy, said)
    _report(manifest, output, said, len(proven.policy.promises), form)
    if form == "text":
        message("proven: kernel policy, filters, profiles and specs are what the source says")
    return Answer.YES


def _on_refpolicy(proven: Proven, types: tuple[str, ...], jobs: int) -> tuple[Artefact, ...]:
    """The artefacts for a host on the reference policy; what nothing there stands for is said, and denied."""
    from stockade.bundle.refpolicy import refpolicy_artefacts, relabelled
    from stockade.oci.build import to_runtime_spec
    from stockade.oci.prove import prove_oci
    from stockade.selinux.module import ModuleError

    there, modules = relabelled(proven.policy)
    for name, container in there.containers.items():
        if faults := list(prove_oci(container, to_runtime_spec(container))):
            raise Stop(f"oci.json of `{name}`: {faults[0]}", Answer.NO)
        if not types or name in types:
            message(f"{name}: {len(modules[name].unmapped)} grants have no counterpart there; summary.md lists them")
    try:
        return refpolicy_artefacts(proven.policy, proven.compiled, jobs)
    except ModuleError as error:
        raise Stop(str(error)) from error


def options(types: tuple[str, ...], policy_version: int | None, target: str) -> list[str]:
    """What makes another bundle of the same files: no option that says what would be done without it."""
    from stockade.selinux.toolchain import DEFAULT_POLICY_VERSION

    version = [] if policy_version in (None, DEFAULT_POLICY_VERSION) else [f"policy version {policy_version}"]
    return [*sorted(set(types)), *version, *([] if target == "fortified" else [f"target {target}"])]


def _wanted(artefact: Artefact, types: tuple[str, ...]) -> bool:
    parts = artefact.path.split("/")
    return not types or parts[0] != "containers" or parts[1] in types


def _standing(output: Path) -> Bundle | None:
    """The bundle that is there."""
    try:
        return read(output)
    except BundleError:
        return None


def _is_that(standing: Bundle, source: str, compiler: str) -> bool:
    """Whether a bundle is already what would be built, and whole."""
    manifest = standing.manifest
    return manifest.source == source and manifest.compiler == compiler and not verify(standing.directory)


def _report(
    manifest: Manifest, output: Path, said: Mapping[str, tuple[str, ...]] | None, promises: int, form: str
) -> None:
    """What was built: `said` by container type, None where nothing was."""
    size = sum(entry.size for entry in manifest.entries)
    if form == "json":
        json_document(
            {
                "bundle": str(output),
                "changed": said is not None,
                "policy": {"name": manifest.policy_name, "version": manifest.policy_version},
                "source": manifest.source,
                "complaining": list(manifest.complaining),
                "files": [{"path": e.path, "sha256": e.sha256, "size": e.size} for e in manifest.entries],
            }
        )
        return
    name = f"{manifest.policy_name} {manifest.policy_version}"
    if said is None:
        for type_ in manifest.complaining:
            message(f"`{type_}` COMPLAINS: what SELinux and seccomp would refuse is logged, and passes")
        text(f"{output} is up to date: {name}, {len(manifest.entries)} files, {size} bytes")
        return
    table(
        ("type", "domain", "capabilities", "families", "calls", "filter", "memory.max", "pids.max"),
        [said[type_] for type_ in sorted(said)],
    )
    text(
        f"{output}: {name}, {len(said)} container types, {promises} promises kept, "
        f"{len(manifest.entries)} files, {size} bytes"
    )


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:4])
    return f"{shown} and {len(names) - 4} more" if len(names) > 4 else shown
