"""Where the `stockade` command starts and ends: whatever happens inside becomes an exit code and at most one line."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments`, by default the process's own.

    Returns 0 yes, 1 no, 2 wrong usage or 3 undetermined. A command answers by returning one of these numbers (or
    nothing, for 0) or by raising `output.Stop`. Everything else is undetermined: one line on standard error, and the
    traceback as well with STOCKADE_DEBUG=1. Ctrl-C and a reader that goes away are no answers: the process then ends
    by the signal, as a shell expects.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if sys.stdout is None:  # started with `>&-`
        _complain("standard output is closed, so there is nowhere to answer")
        return 3
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a letter that the locale lacks costs no answer
    try:
        answer = _answer(words)
        sys.stdout.flush()
    except KeyboardInterrupt:
        _complain("interrupted")
        return _end_by(signal.SIGINT)
    except BrokenPipeError:
        return _end_by(signal.SIGPIPE)
    except Exception as error:
        if os.environ.get("STOCKADE_DEBUG"):
            import traceback

            traceback.print_exc()
        _complain(_describe(error))
        _abandon_output()
        return 3
    return answer


def _answer(words: list[str]) -> int:
    if words == ["--version"]:
        from stockade import __version__

        print(f"stockade {__version__}")
        return 0
    try:
        import click
    except ModuleNotFoundError as missing:
        _complain(f"the Python package {missing.name} is missing: {sys.executable} -m pip install 'click>=8.1'")
        return 3
    from stockade.cli.group import stockade
    from stockade.cli.output import Stop

    # An empty NO_COLOR counts as unset (no-color.org); None leaves the choice to whether the output is a terminal.
    color = False if os.environ.get("NO_COLOR") else None
    completing = os.environ.get("_STOCKADE_COMPLETE")
    if completing:
        from click.shell_completion import shell_complete

        return shell_complete(stockade, {}, "stockade", "_STOCKADE_COMPLETE", completing)
    try:
        # Not click's own main(): that one answers a reader that went away with exit code 1, which means "no" here.
        with stockade.make_context("stockade", words, color=color) as context:
            result = stockade.invoke(context)
    except click.exceptions.Exit as done:
        result = done.exit_code
    except Stop as stop:
        if str(stop):
            _complain(str(stop))
        return int(stop.answer)
    except click.UsageError as usage:
        usage.show()
        return 2
    except click.Abort:  # the input ended at a prompt
        _complain("aborted")
        return 3
    except click.ClickException as other:
        _complain(other.format_message())
        return 3
    if result is None:
        return 0
    if not isinstance(result, int) or isinstance(result, bool) or result not in (0, 1, 2, 3):
        raise TypeError(f"the command answered {result!r}, which is no exit code")
    return int(result)


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        from stockade.cli.output import spelled

        where = f"{spelled(str(error.filename))}: " if error.filename is not None else ""
        return f"{where}{error.strerror}"
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.partition(".")[0] != "stockade":
        return f"the Python package {error.name} is missing (`stockade doctor` says how to install what is)"
    first = (str(error).splitlines() or [""])[0]
    return f"unexpected {type(error).__name__}: {first} (STOCKADE_DEBUG=1 shows where)"


def _complain(message: str) -> None:
    # Where standard error itself is gone, the exit code still tells.
    try:
        print(f"stockade: {message}", file=sys.stderr, flush=True)
    except (OSError, ValueError):
        return


def _abandon_output() -> None:
    # What standard output still holds is part of no answer; and its failing flush at exit would print a traceback.
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):
        return


def _end_by(number: signal.Signals) -> int:
    _abandon_output()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number  # reached only where the signal is blocked


if __name__ == "__main__":
    sys.exit(main())
