"""Writes stockade/model/syscalls_table.py and syscalls_since.py from the `system-calls` package, newest and older.

The package reads the kernel's own tables, one release of it for a release of Linux. The numbers come from the installed
release. When a call came is told by the releases that have it and those that do not: `--history` fetches them with pip.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Collection
from pathlib import Path

import system_calls

COLUMNS = {"x86_64": "x86_64", "aarch64": "arm64", "i386": "i386", "x32": "x32", "arm": "arm", "riscv64": "riscv64"}
MODEL = Path(__file__).resolve().parent.parent / "compiler/stockade/model"
TARGET, SINCE = MODEL / "syscalls_table.py", MODEL / "syscalls_since.py"
HEADER = '''"""System-call numbers of Linux {kernel}, a line a name; written by tools/syscall_table.py, not by hand."""

KERNEL = "{kernel}"
COLUMNS = {columns}
TABLE = """\\
'''
SINCE_HEADER = '''"""The kernel that brought a call, as far as known; by tools/syscall_table.py --history, not by hand.

Source: the releases of the `system-calls` package, each with the tables of one kernel:
{kernels}.
A line is a name, the newest of these kernels that lacks it and the oldest that has it. Every other name of the table
is in the oldest, {oldest}. So are arm's private calls, which the package lists only of late.
"""

OLDEST = "{oldest}"
SINCE = """\\
'''
ARM_PRIVATE = 0xF0000
# The newest release of the package for each kernel that it was released for, and that kernel.
RELEASES = {
    "5.13.3": "5.13", "5.15.5": "5.15", "5.16.2": "5.16", "5.19.0": "5.19", "6.4.0": "6.4", "6.6.0": "6.6",
    "6.7.0": "6.7", "6.11.1": "6.11", "6.13.1": "6.13", "6.15.0": "6.15", "6.17.0": "6.17", "6.19.0": "6.19",
    "7.0": "7.0", "7.2": "7.2",
}  # fmt: skip
ASK = """
import json, sys
sys.path.insert(0, sys.argv[1])
try:
    import system_calls as module
except ImportError:
    import syscalls as module
tables, found = module.syscalls(), set()
for name in json.loads(sys.argv[2]):
    for arch in json.loads(sys.argv[3]):
        try:
            tables.get(name, arch)
        except Exception:  # each release of the package has exceptions of its own for a call that is not there
            continue
        found.add(name)
print(json.dumps(sorted(found)))
"""


def _names() -> list[str]:
    source = system_calls.syscalls()
    return sorted(set().union(*(source.load_arch_table(theirs) for theirs in COLUMNS.values())))


def render() -> str:
    """The text of the table: names in order, one column per architecture, `-` where it lacks the call."""
    source = system_calls.syscalls()
    tables = [source.load_arch_table(theirs) for theirs in COLUMNS.values()]
    rows = [" ".join([name, *(str(table.get(name, "-")) for table in tables)]) for name in _names()]
    columns = "(" + ", ".join(f'"{ours}"' for ours in COLUMNS) + ")"
    return HEADER.format(kernel=source.linux_version, columns=columns) + "\n".join(rows) + '\n"""\n'


def render_since() -> str:
    """The text of the history, from releases that pip fetches into a scratch folder; they are read, not installed."""
    present: dict[str, Collection[str]] = {}
    with tempfile.TemporaryDirectory(prefix="system-calls-") as folder:
        for release, kernel in RELEASES.items():
            wanted = [f"system-calls=={release}", "--no-deps", "--only-binary", ":all:", "-q", "-d", folder]
            subprocess.run([sys.executable, "-m", "pip", "download", *wanted], check=True, stderr=subprocess.DEVNULL)
            (wheel,) = Path(folder).glob(f"system_calls-{release}-*.whl")
            unpacked = Path(folder) / release
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(unpacked)
            question = [str(unpacked), json.dumps(_names()), json.dumps(list(COLUMNS.values()))]
            command = [sys.executable, "-I", "-S", "-c", ASK, *question]
            answer = subprocess.run(command, check=True, capture_output=True, text=True)
            present[kernel] = frozenset(json.loads(answer.stdout))
    kernels = list(present)
    private = {name for name, number in system_calls.syscalls().load_arch_table("arm").items() if number >= ARM_PRIVATE}
    lines = []
    for name in _names():
        first = next(at for at, kernel in enumerate(kernels) if name in present[kernel])
        if first and any(name not in present[kernel] for kernel in kernels[first:]):
            raise SystemExit(f"{name} comes and goes: the releases cannot tell when it came")
        if first and name not in private:
            lines.append(f"{name} {kernels[first - 1]} {kernels[first]}\n")
    header = SINCE_HEADER.format(kernels=", ".join(kernels), oldest=kernels[0])
    return header + "".join(lines) + '"""\n'


def main() -> int:
    """Write the modules, or with --check say whether the table is what would be written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 when the table is stale; write nothing")
    parser.add_argument("--history", action="store_true", help="write syscalls_since.py as well; needs the network")
    options = parser.parse_args()
    text = render()
    if options.check:
        if TARGET.read_text(encoding="utf-8") == text:
            return 0
        print(f"{TARGET.name} is stale: run tools/syscall_table.py", file=sys.stderr)
        return 1
    TARGET.write_text(text, encoding="utf-8")
    if options.history:
        SINCE.write_text(render_since(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
