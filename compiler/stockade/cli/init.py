"""`stockade init`: a policy of one's own to start from, proven before it is written, never over anything."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stockade.cli.output import PLACE, Answer, Stop, text
from stockade.cli.policy import prove, shipped

if TYPE_CHECKING:
    from stockade.source.files import SourceFile
    from stockade.source.starter import First

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z")


@click.command()
@click.argument("folder", metavar="[DIR]", default="policy", type=PLACE)
@click.option("--name", help="The policy's name.  [default: after the folder that DIR is in]")
@click.option("--type", "container", help="A first container type of your own, by its name.")
@click.option("--why", help="What containers of this type do, in a sentence.")
@click.option("--extends", help="The type that it narrows.  [default: the policy's default type]")
@click.option("--caps", metavar="C,...", help="The capabilities that it keeps, by commas.  [default: none]")
@click.option("--families", metavar="F,...", help="The address families that it keeps.  [default: the parent's]")
@click.option("--memory", help="Its memory.max, such as 256MiB.  [default: the parent's]")
@click.option("--pids", type=click.IntRange(1), help="Its pids.max.  [default: the parent's]")
@click.option("--yes", is_flag=True, help="Ask nothing on a terminal: what is not said is the default.")
def command(
    folder: Path,
    name: str | None,
    container: str | None,
    why: str | None,
    extends: str | None,
    caps: str | None,
    families: str | None,
    memory: str | None,
    pids: int | None,
    yes: bool,
) -> int:
    """Write a policy to start from into DIR, which must not be there yet, or be empty.

    It is the shipped host under a name of your own, with the schemas for an editor, and with a first container type
    where one is named. On a terminal what no option says is asked. The policy is built and proven before it is
    written; where it does not hold, nothing is.

    \b
    Example:
      stockade init policy --type shop --caps NET_BIND_SERVICE --families unix,inet --memory 256MiB
    """
    from stockade.source.files import read_files

    _free(folder)
    base = shipped()
    if base is None:
        raise Stop("no policy is shipped with this installation, so there is none to start from")
    asked = sys.stdin.isatty() and not yes
    own = Path(os.path.realpath(folder)).parent.name.lower()
    name = name or (_ask("Name of the policy", own if _NAME.match(own) else "mine") if asked else None)
    name = _named(name or (own if _NAME.match(own) else "mine"), "--name")
    if container is None and asked:
        container = _ask("First container type (empty for none)", "") or None
    about = {"why": why, "extends": extends, "caps": caps, "families": families, "memory": memory, "pids": pids}
    if container is None and (said := [option for option, value in about.items() if value is not None]):
        raise click.UsageError(f"--{said[0]} is about a container type: say --type")
    from stockade.source.load import build
    from stockade.source.starter import named

    files = named(read_files(base), name)
    if container is not None:
        policy = build(files)
        types = {each: each for each in policy.containers}
        container = _named(container, "--type")
        if container in types:
            raise Stop(f"the policy has a container type `{container}` already", Answer.USAGE)
        if asked:
            why = why or _ask("What it does, in a sentence", f"Runs {container}.")
            extends = extends or _ask("Type that it narrows", policy.default, types)
            caps = caps if caps is not None else _ask("Capabilities that it keeps, by commas", "none")
            families = families or _ask("Address families that it keeps, by commas", "the parent's")
            memory = memory or _ask("memory.max", "the parent's")
        extends = extends or policy.default
        if extends not in types:
            raise Stop(f"no container type `{extends}` to extend; there are {', '.join(types)}", Answer.USAGE)
        files = _with_first(files, _first(container, why, extends, caps, families, memory, pids))
    held = prove(folder, files, os.cpu_count() or 1, "text").policy
    _write(folder, files)
    text(
        f"{folder}: {held.host.name} {held.host.version}, {len(held.containers)} container types, which builds as it is"
    )
    if container is not None:
        text(f"yours is {folder}/containers/{container}.yaml; next: stockade build {folder}")
    return Answer.YES


def _ask(question: str, default: str, choices: Mapping[str, str] | None = None) -> str:
    kind = click.Choice(list(choices)) if choices else click.STRING
    return str(click.prompt(question, default=default, type=kind, show_default=bool(default), err=True)).strip()


def _named(word: str, option: str) -> str:
    if not _NAME.match(word):
        raise click.UsageError(f"'{word}' is no name: lower case words joined by dashes; say {option}")
    return word


def _first(
    name: str,
    why: str | None,
    extends: str,
    caps: str | None,
    families: str | None,
    memory: str | None,
    pids: int | None,
) -> First:
    from stockade.source.starter import First

    def parents(word: str | None) -> str | None:
        return None if word in (None, "", "the parent's") else word

    wanted = parents(families)
    for word in (caps, wanted, parents(memory)):  # they become text of a file, and must not become another key of it
        if word is not None and not re.fullmatch(r"[A-Za-z0-9_., ]*", word):
            raise click.UsageError(f"'{word}' has other characters than letters, digits and commas")
    return First(
        name,
        " ".join((why or f"Runs {name}.").split()),
        extends,
        _words(caps),
        None if wanted is None else _words(wanted),
        parents(memory),
        pids,
    )


def _words(listed: str | None) -> tuple[str, ...]:
    words = re.split(r"[,\s]+", (listed or "").strip())
    return tuple(dict.fromkeys(word for word in words if word not in ("", "none")))


def _with_first(files: list[SourceFile], first: First) -> list[SourceFile]:
    """The policy with its first own type. Stop where promises trust the parent by its name, and so nobody like it."""
    from stockade.model.grants import grants
    from stockade.prove.policy import source_findings
    from stockade.source.diagnostics import PolicyError
    from stockade.source.load import build
    from stockade.source.starter import first_files

    made = [*files, *first_files(first)]
    try:
        policy = build(made)
    except PolicyError:
        return made  # prove() says why, with places
    broken = [found for found in source_findings(policy, grants(policy.host)) if "breaks promise" in found.message]
    if broken:
        raise Stop(
            f"`{first.extends}` is trusted by name: {broken[0].message}; start from another type, or without --type",
            Answer.NO,
        )
    return made


def _free(folder: Path) -> None:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise Stop(f"{folder}: is in the way; nothing was changed")
    if folder.is_dir() and next(folder.iterdir(), None) is not None:
        raise Stop(f"{folder}: is not empty; nothing was changed")


def _write(folder: Path, files: list[SourceFile]) -> None:
    """Write the files beside their place and give them its name by one rename, which fails where anything stands."""
    from stockade.source.shape import SCHEMAS
    from stockade.source.starter import SCHEMAS as BESIDE

    content = {file.name: file.data for file in files}
    content |= {f"{BESIDE}/{path.name}": path.read_bytes() for path in sorted(SCHEMAS.glob("*.json"))}
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for name, data in content.items():
            place = beside / name
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        beside.chmod(0o755)
        for inside in (*(each for each in beside.rglob("*") if each.is_dir()), beside):
            _sync(inside)
        beside.rename(folder)
        _sync(folder.parent)
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise Stop(f"{folder}: is in the way; nothing was changed") from error
        raise
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
