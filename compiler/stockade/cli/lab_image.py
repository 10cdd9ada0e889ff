"""The lab on behalf of a command: how far it is, for whoever looks, and each way to fail as one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stockade.cli.output import Stop, on_terminal

if TYPE_CHECKING:
    from stockade.lab.host import Extra, Image


def built(bundle: Path, extras: Sequence[Extra] = (), *, mirror: str | None = None, refresh: bool = False) -> Image:
    """The image, with a progress bar while it is made and somebody looks."""
    import sys

    from stockade.lab.host import build

    if not on_terminal(sys.stderr):
        return build(bundle, extras=extras, mirror=mirror, refresh=refresh)
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("guest image", total=4)
        steps = 0

        def tell(step: str) -> None:
            nonlocal steps
            bar.update(task, completed=steps, description=f"guest image: {step}")
            steps += 1

        return build(bundle, extras=extras, mirror=mirror, refresh=refresh, progress=tell)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Something that takes minutes, with the time it has taken so far while somebody looks."""
    import sys

    if not on_terminal(sys.stderr):
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        bar.add_task(what, total=None)
        yield


@contextmanager
def failures(bundle: Path) -> Iterator[None]:
    """Every way in which image or guest can fail, as one line."""
    from stockade.bundle.manifest import BundleError
    from stockade.bundle.read import read
    from stockade.lab.elf import ElfError
    from stockade.lab.host import HostFailed
    from stockade.lab.host.contract import ContractError
    from stockade.lab.host.packages import PackageError
    from stockade.lab.host.programs import CompileError
    from stockade.lab.image import ImageError
    from stockade.lab.tools import LabMissing

    try:
        read(bundle)
        yield
    except LabMissing as error:
        raise Stop(f"{error}; `stockade doctor --for lab` says all that is missing") from error
    except HostFailed as error:
        tail = "\n".join(error.console.splitlines()[-20:])
        raise Stop(f"{error}\n{tail}" if tail else str(error)) from error
    except (PackageError, CompileError, ElfError) as error:
        raise Stop(str(error)) from error
    except (BundleError, ContractError, ImageError, ValueError, OSError) as error:
        raise Stop(f"{bundle}: {error}") from error
