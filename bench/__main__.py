"""Runs every figure of this folder, one process each, in the order of their names; `make bench` calls it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main() -> int:
    here = Path(__file__).resolve().parent
    worst = 0
    for script in sorted(here.glob("*.py")):
        if script.stem.startswith("_"):
            continue
        print(f"== {script.stem}", flush=True)
        worst = max(worst, subprocess.run([sys.executable, str(script), *sys.argv[1:]], check=False).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
