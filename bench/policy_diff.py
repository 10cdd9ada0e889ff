"""The difference of Debian's whole policy and itself, and itself with one rule more, against sediff on the same files.

The policy is linked from the modules of selinux-policy-default. Both tools must find the same access vectors changed.
"""

from __future__ import annotations

import argparse
import bz2
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from _measure import CommandFailed, Run, floor, line, megabytes, run
from stockade.prove.policy_diff import diff
from stockade.selinux.libsepol import SepolError, compile_cil

MODULES = Path("/usr/share/selinux/default")
CONVERTER = Path("/usr/libexec/selinux/hll/pp")
RULE = b"(allow domain shadow_t (dir (rmdir)))"
OURS = """
import sys
from pathlib import Path
from stockade.prove.diff_text import lines
from stockade.prove.policy_diff import diff
print("\\n".join(lines(diff(*(Path(name).read_bytes() for name in sys.argv[1:])))))
"""
SAID = re.compile(r"^ *[+*-] allow (\S+) (\S+):(\S+) (?:\{ (.+) \}|(\S+));", re.M)


def modules() -> list[tuple[str, bytes]]:
    """The CIL of every module, the base first, without file contexts: some of those exclude each other."""
    files = sorted(MODULES.glob("*.pp.bz2"), key=lambda path: (path.name != "base.pp.bz2", path.name))
    found = []
    for path in files:
        package = bz2.decompress(path.read_bytes())
        cil = subprocess.run([str(CONVERTER)], input=package, capture_output=True, check=True).stdout
        found.append((path.name, re.sub(rb"(?m)^\s*\(filecon .*\)$", b"", cil)))
    return found


def policies(cache: Path) -> dict[str, Path]:
    """The kernel policies to compare, made once for each state of the modules."""
    digest = hashlib.sha256(RULE)
    for path in sorted(MODULES.glob("*.pp.bz2")):
        digest.update(path.name.encode() + path.read_bytes())
    folder = cache / digest.hexdigest()[:16]
    names = {"whole": (33, b""), "form": (31, b""), "rule": (33, RULE)}
    paths = {name: folder / name for name in names}
    if not all(path.is_file() for path in paths.values()):
        folder.mkdir(parents=True, exist_ok=True)
        cil = modules()
        print(f"linking {len(cil)} modules, once", flush=True)
        for name, (version, more) in names.items():
            policy = compile_cil([*cil, ("more.cil", more)], policy_version=version, neverallow=False).policy
            made = folder / f"{name}.{os.getpid()}"
            made.write_bytes(policy)
            made.rename(paths[name])
    return paths


def sediff(old: Path, new: Path, output: Path) -> Run:
    return run(["sh", "-c", 'exec sediff "$1" "$2" >"$3"', "sh", str(old), str(new), str(output)])


def agree(old: Path, new: Path, said: Path) -> int:
    """How many (type, type, class, permission) both tools find changed; CommandFailed where they differ."""
    found = diff(old.read_bytes(), new.read_bytes())
    sides = (("+", found.widened), ("-", found.narrowed))
    ours = {(sign, a.source, a.target, a.tclass, p) for sign, side in sides for a in side for p in a.perms}
    theirs = set()
    for match in SAID.finditer(said.read_text()):
        sign = match[0].split()[0]
        for perm in (match[4] or match[5]).split():
            if sign != "*" or perm[0] in "+-":
                theirs.add((perm[0] if sign == "*" else sign, *match.group(1, 2, 3), perm.lstrip("+-")))
    if ours != theirs:
        raise CommandFailed(f"{len(ours ^ theirs)} access vectors differ, such as {min(ours ^ theirs)}")
    return len(ours)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="pairs to measure for each case (default: 2)")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "stockade-bench-policies")
    given = parser.parse_args()
    for needed, package in ((shutil.which("sediff"), "setools"), (CONVERTER.is_file(), "policycoreutils"),
                            (MODULES.is_dir(), "selinux-policy-default")):  # fmt: skip
        if not needed:
            print(f"policy_diff: the Debian package {package} is missing: tools/install test", file=sys.stderr)
            return 3
    try:
        made = policies(given.cache)
        with tempfile.TemporaryDirectory(prefix="stockade-bench-") as name:
            output = Path(name) / "sediff"
            for title, new in (("itself, another format", made["form"]), ("one rule more", made["rule"])):
                ours = [sys.executable, "-c", OURS, str(made["whole"]), str(new)]
                measured = [(run(ours), sediff(made["whole"], new, output)) for _ in range(min(given.rounds, 3))]
                print(line(title, measured, lambda r: r.seconds, "s "))
                print(line(f"{title}, memory", measured, megabytes, "MB"))
                print(f"  both find the same {agree(made['whole'], new, output)} permissions changed", flush=True)
    except (CommandFailed, SepolError, subprocess.CalledProcessError) as failed:
        print(f"policy_diff: {failed}", file=sys.stderr)
        return 3
    print(f"{'(least memory measurable':<28} {floor():9.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
