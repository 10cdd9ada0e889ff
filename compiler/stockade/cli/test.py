"""`stockade test`: asks a policy what its author expects of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from stockade.cli.output import PLACE, Answer, Stop, json_document, message, printable, text
from stockade.cli.policy import find_policy, refuse
from stockade.source.files import read_files

if TYPE_CHECKING:
    from stockade.junit import Case
    from stockade.prove.expected import Outcome


@click.command()
@click.argument("policy", required=False, type=PLACE)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "junit"]),
    default="text",
    show_default=True,
    help="How to report.",
)
def command(policy: Path | None, form: str) -> int:
    """Ask a policy what is expected of it in `expectations/`, and say where the answer is another.

    POLICY is a folder; without it ./policy, then the shipped one. Ends with 0 when every answer is as expected, 1 when
    one is not, and 3 when a question means nothing or none is asked.

    \b
    Example:
      stockade test ./policy --format junit > results.xml
    """
    from stockade.prove.expected import outcomes
    from stockade.selinux.libsepol import SepolError
    from stockade.source.diagnostics import PolicyError
    from stockade.source.load import build

    folder = find_policy(policy)
    try:
        found = list(outcomes(build(read_files(folder))))
    except PolicyError as error:
        raise refuse(error.diagnostics, error.texts, folder, form) from None
    except SepolError as error:
        raise Stop(str(error)) from error
    if not found:
        raise Stop(f"{folder}: nothing is expected: there is no question in expectations/")
    {"text": _text, "json": _json, "junit": _junit}[form](found)
    failed, lost = (sum(not o.met and (o.allowed is None) is none for o in found) for none in (False, True))
    message(f"{len(found)} answers: {len(found) - failed - lost} as expected, {failed} not, {lost} could not be given")
    return Answer.UNDETERMINED if lost else Answer.NO if failed else Answer.YES


def _said(outcome: Outcome) -> str:
    return f"{outcome.who} {'may' if outcome.question.allowed else 'may not'} {outcome.question.text}"


def _text(found: list[Outcome]) -> None:
    for outcome in found:
        if outcome.met:
            continue
        got = {True: "it may", False: "it may not", None: "no answer"}[outcome.allowed]
        text(f"{outcome.question.at}: {outcome.expectation.name}: {_said(outcome)}: {got}")
        text(f"    expected because {outcome.expectation.why}")
        text(f"    {outcome.reason}")


def _json(found: list[Outcome]) -> None:
    json_document(
        [
            {
                "expectation": outcome.expectation.name,
                "at": str(outcome.question.at),
                "who": outcome.who,
                "question": outcome.question.text,
                "expected": outcome.question.allowed,
                "allowed": outcome.allowed,
                "met": outcome.met,
                "reason": outcome.reason,
            }
            for outcome in found
        ]
    )


def _junit(found: list[Outcome]) -> None:
    """One suite an expectation, one case a question; a question without an answer is an error, not a failure."""
    from stockade.junit import junit

    sys.stdout.write(junit(map(_case, found)))


def _case(outcome: Outcome) -> Case:
    from stockade.junit import Case

    suite, place = outcome.expectation.name, outcome.question.at
    if outcome.met:
        return Case(suite, _said(outcome), file=place.file, line=place.line)
    kind: Literal["error", "failure"] = "error" if outcome.allowed is None else "failure"
    why = outcome.expectation.why
    return Case(suite, _said(outcome), kind, printable(outcome.reason), why, place.file, place.line)
