"""`stockade flow`: can what is in files of one label get into files of another?"""

from __future__ import annotations

from pathlib import Path

import click

from stockade.cli import _paths
from stockade.cli.output import PLACE, Answer, format_option, json_document, text


@click.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.argument("policy", required=False, type=PLACE)
@click.option("--level", "levels", multiple=True, help="Range of processes and objects on the way; repeatable.")
@click.option("--without", multiple=True, help="A subject or set that is trusted to pass nothing on.")
@format_option
def command(
    source: str, target: str, policy: Path | None, levels: tuple[str, ...], without: tuple[str, ...], form: str
) -> int:
    """Say whether data can get from files of FROM into files of TO, by a shortest way, constraints applied.

    FROM and TO are objects by name, labels, or whole contexts such as system_u:object_r:data_t:s0:c1,c2. POLICY is a
    policy folder, a bundle or a kernel policy; names of the policy are known where it is a folder.

    Data goes through processes, other files, pipes, sockets, shared memory, queues, keys, maps, relabelling and
    changes of domain. What is on the way has the levels of FROM and TO and those of --level, the lowest when not said.

    Ends with 0 when there is a way and 1 when there is none.

    \b
    Example:
      stockade flow private data ./policy --without privileged
    """
    from stockade.prove.flow import UnknownContext, flow

    asked = _paths.walked(policy, form)
    words = (source, target, *without)
    try:
        path = flow(
            asked.kernel_policy,
            asked.label(source),
            asked.label(target),
            levels=levels or None,
            without=[label for name in without for label in asked.members(name)],
        )
    except UnknownContext as error:
        raise _paths.unknown(error, asked, words) from None
    if form == "json":
        steps = _paths.document(asked, path or ())
        json_document(
            {"from": source, "to": target, "without": list(without), "flows": path is not None, "path": steps}
        )
    elif path is None:
        text(f"nothing gets from {source} to {target}")
    else:
        _paths.show(asked, path)
        text(f"data gets from {source} to {target} in {len(path)} {'step' if len(path) == 1 else 'steps'}")
    return Answer.NO if path is None else Answer.YES
