"""`stockade import`: a container type from what others have."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from stockade.cli import files, filters
from stockade.cli.output import FILE, PLACE, STREAM, Answer, Stop, message
from stockade.cli.policy import find_policy

if TYPE_CHECKING:
    from stockade.importing.draft import Draft

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
_LIMIT = 16 * files.MIB


@click.group()
def command() -> None:
    """Turn what others have into a container type, written in the policy language.

    \b
    Example:
      docker inspect shop | stockade import inspect - -o policy/containers/shop.yaml
    """


@command.command("seccomp")
@click.argument("source", metavar="FILE", type=PLACE)
@click.option("--name", help="The container type's name.  [default: after the file]")
@click.option("--policy", type=PLACE, help="The policy whose groups of calls to use.  [default: the shipped]")
@filters.profile_options
@click.option("-o", "--output", type=FILE, help="Write there instead.")
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
    from stockade.importing.calls import Importer
    from stockade.importing.container_text import container_text
    from stockade.importing.default import with_short_default
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
    label = _label(name, source.stem)
    importer = Importer(with_short_default(found), _groups(find_policy(policy)))
    written = container_text(label, archs, caps, importer.syscalls(), importer.sockets())
    for where, call in found.skipped:
        message(f"skipped: {where}: unknown system call `{call}`")
    for line in importer.notes:
        message(line)
    return _hand_over(written, output)


def _type_options(command: Decorated) -> Decorated:
    """Give a command what `inspect` and `oci` share."""
    place = PLACE
    for option in reversed(
        (
            click.argument("source", metavar="FILE", type=STREAM),
            click.option("--name", help="The container type's name.  [default: the container's]"),
            click.option("--extends", "parent", help="The type to narrow.  [default: the policy's default type]"),
            click.option("--seccomp", "filter_", type=place, help="The container's seccomp profile, as OCI JSON."),
            click.option("--policy", type=place, help="The policy that the type is for.  [default: as build's]"),
            click.option("-o", "--output", type=FILE, help="Write there instead."),
        )
    ):
        command = option(command)
    return command


@command.command("inspect")
@_type_options
def inspect(
    source: Path, name: str | None, parent: str | None, filter_: Path | None, policy: Path | None, output: Path | None
) -> int:
    """Turn what `docker`, `podman`, `nerdctl` or `crictl inspect` prints into a container type.

    The type extends the policy's default type and says only in what it differs. What an engine gives unasked (its
    default capabilities, a writable root) is narrowed to what that type has; what somebody asked for stays, under
    `widens`. Comments say what to `choose`; standard error says what was narrowed and what could not be expressed. Of a
    privileged container the file lists what can be seen of its use. FILE may be `-`, for standard input.

    \b
    Example:
      docker inspect shop | stockade import inspect - -o policy/containers/shop.yaml
    """
    from stockade.importing.inspected import draft_of_inspect

    return _import(draft_of_inspect, source, name, parent, filter_, policy, output)


@command.command("oci")
@_type_options
def oci(
    source: Path, name: str | None, parent: str | None, filter_: Path | None, policy: Path | None, output: Path | None
) -> int:
    """Turn an OCI runtime specification (`config.json`) into a container type.

    With a filter, in the specification or by --seccomp, the type stands alone and says all that the specification says;
    without one it extends the policy's default type, as with `import inspect`.

    \b
    Example:
      stockade import oci config.json --name shop -o policy/containers/shop.yaml
    """
    from stockade.importing.specification import draft_of_spec

    return _import(draft_of_spec, source, name, parent, filter_, policy, output)


def _import(
    reader: Callable[[Any], Draft],
    source: Path,
    name: str | None,
    parent: str | None,
    filter_: Path | None,
    policy: Path | None,
    output: Path | None,
) -> int:
    from stockade.importing.draft import ImportFault
    from stockade.importing.held import Policies, write_type
    from stockade.source.diagnostics import PolicyError

    try:
        draft = reader(_json(source))
    except ImportFault as error:
        raise Stop("\n".join(f"{source}: {line}" for line in str(error).splitlines())) from None
    if filter_ is not None:
        draft.seccomp = _json(filter_)
        if not isinstance(draft.seccomp, dict):
            raise Stop(f"{filter_}: $: expected an object")
    label = _label(name, draft.name or source.stem)
    head = ["Imported. `choose` marks what a person decides; all else is as the container had it, or narrower."]
    folder = find_policy(policy)
    try:
        written = write_type(draft, label, parent, Policies(folder), head)
    except ImportFault as error:
        raise Stop(str(error)) from None
    except PolicyError as error:
        raise Stop(error.render(f"{folder}/"), Answer.NO) from None
    for line in draft.notes:
        message(line)
    for line in written.refused:
        message(f"the policy refuses it as it stands: {line}")
    return _hand_over(written.text, output)


def _json(path: Path) -> Any:
    """The document in a file, or on standard input; Stop where it is none, or has a key twice."""
    data = files.read(path, _LIMIT)

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            twice = sorted(key for key in found if sum(key == other for other, _ in pairs) > 1)
            raise ValueError(f"the key {twice[0]!r} stands twice")
        return found

    try:
        return json.loads(data, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise Stop(f"{path}: $: not JSON: {error}") from None


def _hand_over(written: str, output: Path | None) -> int:
    if output is None:
        click.echo(written, nl=False)
    else:
        files.write_whole(output, written.encode())
    return 0


def _label(name: str | None, source: str) -> str:
    """The type's name: the one given, or one made of what the container or the file is called."""
    words = re.findall(r"[a-z0-9]+", source.lower())
    made = "-".join(words) if words and words[0][0].isalpha() else "-".join(["imported", *words])
    if not re.match(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z", label := name or made):
        raise click.UsageError(f"'{label}' is no name: lower case words joined by dashes; say --name")
    return label


def _groups(folder: Path) -> dict[str, tuple[str, ...]]:
    """The groups of system calls of a policy."""
    from stockade.source.diagnostics import Diagnostics, PolicyError
    from stockade.source.documents import read_all, syscall_groups
    from stockade.source.files import read_files

    report = Diagnostics()
    said = [file for file in read_files(folder) if file.name.startswith("containers/") and b"groups:" in file.data]
    try:
        groups = syscall_groups(read_all(said, report)["groups"], report) if said else {}
        report.raise_if_any()
    except PolicyError as error:
        raise Stop(f"{folder}: its groups of system calls cannot be read:\n{error.render(f'{folder}/')}") from None
    return dict(groups)
