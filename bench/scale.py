"""`stockade build` with many more container types: of one domain in common, and with a domain each."""

from __future__ import annotations

import argparse
import math
import os
import re
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from itertools import count, islice, pairwise
from pathlib import Path

from _measure import CommandFailed, Run, floor, megabytes, run, stockade

POLICY = Path(__file__).resolve().parent.parent / "policy"
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where the bundles go: ext4 takes up to 0.5 ms more for each of 9,000 files where others were deleted lately, and this
script deletes as many each round."""
DROPS = ("mount", "patch", "make-code", "relabel-filesystem")


def generate(folder: Path, count: int, own: bool) -> None:
    """The shipped policy with `count` more types that narrow `ordinary`, with `own` each in a domain of its own."""
    shutil.copytree(POLICY, folder)
    for number in range(count):
        verb = DROPS[number % len(DROPS)]
        what = {"make-code": "self", "relabel-filesystem": "local"}.get(verb, "objects")
        domain = (
            f"selinux:\n  domain: scale{number}_t\n"
            f"  may-not:\n    - {{may: {verb}, what: {what}, why: it does without}}\n"
        )
        text = (
            f"container: scale-{number}\nextends: ordinary\nwhy: one of many\n{domain if own else ''}"
            f"capabilities: [{'CHOWN' if number % 2 else 'KILL'}]\ncgroup:\n  pids.max: {100 + number}\n"
        )
        (folder / "containers" / f"scale-{number}.yaml").write_text(text)


def changes(one: Path, own: bool) -> Iterator[tuple[str, str]]:
    """Texts of one type's file, each with one change more, for ever: (what changed, text)."""
    text, more = one.read_text(), ("CHOWN, KILL", "KILL")
    for number in count():
        text = re.sub(r"pids.max: \d+", f"pids.max: {1000 + number}", text)
        yield "a limit", text
        text = re.sub(r"capabilities: .*", f"capabilities: [{more[number % 2]}]", text)
        yield "a capability", text
        text = f"# another line\n{text}"
        yield "its lines", text
        if own:
            text = re.sub(r"- {may: .*, what: .*, why", f"- {{may: {DROPS[number % 2]}, what: objects, why", text)
            yield "a drop", text


def measure(name: str, counts: list[int], own: bool, rounds: int) -> None:
    """Builds with each count, anew and with one file changed, and says how the time grows from each to the next."""
    taken: list[float] = []
    with tempfile.TemporaryDirectory(prefix="stockade-bench-", dir=MEMORY) as place:
        os.environ["XDG_CACHE_HOME"] = place
        # As where it is installed, its modules are there compiled: a first build sees to that.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = f"{place}/modules"
        run(stockade("build", str(POLICY), "-o", f"{place}/first"))
        for many in counts:
            policy, bundle = Path(place) / f"policy-{many}", Path(place) / f"bundle-{many}"
            generate(policy, many, own)
            build = stockade("build", str(policy), "-o", str(bundle), "--jobs", "1")
            cold = run(build)
            again: dict[str, list[Run]] = {}
            one = policy / "containers" / "scale-0.yaml"
            for what, text in islice(changes(one, own), rounds * (4 if own else 3)):
                one.write_text(text)
                again.setdefault(what, []).append(run(build))
            taken.append(cold.busy)
            print(
                f"{many:5} types, {name}: {cold.busy:6.1f} s of a processor ({cold.seconds:.1f} s in all, "
                f"{megabytes(cold):.0f} MB)",
                flush=True,
            )
            for what, found in again.items():
                busy, wall = (statistics.median(getattr(each, unit) for each in found) for unit in ("busy", "seconds"))
                share = f"1/{cold.busy / busy:.0f} of it"
                print(f"      {what} of one changed: {busy:.2f} s ({wall:.2f} s in all), {share}", flush=True)
    for (few, before), (many, after) in pairwise(zip(counts, taken, strict=True)):
        print(f"      growth exponent from {few} to {many}: {math.log(after / before) / math.log(many / few):.2f}")
    if len(counts) > 2:
        exponent = math.log(taken[-1] / taken[0]) / math.log(counts[-1] / counts[0])
        print(f"      growth exponent from {counts[0]} to {counts[-1]}: {exponent:.2f}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--types", type=int, nargs="+", default=[100, 300, 1000], help="how many (100 300 1000)")
    parser.add_argument("--rounds", type=int, default=5, help="changes of one file in each (default: 5)")
    given = parser.parse_args()
    try:
        measure("one domain", given.types, own=False, rounds=given.rounds)
        measure("a domain each", given.types, own=True, rounds=given.rounds)
    except CommandFailed as failed:
        print(f"scale: {failed}", file=sys.stderr)
        return 3
    print(f"      ({floor():.1f} MB is the least memory measurable)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
