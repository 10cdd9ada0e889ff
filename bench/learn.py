"""What learning from a day's log costs, beside audit2allow on the very same file.

The file is as auditd writes it, which both read: every denial of a host at work, with other records between. Ours
reads the log, decides about every denial by the policy and its promises, and groups what is left into rules; theirs
writes a rule for each pair and class. That both saw the same is checked before anything is measured.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "compiler"), str(ROOT / "bench")]

import _measure  # noqa: E402
from stockade.learn.records import Log  # noqa: E402
from stockade.prove.policy_sources import kernel_policy  # noqa: E402
from stockade.source.load import load  # noqa: E402

from tests.learn import logs  # noqa: E402

LIMIT = 2.0
"""Seconds that learning from any of these logs may take."""
FEWER = 10
"""How many rules of audit2allow's one of ours must stand for, at the least."""


SOURCES = ("container_t", "network_t", "clock_t", "bus_t")
TARGETS = "secret_t private_t cache_t state_t measure_t lease_t etc_t api_socket_t csi_exec_t local_t".split()
WRITES = {
    "file": ("write", "append", "unlink"),
    "dir": ("add_name", "remove_name", "write"),
    "lnk_file": ("create", "unlink"),
    "fifo_file": ("write",),
    "sock_file": ("write", "unlink"),
}


def denials() -> list[logs.Denial]:
    """Four kinds of process that write to ten kinds of file, in five classes."""
    return [(s, t, name, perms) for s in SOURCES for t in TARGETS for name, perms in WRITES.items()]


def rules(text: str) -> dict[tuple[str, str, str], set[str]]:
    """audit2allow's rules: (source, target, class) -> permissions."""
    found: dict[tuple[str, str, str], set[str]] = {}
    for source, target, name, several, one in re.findall(
        r"^allow (\S+) (\S+):(\S+) (?:\{ ([^}]*) \}|(\S+));", text, re.M
    ):
        target = source if target == "self" else target
        found.setdefault((source, target, name), set()).update(several.split() or [one])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lines", type=int, nargs="*", default=[5_000, 10_000])
    options = parser.parse_args()
    tool = shutil.which("audit2allow")
    if tool is None:
        print("audit2allow is missing: install policycoreutils-python-utils")
        return 3
    worst = 0
    with tempfile.TemporaryDirectory() as folder:
        # Without promises, so that nothing is refused: what is denied becomes rules, for both.
        open_ = Path(folder) / "policy"
        shutil.copytree(ROOT / "policy", open_, ignore=shutil.ignore_patterns("promises"))
        kernel = Path(folder) / "policy.31"
        kernel.write_bytes(kernel_policy(load(open_)))
        for count in options.lines:
            worst = max(worst, measure(open_, kernel, tool, count, options.rounds))
    return worst


def measure(policy: Path, kernel: Path, tool: str, count: int, rounds: int) -> int:
    path = policy.with_name(f"{count}.log")
    path.write_text("".join(line + "\n" for line in logs.plain(denials(), count, seed=count)))
    ours = _measure.stockade("learn", str(path), "--policy", str(policy), "--format", "json")
    theirs = [tool, "-i", str(path), "-p", str(kernel)]
    said = json.loads(subprocess.run(ours, capture_output=True, text=True, check=False).stdout)
    written = rules(subprocess.run(theirs, capture_output=True, text=True, check=True).stdout)
    log = Log()
    with path.open() as lines:
        log.read(path.name, lines)
    seen = {(*key, permission) for key, permissions in written.items() for permission in permissions}
    if seen != set(log.access) or said["unread"] or said["records"] != count * 4 // 5:
        print(f"{count} lines: not the same: {len(seen ^ set(log.access))} differ, {said['records']} records")
        return 1
    measured = _measure.pairs(
        lambda: _measure.run([sys.executable, "-c", CALL, *ours[3:]]), lambda: _measure.run(theirs), rounds
    )
    print(_measure.line(f"{count} lines", measured, _measure.milliseconds, "ms"))
    print(_measure.line(f"{count} lines, memory", measured, _measure.megabytes, "MB"))
    print(f"{len(seen)} permissions of both; audit2allow writes {len(written)} rules, ours {len(said['rules'])}")
    slow = sorted(one.seconds for one, _ in measured)[len(measured) // 2] > LIMIT
    many = len(said["rules"]) * FEWER > len(written)
    if slow or many:
        print(f"more than {LIMIT} s" if slow else f"more than one rule for {FEWER} of theirs")
    return int(slow or many)


CALL = "import sys; from stockade.cli.main import main; main(sys.argv[1:]); sys.exit(0)"
"""Ours ends with 1 where a promise refuses something, which here is the answer and no failure."""

if __name__ == "__main__":
    sys.exit(main())
