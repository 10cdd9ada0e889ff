"""`stockade lab`: the compiled policy in a real kernel."""

from __future__ import annotations

from pathlib import Path

import click

from stockade.cli.output import Answer, Stop, format_option, json_document, table, text


@click.group()
def command() -> None:
    """Ask a real kernel about a compiled policy.

    \b
    Example:
      stockade lab boot ./build
    """


@command.command()
@click.argument("bundle", required=False, type=click.Path(path_type=Path), default=Path("build"))
@click.option("--timeout", type=click.FloatRange(1, 3600), default=60, show_default=True, help="Seconds to give it.")
@click.option("--keep", type=click.Path(path_type=Path), help="Leave images, console and report in this folder.")
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
