"""`stockade audit`: judge a host by what its kernel says."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stockade.cli import files
from stockade.cli.audit_output import FORMATS, show, write
from stockade.cli.output import PLACE, Answer, Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stockade.audit.facts.fact import Fact, Facts
    from stockade.audit.facts.host import Host
    from stockade.audit.report.model import Report
    from stockade.audit.rules.rule import Rule
    from stockade.audit.waivers import Waiver
    from stockade.prove.changes import Access


MAX_TEXT = 1 << 20
"""Bytes that rules or waivers of one's own may have."""


@click.command()
@click.option("--root", type=PLACE, help="Another root: /proc/1/root, or an unpacked image.")
@click.option("--facts", "recorded", type=PLACE, help="Judge facts that --collect wrote.")
@click.option("--collect", is_flag=True, help="Only read the facts and write them, to be judged elsewhere.")
@click.option("--profile", default="fortified", show_default=True, help="Which rules; `all` for every one.")
@click.option("--rule", "only", multiple=True, help="Judge this rule alone; may be repeated.")
@click.option("--rules", "own", multiple=True, type=PLACE, help="Rules of your own, in YAML.")
@click.option("--bundle", type=PLACE, help="What the host should have: compare with this bundle.")
@click.option("--root-hash", help="The root hash of the release that the host should run.")
@click.option("--waivers", type=PLACE, help="Failures that somebody answers for, in YAML.")
@click.option("--no-walk", is_flag=True, help="Do not look at every file of the root; rules on files are then errors.")
@click.option("--filters", is_flag=True, help="Ask for containers' seccomp filters; each stops for a moment (ptrace).")
@click.option("-o", "--output", type=PLACE, help="Write here instead of to standard output.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True, help="How to report.")
@click.option("--watch", is_flag=True, help="Judge again when mounts or SELinux change, until told to stop.")
@click.option("--verbose", is_flag=True, help="Tell of rules that hold, too.")
def command(
    root: Path | None,
    recorded: Path | None,
    collect: bool,
    profile: str,
    only: tuple[str, ...],
    own: tuple[Path, ...],
    bundle: Path | None,
    root_hash: str | None,
    waivers: Path | None,
    no_walk: bool,
    filters: bool,
    output: Path | None,
    form: str,
    watch: bool,
    verbose: bool,
) -> int:
    """Judge a host: this one, one whose root is elsewhere, or facts that were read before.

    Reads the kernel and the image, starts nothing and writes nothing but the report. Ends with 0 when every rule
    holds or is waived, 1 when one fails, 3 when one could not be decided.

    \b
    Examples:
      stockade audit --bundle build
      stockade audit --collect -o host.json && stockade audit --facts host.json --profile cis-bottlerocket-1
      stockade audit --watch --format prometheus -o /var/lib/metrics/stockade.prom
    """
    if root and recorded:
        raise click.UsageError("--root and --facts name two hosts")
    if collect and recorded:
        raise click.UsageError("--collect reads a host, and --facts has been read already")
    if watch:
        _watchable(recorded, collect, form, output)
    rules = _rules(profile, only, own)
    expected, digest = _expected(bundle, root_hash)
    excused = _waivers(waivers)
    read = partial(_collected, own=own, walk=not no_walk, ptrace=filters)

    def judged(facts: Facts) -> Report:
        return _judged(facts, rules, profile, expected, excused, digest)

    if watch:
        from stockade.cli.audit_watch import teller
        from stockade.cli.audit_watch import watch as watched

        return watched(partial(_host, root, live=True), lambda host: judged(read(host)), teller(form, verbose, output))
    facts = _recorded(recorded) if recorded else _read(root, read)
    if collect:
        write(facts.to_json(), output)
        return Answer.YES
    report = judged(facts)
    show(report, form, verbose, output)
    return report.answer


def _watchable(recorded: Path | None, collect: bool, form: str, output: Path | None) -> None:
    if recorded or collect:
        raise click.UsageError("--watch judges a host that lives; --facts and --collect do not")
    if output is None and form not in ("text", "json"):
        raise click.UsageError(f"--watch with --format {form} writes one document again and again: say where, with -o")


def _rules(profile: str, only: Sequence[str], own: Sequence[Path]) -> tuple[Rule, ...]:
    from stockade.audit.rules.load import chosen, load, shipped
    from stockade.audit.rules.rule import RuleError

    try:
        every = [*shipped(), *load([(str(path), files.read_text(path, MAX_TEXT)) for path in own])]
        if not only:
            mine = {one.name for one in every[len(shipped()) :]}
            return tuple(one for one in every if one.name in mine or one in chosen(every, profile))
        names = {one.name: one for one in every}
        if missing := [name for name in only if name not in names]:
            raise click.UsageError(f"no rule `{missing[0]}`")
        return tuple(names[name] for name in dict.fromkeys(only))
    except RuleError as error:
        raise (click.UsageError if "no profile" in str(error) else Stop)(str(error)) from None


def _expected(folder: Path | None, root_hash: str | None) -> tuple[dict[str, Fact], str]:
    from stockade.audit.expected import from_bundle
    from stockade.audit.facts.fact import Fact
    from stockade.bundle.manifest import BundleError

    found: dict[str, Fact] = {}
    if root_hash is not None:
        if not root_hash or not set(root_hash) <= set("0123456789abcdef") or len(root_hash) < 64:
            raise click.UsageError("--root-hash: 64 hexadecimal digits or more, in small letters")
        found["release.root_hash"] = Fact.of(root_hash)
    if folder is None:
        return found, ""
    try:
        facts, digest = from_bundle(folder)
    except BundleError as error:
        raise Stop(f"{folder}: {error}") from None
    return {**found, **facts}, digest


def _waivers(path: Path | None) -> tuple[Waiver, ...]:
    if path is None:
        return ()
    import yaml

    from stockade.audit.plain_yaml import read
    from stockade.audit.waivers import WaiverError, load

    try:
        return load(read(files.read_text(path, MAX_TEXT)))
    except (WaiverError, yaml.YAMLError) as error:
        raise Stop(f"{path}: {' '.join(str(error).split())}") from None


def _recorded(path: Path) -> Facts:
    from stockade.audit.facts.fact import LIMIT, FactsError, from_json

    try:
        return from_json(files.read(path, LIMIT))
    except FactsError as error:
        raise Stop(f"{path}: {error}") from None


def _collected(host: Host, own: Sequence[Path], *, walk: bool, ptrace: bool) -> Facts:
    from stockade.audit.facts.collect import collect
    from stockade.audit.rules.load import load, shipped

    asked = {name for one in shipped() for name in one.facts}
    asked |= {
        name for one in load([(str(path), files.read_text(path, MAX_TEXT)) for path in own]) for name in one.facts
    }
    return collect(host, asked, walk=walk, ptrace=ptrace, now=int(time.time()))


def _read(root: Path | None, read: Callable[[Host], Facts]) -> Facts:
    try:
        with _host(root) as host:
            return read(host)
    except OSError as error:
        raise Stop(f"{root or '/'}: {error.strerror or error}") from None


def _host(root: Path | None, *, live: bool = False) -> Host:
    from stockade.audit.facts.host import Host, kind_of

    where = os.fspath(root) if root else "/"
    kind = kind_of(where)
    if live and kind != "live":
        raise Stop(f"{where}: an image does not change: there is nothing to watch")
    return Host(where, kind)


def _judged(
    facts: Facts,
    rules: Sequence[Rule],
    profile: str,
    expected: dict[str, Fact],
    excused: Sequence[Waiver],
    digest: str,
) -> Report:
    from stockade.audit.judge import judge

    return judge(
        facts,
        rules,
        profile=profile,
        expected=expected,
        compare=differences,
        waivers=excused,
        bundle=digest,
        now=int(time.time()),
    )


def differences(compiled: bytes, loaded: bytes) -> list[str]:
    """A line for each thing that the loaded policy decides otherwise than the compiled one."""
    from stockade.prove.policy_diff import diff

    found = diff(compiled, loaded)
    more = [f"allows more: {_access(one)}" for one in found.widened]
    less = [f"allows less: {_access(one)}" for one in found.narrowed]
    return more + less + [f"{one.what} {one.name}: {one.old} as compiled, {one.new} as loaded" for one in found.other]


def _access(one: Access) -> str:
    when = f" if {one.condition}" if one.condition else ""
    return f"{one.source} {one.target}:{one.tclass} {{ {' '.join(one.perms)} }}{when}"
