"""`stockade completion`: what a shell reads to complete commands and options."""

from __future__ import annotations

import click

from stockade.cli.output import text

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the script that makes a SHELL complete the commands and options of stockade.

    \b
    Example:
      stockade completion bash > ~/.local/share/bash-completion/completions/stockade
    """
    from click.shell_completion import get_completion_class

    from stockade.cli.group import stockade

    found = get_completion_class(shell)
    assert found is not None, shell
    text(found(stockade, {}, "stockade", "_STOCKADE_COMPLETE").source().rstrip())
