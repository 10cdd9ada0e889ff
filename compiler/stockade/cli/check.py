"""`stockade check`: all that `build` does, without writing."""

from __future__ import annotations

import os
from pathlib import Path

import click

from stockade.cli.output import Answer, format_option, json_document, text
from stockade.cli.policy import find_policy, policy_version_option, prove
from stockade.source.files import read_files


@click.command()
@click.argument("policy", required=False, type=click.Path(path_type=Path))
@click.option("--jobs", type=click.IntRange(1, 64), default=os.cpu_count() or 1, help="How many programs run at once.")
@policy_version_option
@format_option
def command(policy: Path | None, jobs: int, policy_version: int | None, form: str) -> int:
    """Compile a policy and prove it, without writing anything.

    Every fault is said with its file, line and column. Ends with 0 when the policy holds and 1 when it does not.

    \b
    Example:
      stockade check ./policy
    """
    folder = find_policy(policy)
    proven = prove(folder, read_files(folder), jobs, form, policy_version)
    held = proven.policy
    if form == "json":
        json_document(
            {
                "holds": True,
                "policy": {"name": held.host.name, "version": held.host.version},
                "containers": list(held.containers),
                "promises": list(held.promises),
                "findings": [],
            }
        )
    else:
        text(
            f"{folder}: {held.host.name} {held.host.version} holds: {len(held.containers)} container types, "
            f"{len(held.host.rules)} rules, {len(held.promises)} promises"
        )
    return Answer.YES
