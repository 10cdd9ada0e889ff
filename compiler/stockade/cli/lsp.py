"""`stockade lsp`: the language server, spoken to by an editor over standard input and output."""

from __future__ import annotations

import click

from stockade.cli.output import Stop


@click.command("lsp", short_help="Serve an editor: faults, completion, hover, definitions.")
def command() -> None:
    """Speak the language server protocol on standard input and output.

    An editor starts this; docs/editors.md says how. It shows what is wrong while a policy is written, completes names
    and keys, says what a name grants in each layer, and goes to where it is declared.

    \b
    Example:
      stockade lsp
    """
    try:
        from stockade.editor.server import make
    except ImportError as error:
        raise Stop(f"{error.name} is missing: pip install 'stockade[editor]'") from None
    make().start_io()
