"""Filters for Debian's default profile: ours beside libseccomp's, counted by one emulator and installed by the kernel.

The profile is /usr/share/containers/seccomp.json for a container with the 14 default capabilities; libseccomp is given
it as runc would, through pyseccomp, at its optimisation levels 1 and 2.
Instructions executed are counted over all calls that the profile allows, evenly and by the published histogram.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stockade.model.seccomp import Action, SyscallPolicy
from stockade.model.syscalls import ARCHITECTURES, numbers
from stockade.seccomp.cbpf import compile_filter
from stockade.seccomp.emulate import decode, run
from stockade.seccomp.profile import read_profile
from stockade.seccomp.prove import prove_filter
from stockade.seccomp.weights import HISTOGRAM, CostModel

PROFILE = Path("/usr/share/containers/seccomp.json")
LISTS = (("x86_64",), ("x86_64", "i386", "x32"), ("aarch64",), ("aarch64", "arm"))
SECCOMP = {"x86_64": 317, "aarch64": 277}


def through_libseccomp(profile: dict[str, Any], archs: Sequence[str], level: int) -> bytes:
    """What runc makes of an OCI profile: rules equal to the default and names that libseccomp lacks are left out."""
    import pyseccomp

    tokens = {
        "x86_64": pyseccomp.Arch.X86_64, "i386": pyseccomp.Arch.X86, "x32": pyseccomp.Arch.X32,
        "aarch64": pyseccomp.Arch.AARCH64, "arm": pyseccomp.Arch.ARM,
    }  # fmt: skip

    def answer(said: dict[str, Any], action: str, number: str) -> int:
        name = str(said[action]).removeprefix("SCMP_ACT_")
        return int(pyseccomp.ERRNO(said.get(number, 1)) if name == "ERRNO" else getattr(pyseccomp, name))

    default = answer(profile, "defaultAction", "defaultErrnoRet")
    made = pyseccomp.SyscallFilter(default)
    made.set_attr(pyseccomp.Attr.CTL_OPTIMIZE, level)
    for arch in archs:
        if tokens[arch] != pyseccomp.system_arch():
            made.add_arch(tokens[arch])
    if pyseccomp.system_arch() not in [tokens[arch] for arch in archs]:
        made.remove_arch(pyseccomp.system_arch())
    for entry in profile["syscalls"]:
        if (action := answer(entry, "action", "errnoRet")) == default:
            continue
        args = [
            pyseccomp.Arg(arg["index"], getattr(pyseccomp, arg["op"].removeprefix("SCMP_CMP_")), arg["value"],
                          *([arg["valueTwo"]] if arg["op"] == "SCMP_CMP_MASKED_EQ" else []))
            for arg in entry.get("args") or ()
        ]  # fmt: skip
        for name in entry["names"]:
            try:
                pyseccomp.resolve_syscall(pyseccomp.system_arch(), name)
                made.add_rule(action, name, *args)
            except ValueError:
                continue
    with os.fdopen(os.memfd_create("filter"), "w+b") as file:
        made.export_bpf(file)
        file.seek(0)
        return file.read()


def executed(program: bytes, arch: str) -> tuple[float, int, float]:
    """(mean, most, weighted mean) of the instructions that calls of `arch` take which the program allows."""
    code, cost = decode(program), {}
    for name, number in numbers(arch).items():
        verdict, steps = run(code, ARCHITECTURES[arch].token, number, [0] * 6)
        if verdict.action is Action.ALLOW:
            cost[name] = steps
    made = sum(HISTOGRAM.get(name, 0) for name in cost)
    weighted = sum(HISTOGRAM.get(name, 0) * steps for name, steps in cost.items()) / made
    return sum(cost.values()) / len(cost), max(cost.values()), weighted


class FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def install_time(program: bytes, tries: int) -> float:
    """The least time in microseconds that seccomp(2) took, each time in a child of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(program, len(program))
    filter_program = FilterProgram(len(program) // 8, ctypes.addressof(buffer))
    number = ctypes.c_long(SECCOMP[platform.machine()])
    arguments = (ctypes.c_ulong(1), ctypes.c_ulong(0), ctypes.byref(filter_program))
    least = float("inf")
    for _ in range(tries):
        read, write = os.pipe()
        if os.fork() == 0:
            libc.prctl(38, 1, 0, 0, 0)
            began = time.perf_counter_ns()
            failed = libc.syscall(number, *arguments)
            took = time.perf_counter_ns() - began
            os.write(write, b"" if failed else str(took).encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as pipe:
            least = min(least, int(pipe.read()) / 1000)
        os.wait()
    return least


def compile_times(policy: SyscallPolicy, archs: Sequence[str], model: CostModel) -> tuple[float, float]:
    """The least milliseconds of compiling and of proving, of seven times each."""
    compiling, proving = [], []
    for _ in range(7):
        began = time.perf_counter()
        program = compile_filter(policy, archs, model)
        between = time.perf_counter()
        prove_filter(policy, archs, program)
        compiling.append(between - began)
        proving.append(time.perf_counter() - between)
    return min(compiling) * 1000, min(proving) * 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=200, help="installations of each filter (default: 200)")
    options = parser.parse_args()
    data = PROFILE.read_bytes()
    print(
        f"{'filter':<34} {'insns':>6} {'mean':>7} {'max':>5} {'weighted':>9} {'install':>9} {'compile':>9} {'proof':>8}"
    )
    for archs in LISTS:
        profile = read_profile(data, archs, skip_unknown=True)
        made: list[tuple[str, bytes, str]] = []
        for model in CostModel:
            compiling, proving = compile_times(profile.policy, archs, model)
            timed = f"{compiling:6.1f} ms {proving:5.1f} ms"
            made.append((f"stockade {model}", compile_filter(profile.policy, archs, model), timed))
        for level in (1, 2):
            began = time.perf_counter()
            program = through_libseccomp(profile.oci[archs[0]], archs, level)
            made.append((f"libseccomp level {level}", program, f"{(time.perf_counter() - began) * 1000:6.1f} ms"))
        print(" + ".join(archs))
        for name, program, timed in made:
            mean, most, weighted = executed(program, archs[0])
            took = f"{install_time(program, options.tries):6.1f} us" if archs[0] == platform.machine() else "-"
            print(f"  {name:<32} {len(program) // 8:>6} {mean:>7.2f} {most:>5} {weighted:>9.2f} {took:>9} {timed:>9}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
