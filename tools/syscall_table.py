"""Writes stockade/model/syscalls_table.py from the `system-calls` package, which reads the kernel's own tables."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import system_calls

COLUMNS = {"x86_64": "x86_64", "aarch64": "arm64", "i386": "i386", "x32": "x32", "arm": "arm", "riscv64": "riscv64"}
TARGET = Path(__file__).resolve().parent.parent / "compiler/stockade/model/syscalls_table.py"
HEADER = '''"""System-call numbers of Linux {kernel}, a line a name; written by tools/syscall_table.py, not by hand."""

KERNEL = "{kernel}"
COLUMNS = {columns}
TABLE = """\\
'''


def render() -> str:
    """The module's text: names in order, one column per architecture, `-` where it lacks the call."""
    source = system_calls.syscalls()
    tables = [source.load_arch_table(theirs) for theirs in COLUMNS.values()]
    names = sorted(set().union(*tables))
    rows = [" ".join([name, *(str(table.get(name, "-")) for table in tables)]) for name in names]
    columns = "(" + ", ".join(f'"{ours}"' for ours in COLUMNS) + ")"
    return HEADER.format(kernel=source.linux_version, columns=columns) + "\n".join(rows) + '\n"""\n'


def main() -> int:
    """Write the module, or with --check say whether it is what would be written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 when the module is stale; write nothing")
    text = render()
    if parser.parse_args().check:
        if TARGET.read_text(encoding="utf-8") == text:
            return 0
        print(f"{TARGET.name} is stale: run tools/syscall_table.py", file=sys.stderr)
        return 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
