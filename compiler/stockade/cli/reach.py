"""`stockade reach`: which domains can a process become, by which programs?"""

from __future__ import annotations

from pathlib import Path

import click

from stockade.cli import _paths
from stockade.cli.output import PLACE, Answer, format_option, json_document, text


@click.command()
@click.argument("who")
@click.argument("policy", required=False, type=PLACE)
@click.option("--to", "whom", help="Only the way to this subject, type or context.")
@format_option
def command(who: str, policy: Path | None, whom: str | None, form: str) -> int:
    """Say which domains a process of WHO can become, each by a shortest way, constraints applied.

    WHO is a container type or a subject of the host by name, a type, or a whole context. POLICY is a policy folder, a
    bundle or a kernel policy; names of the policy are known where it is a folder.

    A process becomes another by executing a file that is an entrypoint of that domain, or by changing its own label.

    Ends with 0 when there is a domain to reach (with --to: that one) and 1 when there is none.

    \b
    Example:
      stockade reach init ./policy --to runtime
    """
    from stockade.prove.flow import UnknownContext, reach

    asked = _paths.walked(policy, form)
    try:
        found = reach(asked.kernel_policy, asked.label(who), None if whom is None else asked.label(whom))
    except UnknownContext as error:
        raise _paths.unknown(error, asked, [who] if whom is None else [who, whom]) from None
    if form == "json":
        paths = [{"domain": path[-1].target, "path": _paths.document(asked, path)} for path in found]
        json_document({"who": who, "to": whom, "reaches": bool(found), "domains": paths})
        return Answer.YES if found else Answer.NO
    for path in found:
        _paths.show(asked, path)
        text()
    if found:
        text(f"{who} reaches {whom}" if whom else f"{who} reaches {len(found)} domains")
    else:
        text(f"{who} does not reach {whom or 'any other domain'}")
    return Answer.YES if found else Answer.NO
