"""What `build`, `check` and `can` share: finding a policy, compiling and proving it, saying what is wrong."""

from __future__ import annotations

import errno
import gc
import hashlib
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

import stockade
from stockade.cli.output import Answer, Stop, json_document, message

if TYPE_CHECKING:
    from stockade.bundle.compile import Compiled
    from stockade.model.container import ContainerType
    from stockade.model.finding import Finding
    from stockade.model.policy import Policy
    from stockade.source.files import SourceFile


policy_version_option = click.option(
    "--policy-version",
    type=click.IntRange(min=30),
    help="Format of the kernel policy: 30 to 33; 31 when not said, which every kernel since Linux 4.13 reads.",
)


def shipped() -> Path | None:
    """The policy that comes with stockade: in the source tree, or where an installation put it."""
    package = Path(stockade.__file__).parent
    for folder in (package.parent.parent / "policy", Path(sys.prefix) / "share" / "stockade" / "policy"):
        if (folder / "host").is_dir():
            return folder
    return None


def find_policy(given: Path | None) -> Path:
    """The policy folder to work on: the one given, `./policy`, or the shipped one."""
    if given is not None:
        try:
            if not stat.S_ISDIR(given.stat().st_mode):
                raise Stop(f"{given}: not a folder")
        except OSError as error:
            raise Stop(f"{given}: {'no such folder' if error.errno == errno.ENOENT else error.strerror}") from None
        return given
    here = Path("policy")
    if os.path.lexists(here):  # a link that leads nowhere was meant as the policy too
        return find_policy(here)
    found = shipped()
    if found is None:
        raise Stop("no policy named, none in ./policy, and none shipped with this installation")
    return found


def compiler_digest() -> str:
    """The sha256 of this compiler: its own source, and what kind of libsepol it compiles with."""
    from stockade.selinux.toolchain import release

    total = hashlib.sha256(f"{stockade.__version__}\0{release()}\0".encode())
    package = Path(stockade.__file__).parent
    for path in sorted(package.rglob("*")):
        if path.suffix in (".py", ".json"):
            data = path.read_bytes()
            total.update(f"{path.relative_to(package).as_posix()}\0{len(data)}\0".encode())
            total.update(data)
    return total.hexdigest()


complain_option = click.option(
    "--complain",
    is_flag=True,
    help="Accept types with `mode: complain` or `record`, which SELinux and seccomp do not hold.",
)


@dataclass(frozen=True, slots=True)
class Proven:
    """A policy that holds, and what it compiled to.

    `suspended` has the types that complain, and the promises that do not hold of each as long as it does.
    """

    policy: Policy
    compiled: Compiled
    suspended: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for cycles: what a command makes of a policy it needs until it ends, and there is a lot to search."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def prove(
    folder: Path,
    files: list[SourceFile],
    jobs: int,
    form: str,
    policy_version: int | None = None,
    complain: bool = False,
) -> Proven:
    """Load, compile and prove a policy. Where it does not hold, say all that is wrong and end the command.

    `policy_version` is the format of the kernel policy; None is the usual one. Every promise must hold of every type
    that complains as if it did not; without `complain` there may be no such type.
    """
    from stockade.bundle.compile import POLICY_VERSION, CompileError, compile_policy
    from stockade.oci.build import OciError
    from stockade.prove.binary import kinds_in
    from stockade.prove.kept import suspended
    from stockade.prove.matrix import with_rows
    from stockade.prove.policy import action_findings, artefact_faults, source_findings
    from stockade.seccomp.oci import NotRepresentable
    from stockade.selinux.binary import BinaryError
    from stockade.selinux.libsepol import SepolError
    from stockade.selinux.module import ModuleError
    from stockade.source.diagnostics import PolicyError
    from stockade.source.load import build

    texts = {file.name: file.data.decode("utf-8", "replace") for file in files}
    try:
        policy = build(files)
    except PolicyError as error:
        raise refuse(error.diagnostics, error.texts, folder, form) from None
    held = {name: replace(container, complains=False, records=False) for name, container in policy.containers.items()}
    complaining = [container for container in policy.containers.values() if container.complains]
    if complaining and not complain:
        raise refuse(map(_unasked, complaining), texts, folder, form)
    if findings := source_findings(policy):
        raise refuse(findings, texts, folder, form)
    try:
        compiled = compile_policy(policy, jobs, policy_version or POLICY_VERSION)
        alike = kinds_in(policy, compiled.kernel_policy)
        held_policy = replace(policy, containers=held)
        # Of what records, the kernel policy that is written has no rule: whether it is promised is asked of another.
        recording = any(container.records for container in complaining)
        asked = compile_policy(held_policy, jobs, policy_version or POLICY_VERSION) if recording else compiled
        matrix, findings = action_findings(held_policy, asked, None if recording else alike)
        if findings:
            raise refuse(findings, texts, folder, form)
        if complaining:
            matrix, _ = action_findings(policy, compiled)
        compiled = replace(compiled, artefacts=with_rows(compiled.artefacts, matrix))
        faults = list(artefact_faults(policy, compiled, alike))
    except NotRepresentable as error:
        raise Stop(str(error), Answer.NO) from error
    except (CompileError, OciError) as error:
        raise Stop(str(error), Answer.NO) from error
    except (BinaryError, SepolError, ModuleError) as error:
        raise Stop(str(error)) from error
    if faults:
        raise Stop("\n".join(["what was compiled is not what the policy says:", *faults]), Answer.NO)
    lost = {container.name: suspended(policy, matrix, container) for container in complaining}
    for name, promises in lost.items():
        message(f"`{name}` COMPLAINS: what SELinux and seccomp would refuse is logged, and passes")
        if policy.containers[name].records:
            message(f"`{name}` records: what they would allow is logged too")
        message(f"`{name}`: {len(promises)} promises do not hold of it meanwhile: {shortened(promises)}")
    return Proven(policy, compiled, lost)


def _unasked(container: ContainerType) -> Finding:
    from stockade.model.finding import Finding

    return Finding(
        container.place("mode"),
        f"`{container.name}` complains, so neither SELinux nor seccomp would stop it",
        "say --complain to build it all the same, for a host where it is tried out",
    )


def shortened(names: Sequence[str]) -> str:
    """The first few of some names, and how many more there are."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def refuse(findings: Iterable[Finding], texts: dict[str, str], folder: Path, form: str) -> Stop:
    """Say every finding, as text on standard error or as a document, and give the way to end with."""
    from stockade.source.diagnostics import PolicyError

    error = PolicyError(findings, texts)
    count = len(error.diagnostics)
    if form == "json":
        json_document(
            {
                "holds": False,
                "findings": [
                    {
                        "file": f"{folder}/{f.at.file}",
                        "line": f.at.line,
                        "column": f.at.column,
                        "message": f.message,
                        "hint": f.hint,
                    }
                    for f in error.diagnostics
                ],
            }
        )
    else:
        message(error.render(f"{folder}/"))
    return Stop(f"{count} {'fault' if count == 1 else 'faults'} in {folder}", Answer.NO)
