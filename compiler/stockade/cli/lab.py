"""`stockade lab`: the compiled policy in a real kernel."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import click

from stockade.cli.files import MIB, read
from stockade.cli.lab_image import built, failures
from stockade.cli.lab_prove import prove
from stockade.cli.output import PLACE, Answer, Stop, format_option, json_document, shown, table, text

_LAID = 256 * MIB
"""Bytes that a file or a standard input may have which the guest, with its memory, is given."""


@click.group()
def command() -> None:
    """Ask a real kernel about a compiled policy.

    \b
    Examples:
      stockade lab boot ./build
      stockade lab run -- runc --version
    """


command.add_command(prove)


@command.command()
@click.argument("bundle", required=False, type=PLACE, default=Path("build"))
@click.option("--timeout", type=click.FloatRange(1, 3600), default=60, show_default=True, help="Seconds to give it.")
@click.option("--keep", type=PLACE, help="Leave images, console and report in this folder.")
@format_option
def boot(bundle: Path, timeout: float, keep: Path | None, form: str) -> int:
    """Boot a guest kernel that loads and enforces BUNDLE's policy, and try what containers must and must not do.

    BUNDLE is a folder that `stockade build` wrote; without it ./build. The guest needs no root and no hardware, and
    leaves nothing behind. Ends with 0 when the kernel agrees with every probe, 1 when it does not, 3 when it could
    not be asked.

    \b
    Example:
      stockade lab boot ./build
    """
    from stockade.bundle.manifest import BundleError
    from stockade.bundle.read import read
    from stockade.lab.boot import BootFailed
    from stockade.lab.boot import boot as start
    from stockade.lab.image import ImageError
    from stockade.lab.tools import LabMissing

    try:
        read(bundle)
        result = start(bundle, timeout=timeout, keep=keep)
    except LabMissing as error:
        raise Stop(f"{error}; `stockade doctor --for lab` says all that is missing") from error
    except BootFailed as error:
        tail = "\n".join(error.console.splitlines()[-20:])
        raise Stop(f"{error}\n{tail}" if tail else str(error)) from error
    except (BundleError, ImageError, ValueError) as error:
        raise Stop(f"{bundle}: {error}") from error
    if form == "json":
        json_document(result.as_dict())
    else:
        rows = []
        for outcome in result.outcomes:
            denied = "; ".join(sorted({f"{d.tclass} {{ {' '.join(sorted(d.permissions))} }}" for d in outcome.denials}))
            verdict = "error" if outcome.verdict is None else outcome.verdict.value
            rows.append((outcome.probe.name, outcome.probe.context.split(":", 2)[2], verdict, denied or outcome.text))
        table(("probe", "as", "kernel", "why"), rows)
        text(
            f"Linux {result.kernel} loaded {result.policy_bytes} bytes of policy, enforcing; PID 1 is "
            f"{result.init_context}; {len(result.outcomes)} probes in {result.seconds:.1f} s"
        )
    if result.problems:
        raise Stop("\n".join(["the kernel disagrees:", *result.problems]), Answer.NO)
    return Answer.YES


@command.command("build")
@click.argument("bundle", required=False, type=PLACE, default=Path("build"))
@click.option("--mirror", help="A Debian mirror, in the place of the one that this machine's apt uses.")
@click.option("--refresh", is_flag=True, help="Ask the mirror for newer packages; without it those chosen before stay.")
@format_option
def build_image(bundle: Path, mirror: str | None, refresh: bool, form: str) -> int:
    """Build the guest host's image: containerd, runc and crun on a sealed root, labelled as BUNDLE's policy says.

    BUNDLE is a folder that `stockade build` wrote; without it ./build. The image is kept in the cache and made anew
    only when something that goes into it has changed; the same inputs give the same root hash. Needs no root.

    \b
    Example:
      stockade lab build ./build
    """
    from stockade.lab.host import cache

    before = set(cache.folder("images").iterdir())
    with failures(bundle):
        image = built(bundle, mirror=mirror, refresh=refresh)
        inventory = image.inventory()
    if form == "json":
        json_document({**inventory, "folder": str(image.folder), "cached": image.folder in before})
        return Answer.YES
    packages = inventory["packages"]
    assert isinstance(packages, list)
    table(("package", "version", "sha256"), [(row["name"], row["version"], row["sha256"][:16]) for row in packages])
    text(f"root hash {image.seal.root_hash}, {image.seal.blocks * 4096 / 1e6:.0f} MB, in {image.folder}")
    return Answer.YES


@command.command(context_settings={"ignore_unknown_options": True})
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--bundle", type=PLACE, default=Path("build"), show_default=True)
@click.option("--timeout", type=click.FloatRange(1, 3600), default=60, show_default=True, help="Seconds for all of it.")
@click.option(
    "--by", type=click.Choice(["runtime", "system", "init", "kernel"]), default="runtime", help="Who starts it."
)
@click.option("--context", default="", help="SELinux context to enter its program in, as a runtime asks for one.")
@click.option("--file", "files", multiple=True, metavar="FROM:TO", help="Lay a file of this machine into the guest.")
@click.option("--containerd", is_flag=True, help="Start containerd first.")
@click.option("--busybox", is_flag=True, help="Add busybox with its shell to the root, first on PATH.")
@click.option("--python", is_flag=True, help="Add Debian's Python and this package to the root.")
@click.option("--permissive", is_flag=True, help="Load the policy and only write down what it denies.")
@click.option("--stdin", "with_stdin", is_flag=True, help="Give it this command's standard input.")
@format_option
def run(
    argv: tuple[str, ...],
    bundle: Path,
    timeout: float,
    by: str,
    context: str,
    files: tuple[str, ...],
    containerd: bool,
    busybox: bool,
    python: bool,
    permissive: bool,
    with_stdin: bool,
    form: str,
) -> int:
    """Boot the guest host, run one command in it, say how it ended and what the kernel denied.

    The command's output comes out as it is, the denials on standard error. Ends with 0 when the command did, 1 when it
    ended otherwise, 3 when the guest could not be asked. There is no shell on the root unless you add one.

    \b
    Examples:
      stockade lab run -- runc --version
      stockade lab run --busybox --context system_u:system_r:container_t:s0:c1,c2 -- sh -c 'id; ls -Z /'
    """
    import sys

    from stockade.lab.host import By, File, Task
    from stockade.lab.host import extras as more
    from stockade.lab.host import run as start

    laid = []
    for pair in files:
        source, colon, target = pair.rpartition(":")
        if not colon or not target.startswith("/"):
            raise click.UsageError(f"--file {pair}: it is FROM:TO, and TO is absolute")
        try:
            here = Path(shown(source))
            laid.append(File(target, read(here, _LAID), here.stat().st_mode & 0o777))
        except OSError as error:
            raise Stop(f"{source}: {error.strerror}") from error
    with failures(bundle):
        trees = [make() for wanted, make in ((busybox, more.busybox), (python, more.python)) if wanted]
        image = built(bundle, trees)
        path = "/usr/lib/busybox:/usr/bin:/usr/sbin" if busybox else "/usr/bin:/usr/sbin"
        task = Task(
            argv,
            By(by),
            context,
            stdin=read(Path("-"), _LAID) if with_stdin else b"",
            env={"PATH": path},
            timeout=timeout,
        )
        result = start(image, [task], files=laid, containerd=containerd, enforcing=not permissive, timeout=timeout)
    (only,) = result.tasks
    if form == "json":
        json_document(result.as_dict())
    else:
        _pass_on(only.stdout, sys.stdout)
        _pass_on(only.stderr, sys.stderr)
        for denial in only.denials:
            click.echo(f"denied: {denial}", err=True)
    if only.status == 0:
        return Answer.YES
    ended = f"ended with {only.status}" if only.status is not None else _fault(only.fault, only.errno)
    raise Stop(f"{argv[0]} {ended}", Answer.NO)


def _pass_on(data: bytes, stream: TextIO) -> None:
    """Write bytes as they are; as text where the stream takes nothing else."""
    stream.flush()
    if hasattr(stream, "buffer"):
        stream.buffer.write(data)
        stream.buffer.flush()
    else:
        stream.write(data.decode("utf-8", "backslashreplace"))


def _fault(fault: str, errno: int) -> str:
    import os

    return {"failed": f"could not be started: {os.strerror(errno)}", "timeout": "was stopped at its time limit"}[fault]
