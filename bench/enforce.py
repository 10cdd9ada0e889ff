"""What enforcement costs where containers start: the launcher against the bare runtime, in turn, in the same run.

`runc run` is one container that does nothing, made and removed by the runtime alone. `state` and `features` are verbs
that the launcher hands on, the second the shortest there is; a millisecond is told apart by many pairs. `ctr run` is a
container's whole life through containerd 1.7, with every call of the runtime in it, and `filtered` the same where
containerd asks for its default filter, as Kubernetes has it do: the bare runtime of the others makes no filter at all.
Bundles are in memory, as /run is. `apply` is the one decision, in this process. A machine that is busy with something
else measures that as well.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "compiler")]

from _measure import Run, line, milliseconds, pairs, ratio, run, stockade  # noqa: E402
from stockade.enforce.core import Host, Profile, apply  # noqa: E402

from tests.enforce.conftest import containerd, installed  # noqa: E402
from tests.enforce.containers import Site, identity, runnable  # noqa: E402
from tests.enforce.nri.daemon import IMAGE, Containerd  # noqa: E402
from tests.enforce.specs import pod  # noqa: E402

LIMITS = {"ctr run": 1.20, "filtered": 1.20, "runc run": 1.6, "state": 1.05, "features": 1.05}
"""How many times what the bare runtime takes."""
APPLY = 1.0
"""Milliseconds for a specification of 15,000 bytes."""
SIZE = 15_000


def compared(what: str, command: Callable[[str], list[str]], site: Site, bare: str, rounds: int) -> bool:
    """Print the figure of one command with either runtime, and say whether it is within its limit."""

    def once(runtime: str) -> Callable[[], Run]:
        return lambda: run(command(runtime))

    measured = pairs(once(site.launcher()), once(bare), rounds)
    middle, low, high = ratio(measured)
    print(f"{line(what, measured, milliseconds, 'ms')}   95 %: {low:.3f} to {high:.3f}", flush=True)
    if middle > LIMITS[what]:
        print(f"{what}: more than {LIMITS[what]} times", file=sys.stderr)
    return middle <= LIMITS[what]


def decision(bundle: Path, rounds: int) -> bool:
    """Print what `apply` takes for a pod's specification of SIZE bytes."""
    files = ((bundle / f"containers/ordinary/{name}.json").read_bytes() for name in ("oci", "seccomp"))
    profile = Profile.from_files(*files, defaults=("container_t", "data_t"))
    spec = pod()
    number = 0
    while len(json.dumps(spec)) < SIZE:
        number += 1
        spec["process"]["env"].append(f"VARIABLE_{number}=the value of variable {number}")
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        apply(spec, profile, Host())
        times.append((time.perf_counter() - began) * 1000)
    median = statistics.median(times)
    print(f"{'apply':<28} {median:9.3f} ms for {len(json.dumps(spec))} bytes   ({rounds} rounds)", flush=True)
    if median > APPLY:
        print(f"apply: more than {APPLY} ms", file=sys.stderr)
    return median <= APPLY


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="pairs of each command (default: 40)")
    options = parser.parse_args()
    bare = str(shutil.which("runc"))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # In memory, where containerd has bundles and the state of containers; its root stays on the disk.
        memory, state = folder / "memory", folder / "daemon/state"
        for place in (memory, state):
            place.mkdir(parents=True)
            subprocess.run(["mount", "-t", "tmpfs", "stockade-bench", place], check=True)
            # containerd's own place is unmounted already when its tests' frame has ended it.
            stack.callback(subprocess.run, ["umount", "-l", place], stderr=subprocess.DEVNULL, check=False)
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "compiler")}
        build = [*stockade("build"), str(ROOT / "policy"), "-o", str(folder / "compiled")]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL, env=environment)
        site = installed(memory, folder / "compiled", "runc")
        held = [decision(site.bundle, options.rounds * 25)]
        spec = runnable("true")
        del (
            spec["process"]["selinuxLabel"],
            spec["linux"]["mountLabel"],
        )  # which the bare runtime refuses without SELinux
        place = str(site.oci(spec))
        common = ["--root", str(site.state), "--log", str(folder / "log"), "--log-format", "json"]
        held.append(
            compared(
                "runc run", lambda it: [it, *common, "run", "--bundle", place, identity()], site, bare, options.rounds
            )
        )
        name = identity()
        idle = str(site.oci(spec | {"process": spec["process"] | {"args": ["/bin/sleep", "600"]}}))
        subprocess.run([site.launcher(), *common, "create", "--bundle", idle, name], check=True, **_NOTHING)
        stack.callback(subprocess.run, [bare, *common, "delete", "--force", name], check=True)
        for verb, words in (("state", [name]), ("features", [])):
            command = [*common, verb, *words]
            held.append(compared(verb, lambda it, c=command: [it, *c], site, bare, options.rounds * 10))  # type: ignore[misc]
        (folder / "programs").mkdir()
        programs = containerd(folder / "programs")
        daemon = stack.enter_context(Containerd(programs, folder / "daemon"))
        start = [str(programs / "ctr"), "-a", str(daemon.socket), "-n", "k8s.io", "run", "--rm"]
        end = [IMAGE, identity(), "/bin/busybox", "true"]
        for what, more in (("ctr run", []), ("filtered", ["--seccomp"])):
            command = [*start, *more, "--runc-binary"]
            held.append(compared(what, lambda it, c=command: [*c, it, *end], site, bare, options.rounds * 2))  # type: ignore[misc]
    return 0 if all(held) else 1


_NOTHING = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

if __name__ == "__main__":
    sys.exit(main())
