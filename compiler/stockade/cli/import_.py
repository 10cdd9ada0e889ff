"""`stockade import`: a container type from what others have."""

from __future__ import annotations

import re
from pathlib import Path

import click

from stockade.cli import filters
from stockade.cli.output import Stop, message
from stockade.cli.policy import find_policy


@click.group()
def command() -> None:
    """Turn what others have into a container type, written in the policy language.

    \b
    Example:
      stockade import seccomp docker.json --name web > policy/containers/web.yaml
    """


@command.command("seccomp")
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--name", help="The container type's name.  [default: after the file]")
@click.option(
    "--policy", type=click.Path(path_type=Path), help="The policy whose groups of calls to use.  [default: the shipped]"
)
@filters.profile_options
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write there instead.")
def seccomp(
    source: Path,
    name: str | None,
    policy: Path | None,
    arch: tuple[str, ...] | None,
    caps: frozenset[str],
    kernel: tuple[int, int],
    skip_unknown: bool,
    output: Path | None,
) -> int:
    """Turn a seccomp profile into a container type.

    The system calls are those of the profile: groups where a whole group is allowed, conditions with the kernel's
    symbols. What a profile does not say (labels, capabilities, namespaces) is written with a comment `choose:`. What
    the language cannot say is listed on standard error and denied.

    \b
    Example:
      stockade import seccomp docker.json --caps CHOWN,SETUID --name web -o policy/containers/web.yaml
    """
    from stockade.cli.container_text import container_text
    from stockade.cli.import_seccomp import Importer
    from stockade.model.syscalls import ARCHITECTURES, NATIVE
    from stockade.seccomp.profile import covered, resolve
    from stockade.seccomp.profile_json import ProfileError

    said = filters.document(source, filters.load(source))
    covers = [one for one in NATIVE if ARCHITECTURES[one].oci in covered(said, one)]
    archs = arch or tuple(covers)
    if not archs or any(one not in NATIVE for one in archs):
        raise Stop(f"{source}: a container type is for {' and '.join(NATIVE)}; say --arch")
    try:
        found = resolve(said, archs, caps, kernel, skip_unknown)
    except ProfileError as error:
        raise Stop(f"{source}: {error}") from None
    label = name or _name(source)
    if not re.match(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z", label):
        raise click.UsageError(f"'{label}' is no name: lower case words joined by dashes; say --name")
    importer = Importer(found, _groups(find_policy(policy)))
    written = container_text(label, archs, caps, importer.syscalls(), importer.sockets())
    for where, call in found.skipped:
        message(f"skipped: {where}: unknown system call `{call}`")
    for line in importer.notes:
        message(line)
    if output is None:
        click.echo(written, nl=False)
    else:
        from stockade.cli.seccomp import write_whole

        write_whole(output, written.encode())
    return 0


def _name(source: Path) -> str:
    words = re.findall(r"[a-z0-9]+", source.stem.lower())
    return "-".join(words) if words and words[0][0].isalpha() else "-".join(["imported", *words])


def _groups(folder: Path) -> dict[str, tuple[str, ...]]:
    """The groups of system calls of a policy."""
    from stockade.source.diagnostics import Diagnostics, PolicyError
    from stockade.source.documents import read_all, syscall_groups
    from stockade.source.files import read_files

    report = Diagnostics()
    files = [file for file in read_files(folder) if file.name.startswith("containers/") and b"groups:" in file.data]
    try:
        groups = syscall_groups(read_all(files, report)["groups"], report) if files else {}
        report.raise_if_any()
    except PolicyError as error:
        raise Stop(f"{folder}: its groups of system calls cannot be read:\n{error.render(f'{folder}/')}") from None
    return dict(groups)
