"""The live tests once more, under the guest's kernel: another release than this machine's, with SELinux built in.

User-mode Linux has no i386 and no x32 system calls; the tests that need them run on the machine's own kernel alone.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
LIVE = ("test_live.py", "test_live_shipped.py")
LIMIT = 240  # seconds; user-mode Linux is slow at starting processes

# The guest's root is this machine's, read-only, so that it runs this very interpreter and these very tests.
INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t tmpfs tmpfs {own}
export HOME={own} TMPDIR={own} PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C PYTHONDONTWRITEBYTECODE=1
cd {root}
echo "guest: $(uname -r) $(cat /proc/self/attr/current)"
{python} -m pytest -q --color=no -p no:cacheprovider {tests}
echo "guest: exit $?"
echo o > /proc/sysrq-trigger
sleep 60
"""


def test_the_guest_s_kernel_answers_as_the_policy(tmp_path: Path) -> None:
    kernel = shutil.which("linux.uml")
    if kernel is None:
        pytest.fail("linux.uml is missing: install user-mode-linux", pytrace=False)
    tests = " ".join(str((HERE / name).relative_to(HERE.parents[1])) for name in LIVE)
    # Not over /tmp, where the tests themselves may lie.
    init, own = tmp_path / "init", tmp_path / "own"
    own.mkdir()
    init.write_text(INIT.format(own=own, root=HERE.parents[1], python=sys.executable, tests=tests))
    init.chmod(0o755)
    command = [kernel, "mem=768M", "root=/dev/root", "rootfstype=hostfs", "ro", f"init={init}", "panic=1"]
    console = ["con=null", "con0=null,fd:1", f"uml_dir={tmp_path}/uml"]
    environment = {**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [*command, *console], capture_output=True, text=True, errors="replace", timeout=LIMIT, env=environment
    )
    said = re.search(r"^guest: (\S+) ", done.stdout, re.MULTILINE)
    assert said is not None, done.stdout[-2000:]
    assert said[1] != os.uname().release, "these were the machine's own kernel's answers"
    passed = re.search(r"^(\d+) passed in ", done.stdout, re.MULTILINE)
    assert "guest: exit 0" in done.stdout and passed is not None, done.stdout[-4000:]
    assert int(passed[1]) >= 60
