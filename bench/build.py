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

    With the CIL of the container types when the kernel policy was compiled with it, else the host's alone.
    """
    (binary,) = bundle.glob("host/policy.[0-9]*")
    version = binary.suffix[1:]
    wanted = binary.read_bytes()
    copies = []
    for number, path in enumerate([bundle / "host/policy.cil", *sorted(bundle.glob("containers/*/selinux.cil"))]):
        copies.append(str(shutil.copyfile(path, scratch / f"{number}.cil")))
    output = scratch / "policy"
    tried = []
    for files in (copies, copies[:1]):
        command = ["secilc", "-c", version, "-o", str(output), "-f", str(scratch / "contexts"), *files]
        try:
            run(command)
        except CommandFailed as failed:
            tried.append(str(failed))
            continue
        if output.read_bytes() == wanted:
            print(f"secilc -c {version} on {len(files)} CIL file(s) gives the bytes of {binary.name}")
            return command
        tried.append(f"on {len(files)} CIL file(s) secilc gives other bytes than {binary.name}")
    raise CommandFailed("\n".join(tried))


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
