"""`stockade seccomp`: profiles to raw filters, raw filters to answers, both to words."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stockade.cli import filters
from stockade.cli.files import write_whole
from stockade.cli.output import FILE, PLACE, Answer, Stop, format_option, json_document, message, text
from stockade.model.syscalls import ARCHITECTURES

if TYPE_CHECKING:
    from stockade.seccomp.honour import Finding
    from stockade.seccomp.profile import Profile

Archs = tuple[str, ...] | None


@click.group()
def command() -> None:
    """Compile seccomp profiles to raw filters, ask filters, and put either in words.

    \b
    Example:
      stockade seccomp compile /usr/share/containers/seccomp.json -o default.bpf
      stockade seccomp run default.bpf --arch x86_64 socket ALG SEQPACKET
    """


@command.command("compile")
@click.argument("source", metavar="PROFILE", type=PLACE)
@filters.profile_options
@click.option(
    "--model",
    type=click.Choice(["bitmap", "pre-5.11"]),
    default="bitmap",
    show_default=True,
    help="For which kernels to be fast: bitmap since 5.11, where calls allowed for certain run no filter.",
)
@click.option("-o", "--output", required=True, type=FILE, help="The filter.")
@format_option
def compile_(
    source: Path,
    arch: Archs,
    caps: frozenset[str],
    kernel: tuple[int, int],
    skip_unknown: bool,
    model: str,
    output: Path,
    form: str,
) -> int:
    """Compile a seccomp profile to a raw filter, proven equal before it is written.

    PROFILE is Docker's or the OCI's JSON, or an OCI config.json. The output is an array of struct sock_filter for
    seccomp(2). It means what runc makes of the profile; where that depends on the order of rules, the strictest wins.
    Ends with 1 where the profile is wrong or needs more than 4096 instructions.

    \b
    Example:
      stockade seccomp compile docker.json --arch x86_64 --caps default -o docker.bpf
    """
    from stockade.seccomp.cbpf import compile_filter
    from stockade.seccomp.profile_prove import prove_profile
    from stockade.seccomp.prove import Disagreement, prove_filter
    from stockade.seccomp.regions import Unprovable
    from stockade.seccomp.tree import FilterTooLong
    from stockade.seccomp.weights import CostModel

    wanted = filters.For(arch, caps, kernel, skip_unknown)
    found = filters.profile(source, filters.load(source), wanted, Answer.NO)
    try:
        program = compile_filter(found.policy, found.archs, CostModel(model))
        prove_filter(found.policy, found.archs, program)
        prove_profile(found)
    except FilterTooLong as error:
        raise Stop(f"{source}: {error}", Answer.NO) from None
    except Disagreement as error:
        raise Stop(f"{source}: nothing is written, the filter would be wrong: {error}", Answer.NO) from None
    except Unprovable as error:
        raise Stop(f"{source}: nothing is written, for it cannot be proven: {error}") from None
    write_whole(output, program)
    _warn(found)
    if form == "json":
        json_document(
            {
                "profile": str(source),
                "filter": str(output),
                "architectures": list(found.archs),
                "instructions": len(program) // 8,
                "sha256": hashlib.sha256(program).hexdigest(),
                "proven": True,
                "skipped": [{"path": path, "name": name} for path, name in found.skipped],
                "conflicts": _conflicts(found),
            }
        )
    else:
        what = f"{len(program) // 8} instructions for {', '.join(found.archs)}"
        text(f"{output}: {what}, proven equal to {source}")
    return Answer.YES


def _warn(found: Profile) -> None:
    for path, name in found.skipped:
        message(f"skipped: {path}: unknown system call `{name}`")
    for conflict in found.conflicts:
        message(
            f"conflict: {conflict.first} and {conflict.second} answer `{conflict.call}` differently: the stricter wins"
        )
    for call in found.made_up:
        message(f"`{call}` of i386 gets the default; libseccomp would make rules for it of those for what it carries")


def _conflicts(found: Profile) -> list[dict[str, str]]:
    return [{"call": one.call, "first": one.first, "second": one.second} for one in found.conflicts]


@command.command("run", context_settings={"ignore_unknown_options": True})
@click.argument("source", metavar="FILE", type=PLACE)
@click.option("--arch", required=True, help="The architecture through which the call is made.")
@click.argument("call", metavar="SYSCALL")
@click.argument("words", metavar="[ARG]...", nargs=-1)
@format_option
def run(source: Path, arch: str, call: str, words: tuple[str, ...], form: str) -> int:
    """Say what a raw filter answers to a call, and in how many instructions.

    SYSCALL is a name, a number, or a call as stockade prints it: 'socket(family=ALG)'. An ARG is a number, a symbol
    such as ALG or AF_ALG, flags joined by |, or NAME=VALUE; what is left out is zero. Ends with 0 whatever the answer.

    \b
    Example:
      stockade seccomp run default.bpf --arch x86_64 clone flags=NEWUSER|SIGHAND
    """
    from stockade.cli.calls import CallError, read_call
    from stockade.seccomp.emulate import BadProgram, decode, run_words
    from stockade.seccomp.judge import Place, spell
    from stockade.seccomp.profile_json import nearest
    from stockade.seccomp.prove import spell_verdict
    from stockade.seccomp.regions import EVERYTHING

    if arch not in ARCHITECTURES:
        raise click.UsageError(f"unknown architecture '{arch}'{nearest(arch, ARCHITECTURES)}")
    try:
        name, nr, args = read_call(arch, call, words)
    except CallError as error:
        raise click.UsageError(str(error)) from None
    data = filters.load(source)
    try:
        code = decode(data)
    except BadProgram as error:
        why = "a profile, compile it first" if data.lstrip()[:1] == b"{" else str(error)
        raise Stop(f"{source}: not a raw filter: {why}") from None
    halves = [half for value in args for half in (value & 0xFFFFFFFF, value >> 32)]
    data_words = [nr, ARCHITECTURES[arch].token, 0, 0, *halves]
    answer, count = run_words(code, data_words)
    spelled = spell(Place(arch, name, EVERYTHING), data_words)
    if form == "json":
        said = {"call": spelled, "arch": arch, "number": nr, "arguments": list(args)}
        json_document({**said, **filters.verdict(answer), "instructions": count})
    else:
        text(f"{spelled} on {arch}: {spell_verdict(answer)}, in {count} instructions")
    return Answer.YES


@command.command("explain")
@click.argument("source", metavar="PROFILE|FILE", type=PLACE)
@filters.profile_options
@click.option("--runtime", type=click.Choice(["runc", "crun"]), help="Say what this runtime would not honour, too.")
@click.option("--libseccomp", "release", help="Its libseccomp, as 2.5.4.  [default: the one installed here]")
@format_option
def explain(
    source: Path,
    arch: Archs,
    caps: frozenset[str],
    kernel: tuple[int, int],
    skip_unknown: bool,
    runtime: str | None,
    release: str | None,
    form: str,
) -> int:
    """Say in words and ranges what a profile or a raw filter allows.

    A raw filter is followed along all of its paths. With --runtime, also what of a profile that runtime would not do
    as it reads: tests joined by OR, names that its libseccomp lacks, rules that are dropped, never reached or in
    conflict, what keeps containers from starting.

    \b
    Example:
      stockade seccomp explain docker.json --runtime runc --libseccomp 2.5.4
    """
    from stockade.cli._outline import finding, section_document, show, show_findings
    from stockade.seccomp.emulate import BadProgram
    from stockade.seccomp.judge import FilterJudge, Judge, PolicyJudge
    from stockade.seccomp.outline import outline
    from stockade.seccomp.regions import Unprovable

    data = filters.load(source)
    findings: list[Finding] = []
    library = ""
    if filters.is_filter(data) and not data.startswith(filters.KERNEL_POLICY):
        if runtime:
            raise click.UsageError("--runtime says what becomes of a profile; a raw filter is loaded as it is")
        kind = "filter"
        try:
            judge: Judge = FilterJudge(data)
        except BadProgram as error:
            raise Stop(f"{source}: not a raw filter: {error}") from None
    else:
        kind = "profile"
        found = filters.profile(source, data, filters.For(arch, caps, kernel, skip_unknown))
        judge = PolicyJudge(found.policy, found.archs)
        _warn(found)
        if runtime:
            library, findings = _findings(found, runtime, release, caps, kernel)
    try:
        sections, others = outline(judge)
    except Unprovable as error:
        raise Stop(f"{source}: {error}") from None
    if form == "json":
        document = {
            "kind": kind,
            "architectures": [section_document(section) for section in sections],
            "foreign": list(others),
        }
        if runtime:
            document |= {"runtime": runtime, "libseccomp": library, "notHonoured": [finding(one) for one in findings]}
        json_document(document)
        return Answer.YES
    for section in sections:
        show(section)
    text(f"any other architecture: {' or '.join(others)}")
    if runtime:
        text()
        show_findings(findings, runtime, library)
    return Answer.YES


def _findings(
    found: Profile, runtime: str, release: str | None, caps: frozenset[str], kernel: tuple[int, int]
) -> tuple[str, list[Finding]]:
    from stockade.seccomp.honour import RELEASES, installed_libseccomp, released_libseccomp, unhonoured

    if release is not None:
        if release not in RELEASES:
            raise click.UsageError(f"libseccomp {release} is not known; known: {', '.join(RELEASES)}")
        library, known = release, released_libseccomp(release)
    else:
        installed = installed_libseccomp()
        if installed is None:
            raise Stop("no libseccomp is installed here: say --libseccomp, such as 2.5.5")
        library, known = installed
    host = found.host(found.archs[0])
    return library, unhonoured(found, host, runtime, caps, kernel, known)
