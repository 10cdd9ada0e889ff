"""`stockade build` of the shipped policy, cold and with nothing changed, against `secilc` alone on the same CIL."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from _measure import CommandFailed, Run, floor, line, megabytes, milliseconds, pairs, run, stockade

POLICY = Path(__file__).resolve().parent.parent / "policy"


def secilc(bundle: Path, scratch: Path) -> list[str]:
    """secilc's command line for the CIL of the bundle, copied into `scratch`; it must give the bundle's very bytes.

    That is the host's CIL, and that of the container types that declare a domain of their own.
    """
    (binary,) = bundle.glob("host/policy.[0-9]*")
    version = binary.suffix[1:]
    own = [path for path in sorted(bundle.glob("containers/*/selinux.cil")) if "\n(type " in path.read_text()]
    copies = []
    for number, path in enumerate([bundle / "host/policy.cil", *own]):
        copies.append(str(shutil.copyfile(path, scratch / f"{number}.cil")))
    output = scratch / "policy"
    command = ["secilc", "-c", version, "-o", str(output), "-f", str(scratch / "contexts"), *copies]
    run(command)
    if output.read_bytes() != binary.read_bytes():
        raise CommandFailed(f"secilc gives other bytes than {binary.name} on {len(copies)} CIL files")
    print(f"secilc -c {version} on {len(copies)} CIL files gives the bytes of {binary.name}")
    return command


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11, help="pairs to measure (default: 11)")
    rounds: int = parser.parse_args().rounds
    if shutil.which("secilc") is None:
        print(
            "build: secilc is missing, and there is nothing else to compare with: tools/install test", file=sys.stderr
        )
        return 3
    with tempfile.TemporaryDirectory(prefix="stockade-bench-") as name:
        scratch = Path(name)
        bundle = scratch / "bundle"
        build = stockade("build", str(POLICY), "-o", str(bundle))
        try:
            run(build)
            alone = secilc(bundle, scratch)

            def cold() -> Run:
                shutil.rmtree(bundle, ignore_errors=True)
                return run(build)

            first = pairs(cold, lambda: run(alone), rounds)
            again = pairs(lambda: run(build), lambda: run(alone), rounds)
        except CommandFailed as failed:
            print(f"build: {failed}", file=sys.stderr)
            return 3
    print(line("cold build", first, milliseconds, "ms"))
    print(line("cold build, peak memory", first, megabytes, "MB"))
    print(line("nothing changed", again, milliseconds, "ms"))
    print(line("nothing changed, peak memory", again, megabytes, "MB"))
    print(f"{'(least memory measurable':<28} {floor():9.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
