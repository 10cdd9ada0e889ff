"""`stockade check`: all that `build` does, without writing."""

from __future__ import annotations

import os
from pathlib import Path

import click

from stockade.cli.output import PLACE, Answer, format_option, json_document, text
from stockade.cli.policy import complain_option, find_policy, policy_version_option, prove, uncollected
from stockade.source.files import read_files


@click.command()
@click.argument("policy", required=False, type=PLACE)
@click.option("--jobs", type=click.IntRange(1, 64), default=os.cpu_count() or 1, help="How many programs run at once.")
@click.option("--mutate", is_flag=True, help="Widen every rule there could be, and say which widenings are refused.")
@click.option("--exact", is_flag=True, help="With --mutate: have libsepol refuse every widening, not a sample.")
@click.option("--derive", is_flag=True, help="First write the guards that are missing to promises/derived.yaml.")
@click.option("--subjects", help="With --mutate, of CIL: the attribute of those who are tried.")
@click.option("--objects", help="With --mutate, of CIL: the attribute of what they are tried on.")
@click.option("--verbs", help="With --mutate, of CIL: the class map whose permissions are tried.")
@policy_version_option
@complain_option
@format_option
@uncollected()
def command(
    policy: Path | None,
    jobs: int,
    mutate: bool,
    exact: bool,
    derive: bool,
    subjects: str | None,
    objects: str | None,
    verbs: str | None,
    policy_version: int | None,
    complain: bool,
    form: str,
) -> int:
    """Compile a policy and prove it, without writing anything but the guards that --derive asks for.

    Every fault is said with its file, line and column. Ends with 0 when the policy holds and 1 when it does not.

    With --mutate POLICY may be CIL that others wrote, a file or a folder of them. Then its own neverallow rules are
    scored: on its attributes --subjects and --objects (the types of processes and all types when not said) and in the
    words of its class maps, or else by single permissions.

    \b
    Example:
      stockade check ./policy
      stockade check --mutate
      stockade check --mutate reference.cil --subjects all_s --objects all_o
    """
    if exact and not mutate:
        raise click.UsageError("--exact belongs to --mutate")
    from stockade.cli import _mutate_cil

    if mutate and policy is not None and _mutate_cil.is_cil(policy):
        if exact or derive:
            raise click.UsageError("--exact and --derive are not for CIL: every widening of it is compiled anyway")
        return _mutate_cil.mutate_cil(policy, subjects, objects, verbs, form)
    if (subjects, objects, verbs) != (None, None, None):
        raise click.UsageError("--subjects, --objects and --verbs belong to --mutate of CIL")
    folder = find_policy(policy)
    files = read_files(folder)
    if mutate or derive:
        from stockade.cli import _mutate

        if derive:
            files = _mutate.derive(folder, files, form)
        if mutate:
            return _mutate.mutate(folder, files, exact, form)
    proven = prove(folder, files, jobs, form, policy_version, complain)
    held = proven.policy
    if form == "json":
        json_document(
            {
                "holds": True,
                "policy": {"name": held.host.name, "version": held.host.version},
                "containers": list(held.containers),
                "promises": list(held.promises),
                "complaining": {name: list(promises) for name, promises in proven.suspended.items()},
                "findings": [],
            }
        )
    else:
        text(
            f"{folder}: {held.host.name} {held.host.version} holds: {len(held.containers)} container types, "
            f"{len(held.host.rules)} rules, {len(held.promises)} promises"
        )
    return Answer.YES
