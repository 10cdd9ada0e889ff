"""`stockade matrix`: how many layers stop each action in each container type."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stockade.bundle.manifest import NAME, BundleError
from stockade.bundle.read import read
from stockade.cli.output import FILE, PLACE, Answer, Stop, json_document, table, text
from stockade.cli.policy import find_policy, refuse
from stockade.source.files import read_files

if TYPE_CHECKING:
    from stockade.prove.matrix import Matrix


@click.command()
@click.argument("policy", required=False, type=PLACE)
@click.option("--format", "form", type=click.Choice(["text", "json", "html", "svg"]), default="text", show_default=True)
@click.option("-o", "--output", type=FILE, help="Write to this file.")
def command(policy: Path | None, form: str, output: Path | None) -> int:
    """Say for each action and container type how many layers stop it.

    POLICY is a policy folder or a bundle. A number is that of the layers that must be broken before the action goes
    through: 0 is allowed, 1 rests on a single layer.

    \b
    Example:
      stockade matrix
      stockade matrix build --format html -o matrix.html
    """
    from stockade.selinux.libsepol import SepolError
    from stockade.source.diagnostics import PolicyError

    folder = find_policy(policy)
    try:
        found = _of_bundle(folder) if (folder / NAME).is_file() else _of_source(folder)
    except PolicyError as error:
        raise refuse(error.diagnostics, error.texts, folder, form) from None
    except (SepolError, BundleError) as error:
        raise Stop(str(error)) from error
    if form in ("html", "svg") or output is not None:
        _write(_spelled(found, form), output)
    elif form == "json":
        json_document(as_dict(found))
    else:
        _show(found)
    return Answer.YES


def as_dict(matrix: Matrix) -> dict[str, object]:
    """The matrix as plain values for JSON."""
    return {
        "types": list(matrix.types),
        "actions": [
            {
                "action": name,
                "aim": action.aim.value,
                "why": action.why,
                "seenIn": list(action.seen_in),
                "stoppedBy": {t: [layer.value for layer in matrix.verdicts[name, t].stopping] for t in matrix.types},
            }
            for name, action in matrix.actions.items()
        ],
        "heldByTwoLayers": {t: list(matrix.held(t, 2)) for t in matrix.types},
    }


def _show(matrix: Matrix) -> None:
    rows = [
        (name, action.aim.value, *(str(matrix.layers(name, t) or "-") for t in matrix.types))
        for name, action in matrix.actions.items()
    ]
    table(("action", "aim", *matrix.types), rows)
    for name in matrix.types:
        held, escapes = matrix.held(name, 2)
        text(f"{name}: two layers or more stop {held} of {escapes} escapes")


def _spelled(matrix: Matrix, form: str) -> str:
    from stockade.cli.matrix_page import page, picture, plain

    if form == "json":
        import json

        return json.dumps(as_dict(matrix), indent=2) + "\n"
    return {"html": page, "svg": picture, "text": plain}[form](matrix)


def _write(content: str, output: Path | None) -> None:
    if output is None:
        click.echo(content, nl=False)
        return
    from stockade.page.document import written

    try:
        written(output, content.encode())
    except OSError as error:
        raise Stop(f"{output}: {error.strerror}") from error


def _of_bundle(folder: Path) -> Matrix:
    from stockade.prove.bundled import kernel_policy
    from stockade.prove.matrix import bundle_matrix
    from stockade.selinux.libsepol import Decisions

    bundle = read(folder)
    with Decisions(kernel_policy(bundle)[1]) as oracle:
        return bundle_matrix(bundle, oracle)


def _of_source(folder: Path) -> Matrix:
    from stockade.prove.matrix import policy_matrix
    from stockade.prove.policy_sources import kernel_policy
    from stockade.selinux.libsepol import Decisions
    from stockade.source.load import build

    loaded = build(read_files(folder))
    with Decisions(kernel_policy(loaded)) as oracle:
        return policy_matrix(loaded, oracle)
