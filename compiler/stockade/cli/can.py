"""`stockade can`: may this container type, or this subject of the host, do that?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stockade.bundle.manifest import NAME, BundleError
from stockade.bundle.read import read
from stockade.cli.output import PLACE, Answer, Stop, format_option, json_document, table, text
from stockade.cli.policy import find_policy, refuse
from stockade.source.files import read_files

if TYPE_CHECKING:
    from stockade.prove.actions import Verdict
    from stockade.prove.needs import Answer as LayerAnswer


@click.command()
@click.argument("who")
@click.argument("action")
@click.argument("policy", required=False, type=PLACE)
@click.option("--level", default="s0", show_default=True, help="Level and categories of the object, as in s0:c3,c4.")
@format_option
def command(who: str, action: str, policy: Path | None, level: str, form: str) -> int:
    """Say whether WHO may do ACTION, with the verdict of each layer and the source line behind it.

    WHO is a container type or a subject of the host. ACTION is an action of the policy, a verb and an object
    (`modify:private`), a class, permission and object (`file.write:private`), a capability (`SYS_ADMIN`), or a system
    call (`mount`, `socket(family=ALG)`). Ends with 0 when it is allowed and 1 when it is denied.

    POLICY is a policy folder or a bundle. A bundle knows actions, labels, classes, capabilities and system calls, but
    not the names of the policy.

    A container is asked about with an example pair of categories, c1 and c2; --level says which the object has.

    \b
    Example:
      stockade can web modify:data --level s0:c3
    """
    from stockade.prove.ask import Unanswerable
    from stockade.selinux.libsepol import SepolError
    from stockade.source.diagnostics import PolicyError, nearest

    folder = find_policy(policy)
    try:
        if (folder / NAME).is_file():
            from stockade.prove.bundled import ask_bundle

            verdict = ask_bundle(read(folder), who, action, level)
        else:
            verdict = _ask_source(folder, who, action, level)
    except PolicyError as error:
        raise refuse(error.diagnostics, error.texts, folder, form) from None
    except Unanswerable as error:
        raise Stop(f"{error}; {nearest(error.name, error.known)}".rstrip("; "), Answer.USAGE) from None
    except (SepolError, BundleError) as error:
        raise Stop(str(error)) from error
    if form == "json":
        json_document(
            {
                "who": who,
                "action": action,
                "allowed": verdict.allowed,
                "layers": [_answer(answer) for answer in verdict.weakest],
                "ways": [[_answer(answer) for answer in way] for way in verdict.ways],
                "stoppedBy": list(verdict.stopping),
            }
        )
    else:
        table(
            ("layer", "verdict", "reason"),
            [(a.layer, "allows" if a.given else "denies", a.reason) for a in verdict.weakest],
        )
        if len(verdict.ways) > 1:
            text(f"that is the way that the fewest layers stop, of {len(verdict.ways)} ways to try it")
        stopping = f" by {len(verdict.stopping)} layers" if len(verdict.stopping) > 1 else ""
        text(f"{who}: {action} is {'allowed' if verdict.allowed else 'denied' + stopping}")
    return Answer.YES if verdict.allowed else Answer.NO


def _answer(answer: LayerAnswer) -> dict[str, object]:
    return {"layer": answer.layer, "allowed": answer.given, "reason": answer.reason}


def _ask_source(folder: Path, who: str, action: str, level: str) -> Verdict:
    """Answer from a policy folder, its kernel policy compiled in memory for the constraints."""
    from stockade.model.grants import grants
    from stockade.prove.ask import ask, who_is
    from stockade.prove.policy_sources import kernel_policy
    from stockade.selinux.libsepol import Decisions
    from stockade.source.load import build

    loaded = build(read_files(folder))
    asked = who_is(loaded, who)
    with Decisions(kernel_policy(loaded)) as oracle:
        return ask(loaded, grants(loaded.host), oracle, asked, action, level)
