"""What asking a real kernel takes, on two processors at most: the image, a boot of it, and the trial of every action.

`image` is `lab build` from Debian's packages, which are there already. `boot` is the guest host from the first
instruction of its kernel to power-off, with the policy enforced and one program run on it. `prove` is all of
`lab prove`: boot, every action in every container type, whole and with layers taken away, and the comparison.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "compiler")]

from _measure import Run, run, stockade  # noqa: E402
from stockade.lab.host import cache  # noqa: E402

LIMITS = {"boot": 8.0, "prove": 360.0}
"""Seconds."""


def shown(what: str, runs: list[Run], more: str = "") -> bool:
    """Print the median of some runs, and say whether it is within its limit."""
    seconds = statistics.median(run.seconds for run in runs)
    busy = statistics.median(run.busy for run in runs)
    print(f"{what:<28} {seconds:9.1f} s, {busy:.1f} s of a processor   ({len(runs)} rounds){more}", flush=True)
    limit = LIMITS.get(what, seconds)
    if seconds > limit:
        print(f"{what}: more than {limit:g} s", file=sys.stderr)
    return seconds <= limit


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="boots (default: 3); image and trial are taken once")
    options = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    os.environ["PYTHONPATH"] = str(ROOT / "compiler")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle, answer = str(folder / "bundle"), folder / "answer.json"
        run([*stockade("build"), str(ROOT / "policy"), "-o", bundle])
        run([*stockade("lab", "build"), bundle])
        packages = cache.folder("packages")
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        shutil.copytree(packages, cache.folder("packages"), dirs_exist_ok=True)
        held = [shown("image", [run([*stockade("lab", "build"), bundle])])]
        boot = [*stockade("lab", "run"), "--bundle", bundle, "--", "runc", "--version"]
        held.append(shown("boot", [run(boot) for _ in range(options.rounds)]))
        proof = run([*stockade("lab", "prove"), bundle, "-o", str(answer)])
        told = json.loads(answer.read_text(encoding="utf-8"))
        asked = f"{len(told['tried'])} actions, {len(told['types'])} types, {len(told['settings'])} settings"
        more = f"   {asked}: {told['compared']} answers, {len(told['mismatches'])} not as predicted"
        held.append(shown("prove", [proof], more))
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
