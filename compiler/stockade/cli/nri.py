"""`stockade nri`: the NRI plugin, which gives containers of CRI their type's confinement as far as NRI reaches."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import click

from stockade.cli.output import Answer, Decorated, Stop, shown
from stockade.enforce.nri.run import OPTIONS, PARTIAL, Settings


def _options(command: Decorated) -> Decorated:
    """The options of the table, so that this command and the one without click have the same."""
    defaults: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(Settings)}
    for name, purpose in reversed(OPTIONS):
        default = defaults[name.replace("-", "_")]
        if isinstance(default, bool):
            command = click.option(f"--{name}", is_flag=True, help=purpose)(command)
        elif default is dataclasses.MISSING:
            command = click.option(f"--{name}", required=True, metavar="DIR", help=purpose)(command)
        else:
            command = click.option(f"--{name}", default=default, show_default=bool(default), help=purpose)(command)
    return command


HELP = f"""Run as containerd's NRI plugin: containers get their type's confinement, or are not created.

{PARTIAL}

It refuses to start where containerd would start containers without it. Launched by containerd from its plugin folder,
it takes the connection that it is given. Ends with 0 when told to stop, 1 when this host fails open, else with 3.

\b
Example:
  stockade nri --bundle /etc/stockade/bundle
"""


@click.command(help=HELP)
@_options
def command(**settings: Any) -> int:
    """Serve until told to stop."""
    from stockade.enforce.nri.run import CannotRun, run

    for said in settings.values():
        shown(str(said))
    try:
        return run(Settings(**settings), os.environ)
    except CannotRun as reason:
        raise Stop(str(reason), Answer(reason.answer)) from reason
