"""`stockade report`: one HTML page about a bundle, for whoever reviews it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stockade.bundle.manifest import NAME, BundleError
from stockade.bundle.read import Bundle, read
from stockade.cli.output import FILE, PLACE, Answer, Stop, message
from stockade.cli.policy import find_policy, refuse, shipped
from stockade.source.files import SourceFile, digest, read_files

if TYPE_CHECKING:
    from stockade.review.gather import Review, Source


@click.command()
@click.argument("subject", metavar="[BUNDLE|FACTS]", required=False, default="build", type=PLACE)
@click.option(
    "-o",
    "--output",
    type=FILE,
    default="report.html",
    show_default=True,
    help="Write to this file.",
)
@click.option(
    "--policy", type=PLACE,
    help="The folder the bundle was built from; ./policy and the shipped one are looked at without it.",
)  # fmt: skip
@click.pass_context
def command(ctx: click.Context, subject: Path, output: Path, policy: Path | None) -> int:
    """Write one HTML page about a bundle, or about a host, to be looked at by whoever reviews it.

    BUNDLE is what `stockade build` wrote, ./build when not said. Everything on the page is read back from the
    artefacts. Names, reasons and lines come from the policy, if its digest is the one that the bundle was built from.
    FACTS is what `stockade audit --collect` wrote: then the page is that of the audit, which ends as the audit ends.
    The page needs no other file, runs no script, and opens in any browser, on a telephone too.

    \b
    Example:
      stockade report build -o report.html
    """
    if subject.is_file():
        if policy is not None:
            raise click.UsageError("--policy is what a bundle was built from; FACTS have none")
        return _of_host(ctx, subject, output)
    from stockade.page.document import written
    from stockade.review.page import page

    review = _review(subject, policy)
    try:
        written(output, page(review))
    except OSError as error:
        raise Stop(f"{output}: {error.strerror}") from error
    message(f"{output}: {len(review.specs)} container types, {len(review.matrix.actions)} actions")
    if review.source is None:
        message("without names, reasons and lines: the policy it was built from is not at hand (--policy)")
    return Answer.YES


def _of_host(ctx: click.Context, facts: Path, output: Path) -> int:
    from stockade.cli.audit import command as audit

    answer: int = ctx.invoke(audit, recorded=facts, form="html", output=output)
    return answer


def _review(folder: Path, policy: Path | None) -> Review:
    from stockade.review.gather import gather
    from stockade.selinux.libsepol import SepolError

    try:
        if not (folder / NAME).is_file():
            raise Stop(f"{folder}: no bundle: it has no {NAME}; `stockade build` writes one")
        bundle = read(folder)
        return gather(bundle, _source(bundle, policy))
    except (BundleError, SepolError) as error:
        raise Stop(str(error)) from error


def _source(bundle: Bundle, given: Path | None) -> Source | None:
    """The policy that the bundle was built from, or None where none of those at hand is it."""
    if given is not None:
        folder = find_policy(given)
        files = read_files(folder)
        if not _is_source(bundle, files):
            raise Stop(f"{folder}: not what the bundle was built from: its digest is another", Answer.NO)
        return _loaded(folder, files)
    for place in (Path("policy"), shipped()):
        if place is not None and place.is_dir():
            files = read_files(place)
            if _is_source(bundle, files):
                return _loaded(place, files)
    return None


def _is_source(bundle: Bundle, files: list[SourceFile]) -> bool:
    from stockade.cli.build import options
    from stockade.prove.bundled import kernel_policy

    version = int(kernel_policy(bundle)[0].rsplit(".", 1)[1])
    asked = ((), bundle.types)
    return any(digest(files, *options(types, version, "fortified")) == bundle.manifest.source for types in asked)


def _loaded(folder: Path, files: list[SourceFile]) -> Source:
    from stockade.review.gather import Source
    from stockade.source.diagnostics import Diagnostics, PolicyError
    from stockade.source.documents import read_all, syscall_groups
    from stockade.source.load import build

    try:
        report = Diagnostics()
        return Source(build(files), syscall_groups(read_all(files, report)["groups"], report))
    except PolicyError as error:
        raise refuse(error.diagnostics, error.texts, folder, "text") from None
