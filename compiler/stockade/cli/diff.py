"""`stockade diff`: what one allows that the other does not, with a witness for each difference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stockade.cli import diff_audit, filters, policy_sides
from stockade.cli.output import PLACE, Answer, Stop, json_document, message, table, text

if TYPE_CHECKING:
    from stockade.seccomp.diff import Difference
    from stockade.seccomp.judge import Judge


@click.command()
@click.argument("old", type=PLACE)
@click.argument("new", type=PLACE)
@click.option("--fail-on", type=click.Choice(["widen", "any"]), help="End with 1 where there is such a difference.")
@filters.profile_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "words", "markdown", "json"]),
    default="text",
    show_default=True,
    help="How to report; words and markdown are sentences about two policy folders.",
)
def command(
    old: Path,
    new: Path,
    fail_on: str | None,
    arch: tuple[str, ...] | None,
    caps: frozenset[str],
    kernel: tuple[int, int],
    skip_unknown: bool,
    form: str,
) -> int:
    """Say what NEW allows that OLD does not, and the reverse.

    Sides with labels are policy folders, bundles and kernel policies, in any mix: every access of every pair of types
    is compared, and transitions, constraints and all else that a kernel policy decides; of folders and bundles also
    the answers to system calls of each container type and what the runtime is told (capabilities, mounts, limits).
    Folders name the rules behind a difference, and `--format markdown` says of two all of it in sentences for a pull
    request.

    Sides without labels are seccomp profiles (Docker or OCI JSON) and raw filters, in any mix, compared exactly over
    all architectures, numbers and arguments. One line for each call and change of answer, with one call as witness,
    which `stockade seccomp run` takes as it is printed. The options say for what profiles are read.

    Two of a host's facts, or two reports, both as `stockade audit` writes them in JSON, are compared in what changed on
    the host: fact by fact, and rule by rule in what is said of it.

    Ends with 0, but with 1 where --fail-on names a difference: `widen` what is allowed and was not, and a rule that
    held and does not; `any` every one.

    \b
    Example:
      stockade diff ./policy.old ./policy --fail-on widen
    """
    audited = diff_audit.side(old), diff_audit.side(new)
    if audited[0] is not None and audited[1] is not None:
        return diff_audit.compare((old, new), audited[0], audited[1], fail_on, form)
    if audited != (None, None):
        raise Stop(f"{old} and {new} have nothing in common: an audit wrote one of them alone")
    labelled = policy_sides.side(old, form), policy_sides.side(new, form)
    if labelled[0] is not None and labelled[1] is not None:
        return _labelled(old, new, labelled[0], labelled[1], fail_on, form)
    if labelled != (None, None):
        raise Stop(f"{old} and {new} have nothing in common: one has labels, the other answers system calls alone")
    if form in ("words", "markdown"):
        raise Stop(f"{old} and {new}: --format {form} is for two policy folders", Answer.USAGE)
    from stockade.seccomp.diff import Kind, compare
    from stockade.seccomp.regions import Unprovable

    wanted = filters.For(arch, caps, kernel, skip_unknown)
    sides = _side(old, wanted), _side(new, wanted)
    try:
        found = compare(*sides)
    except Unprovable as error:
        raise Stop(f"{old} and {new} cannot be compared: {error}") from None
    count = {kind: sum(one.kind is kind for one in found) for kind in Kind}
    if form == "json":
        json_document(
            {
                "old": str(old),
                "new": str(new),
                "same": not found,
                "counts": {str(kind): number for kind, number in count.items()},
                "differences": [_document(one) for one in found],
            }
        )
    elif not found:
        text(f"{old} and {new} answer every call alike")
    else:
        _table(found)
        text(", ".join(f"{number} {kind}" for kind, number in count.items() if number))
    failing = bool(found) if fail_on == "any" else fail_on == "widen" and count[Kind.WIDENED] > 0
    return Answer.NO if failing else Answer.YES


def _document(one: Difference) -> dict[str, object]:
    return {
        "kind": str(one.kind),
        "call": one.call,
        "architectures": list(one.archs),
        "old": filters.verdict(one.old),
        "new": filters.verdict(one.new),
        "witness": one.witness,
    }


def _table(found: list[Difference]) -> None:
    from stockade.seccomp.prove import spell_verdict

    table(
        ("change", "call", "on", "old", "new", "for example"),
        [
            (
                str(one.kind),
                one.call or "-",
                ",".join(one.archs) or "another",
                spell_verdict(one.old),
                spell_verdict(one.new),
                one.witness,
            )
            for one in found
        ],
    )


def _labelled(
    old: Path, new: Path, one: policy_sides.Side, other: policy_sides.Side, fail_on: str | None, form: str
) -> int:
    from stockade.prove.changes import Effect
    from stockade.prove.diff_text import lines
    from stockade.seccomp.diff import Kind

    labels = policy_sides.labels(one, other)
    told = policy_sides.said(one, other, labels)
    # Two folders say in sentences what the runtime is told, and which way it goes.
    runtime = policy_sides.told(one, other) if told is None else []
    if told is None and form in ("words", "markdown"):
        raise Stop(f"{old} and {new}: --format {form} is for two policy folders", Answer.USAGE)
    calls = list(policy_sides.calls(one, other))
    lonely = list(policy_sides.lonely(one, other))
    same = labels.same and not (calls or lonely or told or runtime)
    if form in ("words", "markdown"):
        from stockade.cli.diff_page import markdown, words

        for line in (words if form == "words" else markdown)(told or []):
            text(line)
    elif form == "json":
        json_document(
            {
                "old": str(old),
                "new": str(new),
                "same": same,
                "labels": labels.as_dict(),
                "calls": [
                    {"container": name, "architecture": arch, "differences": [_document(d) for d in found]}
                    for name, arch, found in calls
                ],
                "filters": [{"container": name, "architecture": arch, "new": new} for name, arch, new in lonely],
                "runtime": [{"container": name, **one.as_dict()} for name, one in runtime],
                **({} if told is None else {"sentences": [sentence.as_dict() for sentence in told]}),
            }
        )
    else:
        if not labels.same or same:
            for line in lines(labels):
                text(line)
        for name, arch, found in calls:
            text(f"system calls of {name} on {arch}:")
            _table(found)
        for name, arch, is_new in lonely:
            text(f"filter of {name} on {arch}: {'only in the new' if is_new else 'only in the old'}")
        for name, different in runtime:
            text(f"runtime: {name}: {different}")
        for sentence in told or ():
            if sentence.layer == "type":
                text(str(sentence))
    wider = labels.widens or any(d.kind is Kind.WIDENED for _, _, found in calls for d in found)
    # Of what the runtime is told, two documents do not say which is the tighter.
    wider = wider or bool(runtime) or any(is_new for _, _, is_new in lonely)
    wider = wider or any(sentence.effect in (Effect.WIDENS, Effect.CHANGES) for sentence in told or ())
    return Answer.NO if (fail_on == "any" and not same) or (fail_on == "widen" and wider) else Answer.YES


def _side(path: Path, wanted: filters.For) -> Judge:
    from stockade.seccomp.emulate import BadProgram
    from stockade.seccomp.judge import FilterJudge, PolicyJudge

    data = filters.load(path)
    if filters.is_filter(data) and not data.startswith(filters.KERNEL_POLICY):
        try:
            return FilterJudge(data)
        except BadProgram as error:
            raise Stop(f"{path}: not a raw filter: {error}") from None
    found = filters.profile(path, data, wanted)
    for where, name in found.skipped:
        message(f"skipped: {path}: {where}: unknown system call `{name}`")
    for conflict in found.conflicts:
        where = f"{conflict.first} and {conflict.second}"
        message(f"conflict: {path}: {where} answer `{conflict.call}` differently: the stricter is taken")
    return PolicyJudge(found.policy, found.archs)
