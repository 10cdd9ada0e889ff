"""The NRI plugin with nothing but the standard library: `python3 -m stockade.enforce.nri`, and what an image starts."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys

from .run import OPTIONS, PARTIAL, CannotRun, Settings, run


def main(words: list[str] | None = None) -> int:
    """Serve as the words say; 0 when told to stop, 1 when refused to start, 2 for wrong usage, 3 for the rest."""
    parser = argparse.ArgumentParser(prog="stockade nri", description=PARTIAL)
    defaults = {field.name: field.default for field in dataclasses.fields(Settings)}
    for name, purpose in OPTIONS:
        default = defaults[name.replace("-", "_")]
        if isinstance(default, bool):
            parser.add_argument(f"--{name}", action="store_true", help=purpose)
        elif default is dataclasses.MISSING:
            parser.add_argument(f"--{name}", required=True, help=purpose)
        else:
            parser.add_argument(f"--{name}", type=type(default), default=default, help=f"{purpose} [{default}]")
    try:
        return run(Settings(**vars(parser.parse_args(words))), os.environ)
    except CannotRun as reason:
        print(f"stockade: {reason}", file=sys.stderr)
        return reason.answer


if __name__ == "__main__":
    sys.exit(main())
