"""`stockade build` with many more container types: of one domain in common, and with a domain each."""

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


def measure(name: str, counts: list[int], own: bool) -> None:
    """Builds with each count, once anew and once with one file changed, and says how the time grows."""
    taken: dict[int, float] = {}
    with tempfile.TemporaryDirectory(prefix="stockade-bench-") as place:
        for count in counts:
            policy, bundle = Path(place) / f"policy-{count}", Path(place) / f"bundle-{count}"
            generate(policy, count, own)
            build = stockade("build", str(policy), "-o", str(bundle), "--jobs", "1")
            cold = run(build)
            one = policy / "containers" / "scale-0.yaml"
            one.write_text(one.read_text().replace("pids.max: 100\n", "pids.max: 99\n"))
            again = run(build)
            taken[count] = cold.busy
            print(f"{count:5} types, {name}: {cold.busy:6.1f} s of a processor, {cold.seconds:6.1f} s in all, "
                  f"{megabytes(cold):6.0f} MB; one file changed: {again.busy:5.1f} s", flush=True)  # fmt: skip
    few, many = counts
    print(f"      growth exponent {math.log(taken[many] / taken[few]) / math.log(many / few):.2f}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--types", type=int, nargs=2, default=[100, 1000], help="of one domain (default: 100 1000)")
    parser.add_argument("--domains", type=int, nargs=2, default=[30, 100], help="of a domain each (default: 30 100)")
    given = parser.parse_args()
    try:
        measure("one domain", given.types, own=False)
        measure("a domain each", given.domains, own=True)
    except CommandFailed as failed:
        print(f"scale: {failed}", file=sys.stderr)
        return 3
    print(f"      ({floor():.1f} MB is the least memory measurable)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
