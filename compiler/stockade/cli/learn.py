"""`stockade learn`: from denials in logs to the smallest change of the policy's source."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stockade.cli.output import Answer, Stop, format_option, json_document, message, text
from stockade.cli.policy import find_policy, prove, refuse
from stockade.source.files import read_files

if TYPE_CHECKING:
    from stockade.learn.changes import Changes
    from stockade.learn.records import Log
    from stockade.source.files import SourceFile

_SHOWN = 20


@click.command()
@click.argument("logs", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--policy", type=click.Path(path_type=Path), help="The policy: ./policy, or the shipped one.")
@click.option("--type", "container", help="Whose system calls they were, where a record does not say.")
@click.option("--exact", is_flag=True, help="Write permissions out, where verbs would give more than was denied.")
@click.option("--write", is_flag=True, help="Change the policy, if it still holds then.")
@format_option
def command(
    logs: tuple[Path, ...], policy: Path | None, container: str | None, exact: bool, write: bool, form: str
) -> int:
    """Say what change of the policy would let pass what these LOGs say was denied.

    A LOG is an audit log, raw or interpreted, kernel messages, a journal as text or JSON, or the output of strace;
    `-` is standard input. Denials become rules in the policy's verbs, and system calls of container types. What would
    break a promise is refused with the promise. A record that cannot be read is named, and the exit code is then 3.

    \b
    Example:
      journalctl -k -o json | stockade learn - --policy ./policy
    """
    from stockade.learn.changes import Learner
    from stockade.source.diagnostics import PolicyError, nearest
    from stockade.source.load import build

    folder = find_policy(policy)
    files = read_files(folder)
    try:
        loaded = build(files)
    except PolicyError as error:
        raise refuse(error.diagnostics, error.texts, folder, form) from None
    if container is not None and container not in loaded.containers:
        raise Stop(f"no container type `{container}`; {nearest(container, loaded.containers)}", Answer.USAGE)
    log = _read(logs)
    changes = Learner(loaded, exact).learn(log, container)
    _say(log, changes, form)
    if write and (changes.rules or changes.calls):
        _write(folder, files, changes, form)
    if log.unread:
        raise Stop(f"{len(log.unread)} records could not be read", Answer.UNDETERMINED)
    return Answer.NO if changes.refused else Answer.YES


def _read(logs: tuple[Path, ...]) -> Log:
    from stockade.learn.records import Log

    found = Log()
    for path in logs:
        if str(path) == "-":
            found.read("standard input", sys.stdin)
            continue
        with path.open(encoding="utf-8", errors="backslashreplace") as lines:
            found.read(str(path), lines)
    return found


def _say(log: Log, changes: Changes, form: str) -> None:
    from stockade.learn.edit import rule_text
    from stockade.model.access import spell, words

    if form == "json":
        json_document(
            {
                "records": log.records,
                "unread": [{"at": str(place), "why": why} for place, why in log.unread],
                "others": dict(sorted(log.others.items())),
                "rules": [
                    {
                        "who": rule.who,
                        "what": list(rule.what),
                        "may": list(rule.verbs),
                        "access": {name: list(permissions) for name, permissions in spell(rule.access).items()},
                        "count": rule.count,
                        "first": str(rule.first),
                        "source": rule_text(rule),
                    }
                    for rule in changes.rules
                ],
                "calls": [{"container": c.container, "allow": dict(c.calls)} for c in changes.calls],
                "refused": changes.refused,
                "unmoved": changes.unmoved,
            }
        )
        return
    if changes.rules:
        text("rules:")
    for rule in changes.rules:
        text(f"  - {rule_text(rule)}")
        if rule.more:
            text(f"    # gives too: {words(rule.more, 3)}; --exact gives what was denied alone")
    for calls in changes.calls:
        text(f"# containers/{calls.container}.yaml")
        text(f"syscalls: {{allow: [{', '.join(name for name, _ in calls.calls)}]}}")
    for title, lines in (("refused", changes.refused), ("no change of the source gives", changes.unmoved)):
        for line in lines[:_SHOWN]:
            message(f"{title}: {line}")
        if len(lines) > _SHOWN:
            message(f"{title}: and {len(lines) - _SHOWN} more; --format json has all")
    for place, why in log.unread[:_SHOWN]:
        message(f"not read: {place}: {why}")
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(log.others.items()))
    message(
        f"{log.records} records, {len(log.access)} permissions and {len(log.calls)} calls denied: {len(changes.rules)} "
        f"rules, {sum(len(c.calls) for c in changes.calls)} calls" + (f"; beside them {kinds}" if kinds else "")
    )


def _write(folder: Path, files: list[SourceFile], changes: Changes, form: str) -> None:
    """Change the files, each in one step, once the changed policy is proven to hold."""
    from stockade.learn.edit import differences, edited

    try:
        after = edited(files, changes)
    except ValueError as error:
        raise Stop(str(error), Answer.NO) from None
    prove(folder, after, os.cpu_count() or 1, form, complain=True)  # learning is what a type complains for
    for name, data in differences(files, after).items():
        path = folder / name
        beside = path.with_name(f".{path.name}.new")
        try:
            with beside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if path.exists():
                beside.chmod(path.stat().st_mode & 0o777)
            beside.rename(path)
        except OSError as error:
            with suppress(OSError):
                beside.unlink()
            raise Stop(f"{error.filename}: {error.strerror}") from error
        message(f"changed {path}")
