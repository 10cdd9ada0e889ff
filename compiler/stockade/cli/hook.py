"""`stockade hook`: installs the runtime wrapper, and verifies a container that is about to start."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from stockade.cli.files import MIB
from stockade.cli.files import read as read_whole
from stockade.cli.output import PLACE, Answer, Stop, format_option, json_document, message, text


@click.group("hook", short_help="Give every container its type's confinement when it starts.")
def command() -> None:
    """Give every container its type's confinement when it starts.

    \b
    Example:
      stockade hook install --bundle /etc/stockade/bundle --prefix /opt/stockade
    """


@command.command("install")
@click.option("--bundle", type=PLACE, required=True, help="The bundle to enforce.")
@click.option("--prefix", type=PLACE, required=True, help="Where to install: bin, lib, share.")
@click.option("--runtime", type=PLACE, help="The runtime to start: runc on PATH when not said.")
@click.option("--python", "interpreter", type=PLACE, help="The interpreter of the wrapper.")
@click.option(
    "--without", type=click.Choice(["selinux"]), multiple=True, help="Do without this layer, on a host that lacks it."
)
@click.option(
    "--log",
    type=PLACE,
    default=Path("/var/log/stockade"),
    show_default=True,
    help="Folder of decisions.",
)
@click.option("--journal", is_flag=True, help="Send decisions to systemd's journal as well.")
@click.option("--select", type=PLACE, help="Also a launcher that chooses the type by the rules in this file.")
@click.option("--systemd-cgroup", is_flag=True, help="The kubelet's `cgroupDriver` is systemd.")
@click.option("--root", type=PLACE, help="Write below this folder, for a host that has it as `/`.")
@click.option("--dry-run", is_flag=True, help="Launchers that change and refuse nothing, and record what they would.")
@format_option
def install_(
    bundle: Path,
    prefix: Path,
    runtime: Path | None,
    interpreter: Path | None,
    without: tuple[str, ...],
    log: Path,
    journal: bool,
    select: Path | None,
    systemd_cgroup: bool,
    root: Path | None,
    dry_run: bool,
    form: str,
) -> None:
    """Write a launcher for each container type, PREFIX/bin/stockade-TYPE, to be containerd's `BinaryName`.

    \b
    Example:
      stockade hook install --bundle /etc/stockade/bundle --prefix /opt/stockade
    """
    from stockade.enforce.install import Installation, InstallError, install
    from stockade.enforce.record import JOURNAL
    from stockade.enforce.refusal import Refused

    plan = Installation(
        bundle=str(bundle) if root else os.path.realpath(bundle),
        prefix=str(prefix if root else prefix.absolute()),
        runtime=str(runtime or _runtime(root)),
        python=str(interpreter or Path(getattr(sys, "_base_executable", sys.executable)).resolve()),
        log=str(log),
        without=without,
        dry_run=dry_run,
        root=os.path.realpath(root) if root else "",
        select=str(select) if select else "",
        systemd_cgroup=systemd_cgroup,
        journal=JOURNAL if journal else "",
    )
    try:
        written = install(plan)
    except (InstallError, Refused) as error:
        raise Stop(str(error)) from None
    if form == "json":
        json_document({"written": written, "without": list(without), "dryRun": dry_run})
        return
    for path in written:
        text(path)
    for layer in without:
        message(f"hook: installed without {layer}: every report says so")
    if dry_run:
        message("hook: a dry run: containers start as they did, and what would be refused is recorded")
    message(f"hook: containerd is told by {plan.prefix}/share/stockade/containerd-2.toml or containerd-3.toml")


def _runtime(root: Path | None) -> Path:
    import shutil

    found = shutil.which("runc", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if root is not None or found is None:
        raise Stop("which runtime? name it with --runtime", Answer.USAGE)
    return Path(found).resolve()


@command.command("verify")
@click.option(
    "--bundle",
    type=PLACE,
    default=Path("/etc/stockade/bundle"),
    show_default=True,
    help="The bundle that containers are held to.",
)
@click.option("--without", type=click.Choice(["selinux"]), multiple=True, help="A layer that this host does without.")
@click.option(
    "--by-annotation",
    is_flag=True,
    help="Believe the specification about the type: for containers that no launcher starts.",
)
def verify_(bundle: Path, without: tuple[str, ...], by_annotation: bool) -> None:
    """Judge the container whose state is on standard input; anything but exit code 0 refuses it.

    This is an OCI createRuntime hook. Which type a container is of, the launcher has decided and written down where no
    specification reaches. `hook install` writes a faster form of the same hook, PREFIX/share/stockade/verify-hook.json.

    \b
    Example:
      stockade hook verify --bundle /etc/stockade/bundle < state.json
    """
    from stockade.bundle.manifest import BundleError
    from stockade.bundle.read import read
    from stockade.enforce.decided import FOLDER, Decided
    from stockade.enforce.install import defaults_of
    from stockade.enforce.profile import Profile
    from stockade.enforce.refusal import CONFINED, Refused, refuse
    from stockade.enforce.verify import findings

    try:
        found = read(bundle)
        defaults = defaults_of(found)

        def profile_of(name: str) -> Profile:
            if name not in found.types:
                raise refuse(CONFINED, f"there is no type {name}")
            oci, seccomp = (found.bytes(f"containers/{name}/{file}") for file in ("oci.json", "seccomp.json"))
            return Profile.from_files(oci, seccomp, defaults)

        decided = None if by_annotation else Decided(FOLDER)
        wider = findings(read_whole(Path("-"), 16 * MIB), profile_of, without, decided)
    except BundleError as error:
        raise Stop(f"{bundle}: {error}") from None
    except Refused as refused:
        wider = refused.reasons
    for place, why in wider:
        message(f"stockade: {place}: {why}")
    if wider:
        raise Stop(answer=Answer.NO)
