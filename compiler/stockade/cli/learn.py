"""`stockade learn`: from denials in logs to the smallest change of the policy's source."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stockade.cli import files
from stockade.cli.output import PLACE, STREAM, Answer, Stop, format_option, json_document, message, text
from stockade.cli.policy import find_policy, prove, refuse
from stockade.source.files import read_files

if TYPE_CHECKING:
    from stockade.learn.changes import Changes
    from stockade.learn.records import Log
    from stockade.learn.unused import Unused
    from stockade.model.policy import Policy
    from stockade.source.files import SourceFile

_SHOWN = 20
_LINE = files.MIB
"""More than any record has, and than any entry of a journal."""


@click.command()
@click.argument("logs", nargs=-1, required=True, type=STREAM)
@click.option("--policy", type=PLACE, help="The policy: ./policy, or the shipped one.")
@click.option("--type", "container", help="Whose system calls they were, where a record does not say.")
@click.option("--exact", is_flag=True, help="Write permissions out, where verbs would give more than was denied.")
@click.option("--unused", is_flag=True, help="Say too what the type's label may do and, by these LOGs, did not.")
@click.option("--write", is_flag=True, help="Change the policy, if it still holds then.")
@format_option
def command(
    logs: tuple[Path, ...],
    policy: Path | None,
    container: str | None,
    exact: bool,
    unused: bool,
    write: bool,
    form: str,
) -> int:
    """Say what change of the policy would let pass what these LOGs say was denied.

    A LOG is an audit log, raw or interpreted, kernel messages, a journal as text or JSON, or the output of strace;
    `-` is standard input. Denials become rules in the policy's verbs, and system calls of container types. What would
    break a promise is refused with the promise. A record that cannot be read is named, and the exit code is then 3.
    With --unused the LOGs are of one run of a type with `mode: record`: what its label did not use, it `may-not`.

    \b
    Example:
      journalctl -k -o json | stockade learn - --policy ./policy
    """
    from stockade.learn.changes import Learner
    from stockade.source.diagnostics import PolicyError, nearest
    from stockade.source.load import build

    folder = find_policy(policy)
    source = read_files(folder)
    try:
        loaded = build(source)
    except PolicyError as error:
        raise refuse(error.diagnostics, error.texts, folder, form) from None
    if container is not None and container not in loaded.containers:
        raise Stop(f"no container type `{container}`; {nearest(container, loaded.containers)}", Answer.USAGE)
    log = _read(logs)
    changes = Learner(loaded, exact).learn(log, container)
    found = _unused(loaded, log, container) if unused else None
    why = f"nothing used it in the run of {', '.join(path.name for path in logs)}"
    _say(log, changes, found, why, form)
    if found is not None and log.unread:
        raise Stop(f"{len(log.unread)} records could not be read: what seems unused may not be", Answer.UNDETERMINED)
    if write and (changes.rules or changes.calls or (found and found.drops)):
        _write(folder, source, changes, found, why, form)
    if log.unread:
        raise Stop(f"{len(log.unread)} records could not be read", Answer.UNDETERMINED)
    return Answer.NO if changes.refused else Answer.YES


def _read(logs: tuple[Path, ...]) -> Log:
    from stockade.learn.records import Log

    found = Log()
    for path in logs:
        found.read(files.named(path), files.lines(path, _LINE))
    return found


def _unused(loaded: Policy, log: Log, container: str | None) -> Unused:
    from stockade.learn.unused import unused

    if container is None:
        raise Stop("--unused needs --type: whose grants?", Answer.USAGE)
    kind = loaded.containers[container]
    if not kind.records:
        hint = "say `mode: record` in it, build with --complain, run it, and give the log of that"
        raise Stop(f"`{container}` does not record what it is allowed: {hint}", Answer.NO)
    if not any(source == kind.domain for source, *_ in log.access):
        raise Stop(f"no record of {kind.domain}: is this the log of a run under `mode: record`?", Answer.UNDETERMINED)
    return unused(loaded, kind, log)


def _say(log: Log, changes: Changes, found: Unused | None, why: str, form: str) -> None:
    from stockade.learn.edit import drop_text, rule_text
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
                "strangers": [
                    {"label": label, "count": seen.count, "first": str(seen.first)}
                    for label, seen in sorted(changes.strangers.items())
                ],
                **({} if found is None else {"unused": _as_json(found)}),
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
    if found is not None:
        count = len(found.used) + len(found.unused)
        text(f"# containers/{found.container}.yaml: {found.label} used {len(found.used)} of {count} grants")
        if found.drops:
            text("selinux:\n  may-not:")
        for drop in found.drops:
            text(f"    - {drop_text(drop, why)}")
        if found.calls:
            more = f" and {len(found.calls) - _SHOWN} more" if len(found.calls) > _SHOWN else ""
            text(f"# allowed, and not made: {', '.join(found.calls[:_SHOWN])}{more}")
    for title, lines in (("refused", changes.refused), ("no change of the source gives", changes.unmoved)):
        for line in lines[:_SHOWN]:
            message(f"{title}: {line}")
        if len(lines) > _SHOWN:
            message(f"{title}: and {len(lines) - _SHOWN} more; --format json has all")
    if changes.strangers:
        listed = sorted(changes.strangers.items(), key=lambda item: (-item[1].count, item[0]))
        names = ", ".join(f"{label} ({seen.count}, first at {seen.first})" for label, seen in listed[:_SHOWN])
        more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
        total = sum(seen.count for _, seen in listed)
        message(f"passed over {total} denials, about labels that the policy does not have: {names}{more}")
    for place, why in log.unread[:_SHOWN]:
        message(f"not read: {place}: {why}")
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(log.others.items()))
    message(
        f"{log.records} records, {len(log.access)} permissions and {len(log.calls)} calls denied: {len(changes.rules)} "
        f"rules, {sum(len(c.calls) for c in changes.calls)} calls" + (f"; beside them {kinds}" if kinds else "")
    )


def _as_json(found: Unused) -> dict[str, object]:
    return {
        "container": found.container,
        "label": found.label,
        "used": [{"may": verb, "what": what} for verb, what in found.used],
        "unused": [{"may": verb, "what": what} for verb, what in found.unused],
        "mayNot": [{"may": list(drop.verbs), "except": list(drop.kept)} for drop in found.drops],
        "calls": list(found.calls),
    }


def _write(folder: Path, source: list[SourceFile], changes: Changes, found: Unused | None, why: str, form: str) -> None:
    """Change the files, each in one step, once the changed policy is proven to hold."""
    from stockade.learn.edit import differences, edited, narrowed

    try:
        after = edited(source, changes)
        if found is not None and found.drops:
            after = narrowed(after, found, why)
    except ValueError as error:
        raise Stop(str(error), Answer.NO) from None
    prove(folder, after, os.cpu_count() or 1, form, complain=True)  # learning is what a type complains for
    for name, data in differences(source, after).items():
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
