"""`stockade doctor`: what is missing on this machine, and the command that installs it."""

from __future__ import annotations

import click

from stockade.cli.output import Answer, format_option, json_document, message, table, text
from stockade.cli.probes import Machine
from stockade.cli.requirements import Checked, Need, check, commands


@click.command()
@click.option(
    "--for",
    "wanted",
    multiple=True,
    type=click.Choice([need.value for need in Need]),
    help="Look only at what this needs (repeatable); without it, all is shown and building decides the exit code.",
)
@format_option
def command(wanted: tuple[str, ...], form: str) -> int:
    """Say what is missing on this machine, and how to install it.

    Ends with 0 when all that building needs (or what --for names) is there, else with 3.

    \b
    Example:
      stockade doctor --for build --for lab
    """
    shown = frozenset(map(Need, wanted)) or frozenset(Need)
    decisive = frozenset(map(Need, wanted)) or frozenset({Need.BUILD})
    machine = Machine()
    checked = check(shown, machine)
    missing = [one for one in checked if not one.met]
    blocking = [one for one in missing if decisive.intersection(one.requirement.needs)]
    if form == "json":
        json_document(_document(checked, decisive, not blocking))
    else:
        table(("needed for", "what", "found", "why"), [_row(one) for one in checked])
        text()
        for one in missing:
            text(f"{one.requirement.name}: {one.finding.problem}: {one.remedy}")
        together = commands([one.requirement for one in missing if not one.finding.remedy], machine)
        if len(missing) > 1 and together:
            text("all of these: " + " && ".join(together))
        text(f"all that {_names(decisive)} needs is here" if not blocking else f"not enough to {_names(decisive)}")
    if blocking and form == "json":
        message(f"missing: {', '.join(one.requirement.name for one in blocking)}")
    return Answer.UNDETERMINED if blocking else Answer.YES


def _row(one: Checked) -> tuple[str, str, str, str]:
    needs = ", ".join(need.value for need in one.requirement.needs)
    found = one.finding.found if one.met else f"{one.finding.found} [{one.finding.problem}]".strip()
    return needs, one.requirement.name, found, one.requirement.why


def _names(needs: frozenset[Need]) -> str:
    return " and ".join(need.value for need in Need if need in needs)


def _document(checked: list[Checked], decisive: frozenset[Need], complete: bool) -> dict[str, object]:
    return {
        "decided-by": [need.value for need in Need if need in decisive],
        "complete": complete,
        "requirements": [
            {
                "name": one.requirement.name,
                "needed-for": [need.value for need in one.requirement.needs],
                "why": one.requirement.why,
                "met": one.met,
                "found": one.finding.found,
                "problem": one.finding.problem,
                "install": one.remedy,
            }
            for one in checked
        ],
    }
