"""`stockade diff`: what one allows that the other does not, with a witness for each difference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stockade.cli import filters
from stockade.cli.output import Answer, Stop, format_option, json_document, message, table, text

if TYPE_CHECKING:
    from stockade.seccomp.judge import Judge


@click.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--fail-on", type=click.Choice(["widen", "any"]), help="End with 1 where there is such a difference.")
@filters.profile_options
@format_option
def command(
    old: Path,
    new: Path,
    fail_on: str | None,
    arch: tuple[str, ...] | None,
    caps: frozenset[str],
    kernel: tuple[int, int],
    skip_unknown: bool,
    form: str,
) -> int:
    """Say what NEW allows that OLD does not, and the reverse.

    Each side is a seccomp profile (Docker or OCI JSON) or a raw filter, in any mix; they are compared exactly, over
    all architectures, numbers and arguments. One line for each call and change of answer, with one call as witness,
    which `stockade seccomp run` takes as it is printed. The options say for what profiles are read.

    Ends with 0, but with 1 where --fail-on names a difference: `widen` a call that is let through and was not, `any`
    every difference.

    \b
    Example:
      stockade diff old.json new.bpf --fail-on widen
    """
    from stockade.seccomp.diff import Kind, compare
    from stockade.seccomp.prove import spell_verdict
    from stockade.seccomp.regions import Unprovable

    wanted = filters.For(arch, caps, kernel, skip_unknown)
    sides = _side(old, wanted), _side(new, wanted)
    try:
        found = compare(*sides)
    except Unprovable as error:
        raise Stop(f"{old} and {new} cannot be compared: {error}") from None
    count = {kind: sum(one.kind is kind for one in found) for kind in Kind}
    if form == "json":
        json_document(
            {
                "old": str(old),
                "new": str(new),
                "same": not found,
                "counts": {str(kind): number for kind, number in count.items()},
                "differences": [
                    {
                        "kind": str(one.kind),
                        "call": one.call,
                        "architectures": list(one.archs),
                        "old": filters.verdict(one.old),
                        "new": filters.verdict(one.new),
                        "witness": one.witness,
                    }
                    for one in found
                ],
            }
        )
    elif not found:
        text(f"{old} and {new} answer every call alike")
    else:
        table(
            ("change", "call", "on", "old", "new", "for example"),
            [
                (
                    str(one.kind),
                    one.call or "-",
                    ",".join(one.archs) or "another",
                    spell_verdict(one.old),
                    spell_verdict(one.new),
                    one.witness,
                )
                for one in found
            ],
        )
        text(", ".join(f"{number} {kind}" for kind, number in count.items() if number))
    failing = bool(found) if fail_on == "any" else fail_on == "widen" and count[Kind.WIDENED] > 0
    return Answer.NO if failing else Answer.YES


def _side(path: Path, wanted: filters.For) -> Judge:
    from stockade.seccomp.emulate import BadProgram
    from stockade.seccomp.judge import FilterJudge, PolicyJudge

    data = filters.load(path)
    if filters.is_filter(data) and not data.startswith(filters.KERNEL_POLICY):
        try:
            return FilterJudge(data)
        except BadProgram as error:
            raise Stop(f"{path}: not a raw filter: {error}") from None
    found = filters.profile(path, data, wanted)
    for where, name in found.skipped:
        message(f"skipped: {path}: {where}: unknown system call `{name}`")
    for conflict in found.conflicts:
        where = f"{conflict.first} and {conflict.second}"
        message(f"conflict: {path}: {where} answer `{conflict.call}` differently: the stricter is taken")
    return PolicyJudge(found.policy, found.archs)
