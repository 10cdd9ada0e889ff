"""The click group `stockade`: which commands there are; each one's module is imported when it is called."""

from __future__ import annotations

import importlib
import keyword

import click
from click.shell_completion import CompletionItem

from stockade import __version__

COMMANDS: dict[str, str] = {
    "init": "Write a policy to start from, which builds at once.",
    "fmt": "Write policy files in their canonical layout, comments kept.",
    "build": "Compile a policy, prove the result, and write the bundle.",
    "check": "Compile and prove a policy without writing anything.",
    "test": "Ask a policy what its author expects of it.",
    "can": "Say whether WHO may do ACTION, layer by layer, and why.",
    "matrix": "Say how many layers stop each action in each container type.",
    "report": "Write one HTML page about a bundle or a host, for whoever reviews it.",
    "diff": "Say what one filter or profile allows that another does not, with a witness each.",
    "flow": "Say whether data can get from one label to another, and how.",
    "reach": "Say which domains a process can become, and by which programs.",
    "seccomp": "Compile a seccomp profile, run a filter, or say what either allows.",
    "learn": "Say what change of the policy would let pass what was denied.",
    "import": "Turn what others have into a container type.",
    "hook": "Give every container its type's confinement when it starts.",
    "nri": "Confine containers of CRI as containerd's NRI plugin, as far as NRI reaches.",
    "audit": "Judge a host by what its kernel says, and its containers by what was compiled.",
    "lsp": "Serve an editor: faults, completion, hover, definitions.",
    "completion": "Print what makes a shell complete commands and options.",
    "doctor": "Say what is missing on this machine, and how to install it.",
    "lab": "Build, boot and question the guest host.",
}
"""Name to the one line that `stockade --help` shows; module `stockade.cli.NAME` holds the click command `command`.

The module of a name that is a word of Python ends in `_`: `stockade.cli.import_`.
"""


class LazyGroup(click.Group):
    """A group over `COMMANDS` whose help and completion import no command."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command's name, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now; None when the table has none."""
        if cmd_name not in COMMANDS:
            return None
        module = cmd_name + "_" * keyword.iskeyword(cmd_name)
        command = importlib.import_module(f"stockade.cli.{module}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"stockade.cli.{cmd_name}.command is no click command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with the nearest known name in the error."""
        if args and args[0] not in COMMANDS and not ctx.resilient_parsing and not args[0].startswith("-"):
            ctx.fail(f"no command '{args[0]}'{nearest(args[0])}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table, as it stands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Command names with their line of help, then the group's options."""
        names = [CompletionItem(name, help=line) for name, line in COMMANDS.items() if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)


def nearest(word: str) -> str:
    """`; did you mean 'build'?` for a near miss of a command's name, else nothing."""
    import difflib

    near = difflib.get_close_matches(word, COMMANDS, n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 yes, 1 no, 2 wrong usage, 3 could not be determined.",
)
@click.version_option(__version__, prog_name="stockade", message="%(prog)s %(version)s")
def stockade() -> None:
    """One policy source for SELinux, seccomp and cgroups: compiled, proven, enforced and audited.

    \b
    Example:
      stockade build policy -o build
    """
