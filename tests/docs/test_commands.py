"""The manual has one section for every command, on whichever page, and each has exactly the options that there are."""

from __future__ import annotations

import re

import click
import pytest
from stockade.cli.group import COMMANDS, stockade

from .pages import ROOT

TEXT = "".join(page.read_text() for page in sorted((ROOT / "docs").glob("*.md")))
PARTS = re.split(r"^##? ", TEXT, flags=re.MULTILINE)[1:]
SECTIONS = {part.partition("\n")[0]: part for part in PARTS}


def leaves(command: click.Command) -> list[click.Command]:
    """A command, or the commands beneath it."""
    if not isinstance(command, click.Group):
        return [command]
    return [leaf for child in command.commands.values() for leaf in leaves(child)]


def command_named(name: str) -> click.Command:
    command = stockade.get_command(click.Context(stockade), name)
    assert command is not None
    return command


def test_there_is_a_section_for_every_command_and_none_for_another() -> None:
    titles = [part.partition("\n")[0] for part in PARTS if part.startswith("stockade ")]
    assert sorted(titles) == sorted(f"stockade {name}" for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_section_has_exactly_the_options_of_its_commands(name: str) -> None:
    given = {
        next(word for word in option.opts if word.startswith("--"))
        for leaf in leaves(command_named(name))
        for option in leaf.params
        if isinstance(option, click.Option)
    }
    rows = re.findall(r"^\| `(--[a-z-]+)` \|", SECTIONS[f"stockade {name}"], re.MULTILINE)
    assert set(rows) == given


@pytest.mark.parametrize("name", COMMANDS)
def test_a_section_names_the_commands_beneath(name: str) -> None:
    command = command_named(name)
    for child in command.commands if isinstance(command, click.Group) else ():
        assert f"stockade {name} {child}" in SECTIONS[f"stockade {name}"]


@pytest.mark.parametrize("code", range(4))
def test_every_exit_code_is_said(code: int) -> None:
    assert re.search(rf"^\| {code} \| \w", TEXT, re.MULTILINE)
