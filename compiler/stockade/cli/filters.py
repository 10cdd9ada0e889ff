"""What the commands about seccomp share: reading profiles and raw filters, their options, spelling verdicts."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from stockade.cli import files
from stockade.cli.output import Answer, Stop
from stockade.model.names import CAPABILITIES
from stockade.model.seccomp import Verdict
from stockade.model.syscalls import ARCHITECTURES, NATIVE
from stockade.seccomp.profile import DOCKER_CAPS, NEWEST, Profile, default_archs, resolve
from stockade.seccomp.profile_format import Document, kernel_version, read
from stockade.seccomp.profile_json import MAX_BYTES, ProfileError, nearest

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
KERNEL_POLICY = b"\x8c\xff\x7c\xf9"
MANY = "the newest that the table of calls knows"


@dataclass(frozen=True, slots=True)
class For:
    """For what a profile is read; `archs` None means all that it covers on this machine."""

    archs: tuple[str, ...] | None
    caps: frozenset[str]
    kernel: tuple[int, int]
    skip_unknown: bool


def profile_options(command: Decorated) -> Decorated:
    """Give a command `--arch`, `--caps`, `--kernel` and `--skip-unknown`, passed to it as those names."""
    for option in reversed(
        (
            click.option("--arch", callback=_archs, help="Architectures, by commas.  [default: all it covers here]"),
            click.option(
                "--caps",
                callback=_caps,
                default="default",
                show_default=True,
                help="The container's capabilities, by commas; or all, none, default (the 14 that Docker gives).",
            ),
            click.option("--kernel", callback=_kernel, help=f"The host's kernel, as 6.1.  [default: {MANY}]"),
            click.option("--skip-unknown", is_flag=True, help="List unknown system calls and go on without them."),
        )
    ):
        command = option(command)
    return command


def _archs(context: click.Context, option: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    found = []
    for word in value.split(","):
        arch = word.strip()
        if arch not in ARCHITECTURES:
            raise click.BadParameter(f"unknown architecture '{arch}'{nearest(arch, ARCHITECTURES)}")
        if arch in found:
            raise click.BadParameter(f"{arch} stands twice")
        found.append(arch)
    return tuple(found)


def _caps(context: click.Context, option: click.Parameter, value: str) -> frozenset[str]:
    sets = {"default": DOCKER_CAPS, "all": frozenset(CAPABILITIES), "none": frozenset[str]()}
    if value in sets:
        return sets[value]
    found = set()
    for word in value.split(","):
        cap = word.strip().upper().removeprefix("CAP_")
        if cap not in CAPABILITIES:
            raise click.BadParameter(f"unknown capability '{word.strip()}'{nearest(cap, CAPABILITIES)}")
        found.add(cap)
    return frozenset(found)


def _kernel(context: click.Context, option: click.Parameter, value: str | None) -> tuple[int, int]:
    if value is None:
        return NEWEST
    found = kernel_version(value)
    if found is None:
        raise click.BadParameter(f"'{value}' is not a version such as 6.1")
    return found


def this_machine() -> str:
    """This machine's architecture. Stop where filters are not compiled for it, so that --arch has to say one."""
    arch = platform.machine()
    if arch not in ARCHITECTURES:
        raise Stop(f"this machine is a {arch}: say --arch, one of {', '.join(ARCHITECTURES)}", Answer.USAGE)
    return arch


def load(path: Path) -> bytes:
    """The bytes of a profile or a filter; `-` is standard input."""
    if path.is_dir():
        raise Stop(f"{path}: {folder(path)}")
    return files.read(path, MAX_BYTES)


def folder(path: Path) -> str:
    """What is said of a folder where a profile or a filter is expected."""
    kind = "a bundle" if (path / "manifest.json").is_file() else "a folder"
    return f"{kind}, where a seccomp profile or a raw filter is expected"


def is_filter(data: bytes) -> bool:
    """Whether these bytes are meant as a raw filter: every instruction has a zero byte, and JSON never has one."""
    return b"\0" in data


def document(path: Path, data: bytes, answer: Answer = Answer.UNDETERMINED) -> Document:
    """The profile in a file; ends the command with `answer` and one line where it is none."""
    if data.startswith(KERNEL_POLICY):
        raise Stop(f"{path}: an SELinux kernel policy, where a seccomp profile or a raw filter is expected")
    try:
        return read(data)
    except ProfileError as error:
        raise Stop(f"{path}: {error}", answer) from None


def profile(path: Path, data: bytes, wanted: For, answer: Answer = Answer.UNDETERMINED) -> Profile:
    """The same, resolved for what is wanted."""
    said = document(path, data, answer)
    archs = wanted.archs
    if archs is None:
        archs = default_archs(said, this_machine())
    try:
        return resolve(said, archs, wanted.caps, wanted.kernel, wanted.skip_unknown)
    except ProfileError as error:
        raise Stop(f"{path}: {error}", answer) from None


def verdict(said: Verdict) -> dict[str, object]:
    """A verdict as JSON: `action`, and `errno` or `data` where it carries one."""
    more = {"errno": said.errno} if said.errno else {"data": said.data} if said.data else {}
    return {"action": str(said.action), **more}


def native(archs: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the architectures that have 64 bits and a kernel of their own."""
    return tuple(arch for arch in archs if arch in NATIVE)
