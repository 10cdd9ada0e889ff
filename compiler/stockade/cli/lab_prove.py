"""`stockade lab prove`: what is predicted of every action in every container type, held against a real kernel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stockade.cli.lab_image import built, failures, waiting
from stockade.cli.output import FILE, PLACE, Answer, Stop, format_option, json_document, table, text

if TYPE_CHECKING:
    from stockade.bundle.read import Bundle
    from stockade.lab.trial.run import Proof
    from stockade.model.action import Layer
    from stockade.prove.matrix import Matrix


@click.command()
@click.argument("bundle", required=False, type=PLACE, default=Path("build"))
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only this container type; repeatable.")
@click.option("--setting", "settings", multiple=True, metavar="SETTING", help="Only this setting; repeatable.")
@click.option("--timeout", type=click.FloatRange(10, 3600), default=600, show_default=True, help="Seconds to give it.")
@click.option("-o", "--output", type=FILE, help="Keep the whole answer as JSON.")
@format_option
def prove(
    bundle: Path, types: tuple[str, ...], settings: tuple[str, ...], timeout: float, output: Path | None, form: str
) -> int:
    """Try every action in every container type of BUNDLE on a real kernel, and hold the answers against predictions.

    Each type is started on the lab's host as the bundle says, by runc (`full`) and by crun through containerd
    (`full-crun`), then with one layer taken away at a time (`without-LAYER`), then with all but one taken away
    (`only-LAYER`). Ends with 0 when the kernel agrees with every prediction, 1 when it does not, 3 when it could not be
    asked.

    \b
    Example:
      stockade lab prove ./build
      stockade lab prove --type ordinary --setting full
    """
    from stockade.bundle.read import read
    from stockade.lab.trial.judge import TrialError
    from stockade.selinux.libsepol import SepolError

    with failures(bundle):
        try:
            matrix, proof = _proof(read(bundle), types, settings, timeout)
        except (SepolError, TrialError) as error:
            raise Stop(f"{bundle}: {error}") from error
    document = as_dict(proof)
    if output is not None:
        _keep(document, output)
    if form == "json":
        json_document(document)
    else:
        show(matrix, proof)
    wrong = [*proof.judged.problems, *map(str, proof.judged.mismatches)]
    if wrong:
        raise Stop("\n".join(["the kernel disagrees:", *wrong]), Answer.NO)
    return Answer.YES


def _proof(whole: Bundle, types: tuple[str, ...], names: tuple[str, ...], timeout: float) -> tuple[Matrix, Proof]:
    from stockade.lab.trial.plan import RUNTIMES, addition
    from stockade.lab.trial.run import prove as start
    from stockade.lab.trial.settings import ALL
    from stockade.prove.bundled import kernel_policy
    from stockade.prove.matrix import bundle_matrix
    from stockade.selinux.libsepol import Decisions

    known = {setting.name: setting for setting in ALL}
    for what, given, there in (("container type", types, list(whole.types)), ("setting", names, list(known))):
        for name in given:
            if name not in there:
                raise Stop(f"unknown {what} `{name}`; there are {', '.join(there)}", Answer.USAGE)
    with Decisions(kernel_policy(whole)[1]) as oracle:
        by_runtime = {runtime: bundle_matrix(whole, oracle, runtime) for runtime in RUNTIMES}
    matrix = by_runtime["runc"]
    image = built(Path(whole.directory), [addition()])
    chosen = [known[name] for name in dict.fromkeys(names)] or list(ALL)

    def predicted(action: str, name: str, without: frozenset[Layer], runtime: str) -> bool:
        return by_runtime[runtime].verdicts[action, name].without(without)

    with waiting("every action in every type and setting: one to two minutes"):
        proof = start(whole, image, predicted, types=types, settings=chosen, timeout=timeout)
    return matrix, proof


def as_dict(proof: Proof) -> dict[str, object]:
    """A proof as plain values for JSON: every attempt that was made, and every disagreement."""
    judged = proof.judged
    tried: dict[str, dict[str, dict[str, str]]] = {}
    for (case, action), outcome in sorted(judged.outcomes.items(), key=lambda item: (item[0][1], item[0][0].name)):
        tried.setdefault(action, {}).setdefault(case.container, {})[case.setting.name] = str(outcome)
    return {
        "types": list(proof.types),
        "settings": [setting.name for setting in proof.settings],
        "compared": judged.compared,
        "untried": dict(sorted(judged.untried.items())),
        "problems": list(judged.problems),
        "mismatches": [
            {
                "action": found.action,
                "container": found.container,
                "setting": found.setting.name,
                "predicted": "allowed" if found.predicted else "stopped",
                "kernel": str(found.outcome),
            }
            for found in judged.mismatches
        ],
        "tried": tried,
        "seconds": round(proof.seconds, 1),
    }


def rows(matrix: Matrix, proof: Proof) -> list[tuple[str, ...]]:
    """One row for each action: for each type how many layers stop it, `!` where the kernel disagrees, `-` untried."""
    wrong = {(found.action, found.container) for found in proof.judged.mismatches}
    return [
        (
            name,
            *(
                "-" if name in proof.judged.untried else f"{matrix.layers(name, t)}{'!' if (name, t) in wrong else ''}"
                for t in proof.types
            ),
        )
        for name in matrix.actions
    ]


def show(matrix: Matrix, proof: Proof) -> None:
    """The table of a proof, and what it adds up to."""
    table(("action", *proof.types), rows(matrix, proof))
    for name, reason in sorted(proof.judged.untried.items()):
        text(f"not tried: {name}: {reason}")
    text(
        f"{len(matrix.actions) - len(proof.judged.untried)} actions in {len(proof.types)} types and "
        f"{len(proof.settings)} settings: {proof.judged.compared} answers of the kernel, "
        f"{len(proof.judged.mismatches)} not as predicted, in {proof.seconds:.0f} s"
    )


def _keep(document: dict[str, object], output: Path) -> None:
    import json

    try:
        new = output.with_name(f".{output.name}.new")
        new.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", "utf-8")
        new.replace(output)
    except OSError as error:
        raise Stop(f"{output}: {error.strerror}") from error
