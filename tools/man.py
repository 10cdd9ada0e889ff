"""Writes the manual pages, one for each command, from what `--help` says: `tools/man.py DIR` (as `make man` does).

The pages name no date and no place, so that the same commands give the same bytes. DIR then is part of a MANPATH.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click
from stockade import __version__
from stockade.cli.group import stockade

EXITS = (
    ("0", "yes, done, all of it holds"),
    ("1", "no: the policy is wrong, a promise is broken, the action is denied, the kernel disagrees"),
    ("2", "the command line is wrong, or names something that the policy does not know"),
    ("3", "could not be determined: a tool is missing, a file cannot be read"),
)


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """(words, command) of the group, every command and every command beneath one."""
    context = click.Context(stockade)
    yield ("stockade",), stockade
    for name in stockade.list_commands(context):
        command = stockade.get_command(context, name)
        assert command is not None, name
        yield from _below(("stockade", name), command)


def _below(words: tuple[str, ...], command: click.Command) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield words, command
    if isinstance(command, click.Group):
        for name, child in sorted(command.commands.items()):
            yield from _below((*words, name), child)


def page(words: tuple[str, ...], command: click.Command, names: list[str]) -> str:
    """One page in the macros of man(7); `names` are those of the pages to see also."""
    title = "-".join(words)
    usage = command.collect_usage_pieces(click.Context(command, info_name=words[-1]))
    lines = [
        f'.TH {_roff(title.upper())} 1 "" "stockade {_roff(__version__)}" "stockade"',
        ".SH NAME",
        f"{_roff(title)} \\- {_roff(_first(command))}",
        ".SH SYNOPSIS",
        f".B {_roff(' '.join(words))}",
        *(_roff(piece) for piece in usage),
        ".SH DESCRIPTION",
        *_paragraphs(command.help or ""),
    ]
    if options := [option for option in command.params if isinstance(option, click.Option) and not option.hidden]:
        lines.append(".SH OPTIONS")
        for option in options:
            said = option.get_help_record(click.Context(command))
            assert said is not None, option.name
            lines += [".TP", f".B {_roff(said[0])}", _text(said[1])]
    if isinstance(command, click.Group):
        lines.append(".SH COMMANDS")
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None, name
            lines += [".TP", f".B {_roff(name)}", _text(_first(child))]
    lines.append(".SH EXIT STATUS")
    for code, meaning in EXITS:
        lines += [".TP", f".B {code}", _text(meaning)]
    others = [name for name in names if name != title]
    lines += [".SH SEE ALSO", *(f".BR {_roff(name)} (1){',' if name != others[-1] else ''}" for name in others)]
    return "\n".join(lines) + "\n"


def _first(command: click.Command) -> str:
    """The first sentence of a command's help, without its full stop."""
    sentence = re.split(r"\.(?:\s|\Z)", " ".join((command.help or command.short_help or "").split()))[0]
    return sentence[:1].lower() + sentence[1:]


def _paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a help text; what click leaves unwrapped keeps its lines."""
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        yield ".PP"
        if paragraph.lstrip().startswith("\b"):
            unwrapped = textwrap.dedent(paragraph.partition("\b\n")[2])
            yield from (".nf", *(_roff(line) for line in unwrapped.split("\n")), ".fi")
        else:
            yield _text(paragraph)


def _text(text: str) -> str:
    return _roff(" ".join(text.split()))


def _roff(text: str) -> str:
    """Text as roff reads it: no character of it is a request, and every dash is the one on the keyboard."""
    shown = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"(?m)^(\s*)([.'])", r"\1\\&\2", shown)


def main(folder: Path) -> int:
    """Write `man1/NAME.1` for every command into a folder."""
    found = list(commands())
    tops = ["-".join(words) for words, _ in found if len(words) < 3]
    place = folder / "man1"
    place.mkdir(parents=True, exist_ok=True)
    for words, command in found:
        kin = ["-".join(each) for each, _ in found if len(each) > 2 and each[:2] == words[:2]]
        near = tops if len(words) == 1 else ["stockade", *kin]
        (place / f"{'-'.join(words)}.1").write_text(page(words, command, near), encoding="utf-8")
    print(f"{folder}: {len(found)} pages; MANPATH={folder}: man stockade")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print("usage: tools/man.py DIR", file=sys.stderr)
        sys.exit(2)
    sys.exit(main(Path(sys.argv[1])))
