"""`stockade build` of the shipped policy with 100 and 1,000 more container types, each with a domain of its own."""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import tempfile
from pathlib import Path

from _measure import CommandFailed, floor, megabytes, run, stockade

POLICY = Path(__file__).resolve().parent.parent / "policy"
DROPS = ("mount", "patch", "make-code", "relabel-filesystem")


def generate(folder: Path, count: int) -> None:
    """The shipped policy with `count` more types; each narrows `ordinary` in one of a few ways."""
    shutil.copytree(POLICY, folder)
    for number in range(count):
        verb = DROPS[number % len(DROPS)]
        what = {"make-code": "self", "relabel-filesystem": "local"}.get(verb, "objects")
        text = (
            f"container: scale-{number}\nextends: ordinary\nwhy: one of many\nselinux:\n  domain: scale{number}_t\n"
            f"  may-not:\n    - {{may: {verb}, what: {what}, why: it does without}}\n"
            f"capabilities: [{'CHOWN' if number % 2 else 'KILL'}]\ncgroup:\n  pids.max: {100 + number}\n"
        )
        (folder / "containers" / f"scale-{number}.yaml").write_text(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--types", type=int, nargs=2, default=(100, 1000), help="how many (default: 100 1000)")
    few, many = parser.parse_args().types
    taken = {}
    with tempfile.TemporaryDirectory(prefix="stockade-bench-") as name:
        for count in (few, many):
            policy, bundle = Path(name) / f"policy-{count}", Path(name) / f"bundle-{count}"
            generate(policy, count)
            build = stockade("build", str(policy), "-o", str(bundle), "--jobs", "1")
            try:
                cold = run(build)
                one = policy / "containers" / "scale-0.yaml"
                one.write_text(one.read_text().replace("pids.max: 100\n", "pids.max: 99\n"))
                again = run(build)
            except CommandFailed as failed:
                print(f"scale: {failed}", file=sys.stderr)
                return 3
            taken[count] = cold.seconds
            print(
                f"{count:5} types: {cold.seconds:7.2f} s, {megabytes(cold):7.1f} MB (of which {floor():.1f} MB floor)"
            )
            print(f"{'':5} one file changed: {again.seconds:7.2f} s")
    print(f"growth exponent {math.log(taken[many] / taken[few]) / math.log(many / few):.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
