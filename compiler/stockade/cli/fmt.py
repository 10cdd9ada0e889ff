"""`stockade fmt`: policy files in their canonical layout, comments kept, nothing said differently."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from stockade.cli.output import PLACE, Answer, Stop, message, text
from stockade.cli.policy import find_policy
from stockade.source.files import SourceFile, read_files


@click.command()
@click.argument("places", metavar="[POLICY|FILE]...", nargs=-1, type=PLACE)
@click.option("--check", is_flag=True, help="Change nothing; end with 1 where a file would change.")
@click.option("--diff", is_flag=True, help="Change nothing; show what would change. With --check, both.")
def command(places: tuple[Path, ...], check: bool, diff: bool) -> int:
    """Write policy files in their canonical layout.

    POLICY is a folder; without it ./policy, then the shipped one. A FILE is one file of a policy. Keys come into the
    order of the manual, indentation, quotes and folded text into one form; comments, names and list entries stay in
    their order. Each file is read again before any is written: it must say the same, to the value, have every comment,
    and stay as it is the next time; and the policy must still be the same one.

    \b
    Example:
      stockade fmt policy --check
    """
    from stockade.source.diagnostics import PolicyError
    from stockade.source.layout import LayoutError, laid_out

    changed = 0
    for place in places or (find_policy(None),):
        folder, wanted = _policy_of(place)
        files = read_files(folder)
        after = []
        for file in files:
            try:
                data = laid_out(file.name, file.data) if wanted in (None, file.name) else file.data
            except PolicyError as error:
                message(error.render(f"{folder}/"))
                raise Stop(f"{folder}/{file.name} cannot be read; nothing was changed", Answer.NO) from None
            except LayoutError as error:
                raise Stop(f"{folder}/{error}; nothing was changed") from None
            after.append(SourceFile(file.name, data))
        _still_the_same(folder, files, after)
        for old, new in zip(files, after, strict=True):
            if old.data != new.data:
                changed += 1
                _one(folder / old.name, old.data, new.data, check, diff)
    if check and changed:
        raise Stop(f"{changed} {'file is' if changed == 1 else 'files are'} not laid out; run stockade fmt", Answer.NO)
    return Answer.YES


def _policy_of(place: Path) -> tuple[Path, str | None]:
    """The folder of a policy and, where one file of it is meant, that file's name in it."""
    from stockade.source.documents import FOLDERS

    if not place.is_file():
        return find_policy(place), None
    for whole in (place, place.resolve()):
        for folder in whole.parents:
            if folder.name in FOLDERS:
                return folder.parent, whole.relative_to(folder.parent).as_posix()
    raise Stop(f"{place}: is in none of {', '.join(FOLDERS)}, so in no policy", Answer.USAGE)


def _still_the_same(folder: Path, before: Sequence[SourceFile], after: Sequence[SourceFile]) -> None:
    """Stop unless both are the same policy; one that has faults is judged by its values alone."""
    from stockade.model.placeless import placeless
    from stockade.source.diagnostics import PolicyError
    from stockade.source.load import build

    try:
        old = build(list(before))
    except PolicyError:
        return
    if placeless(build(list(after))) != placeless(old):
        raise Stop(f"{folder}: laid out it would be another policy; nothing was changed")


def _one(path: Path, old: bytes, new: bytes, check: bool, diff: bool) -> None:
    if diff:
        from difflib import unified_diff

        before, after = (data.decode("utf-8").splitlines() for data in (old, new))
        for line in unified_diff(before, after, str(path), f"{path} laid out", lineterm=""):
            text(line)
    if check:
        message(f"would change {path}")
    elif not diff:
        from stockade.cli.files import write_whole

        write_whole(path.resolve(), new)
        message(f"changed {path}")
