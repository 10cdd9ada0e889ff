"""The same tests in a guest with cgroup v2: user-mode Linux on this machine's own files, which it cannot write to."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from stockade.lab import tools

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 400
HERE = "tests/enforce/nri"
RUN = (
    f"{HERE}/test_containerd.py::test_it_registers_and_says_how_far_it_reaches",
    f"{HERE}/test_containerd.py::test_a_container_has_what_nri_gave_it",
    f"{HERE}/test_containerd.py::test_a_limit_on_memory_is_lowered_and_stays_so",
    f"{HERE}/test_containerd.py::test_what_is_wider_is_not_created_and_the_user_is_told[the host's network]",
    f"{HERE}/test_containerd.py::test_what_this_version_cannot_give_is_not_left_out",
    f"{HERE}/inguest.py::test_with_the_verify_hook_nothing_is_out_of_reach",
)
INIT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/run TMPDIR=/run LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo +cpu +memory +pids > /sys/fs/cgroup/cgroup.subtree_control
busybox ifconfig lo 127.0.0.1 up
cd {root}
CONTAINERD_PROGRAMS={programs} {python} -m pytest -q -rA --color=no -p no:cacheprovider --basetemp=/run/t {tests} 2>&1
echo "the tests have ended: $?"
echo o > /proc/sysrq-trigger
sleep 9
"""


def boot(folder: Path, init: Path) -> str:
    """The console of a guest that has run `init` and powered off."""
    command = [tools.find().linux, "mem=1G", "root=/dev/root", "rootfstype=hostfs", "ro", f"init={init}"]
    command += ["con=null", "con0=null,fd:1", "enforcing=0", "panic=1", "quiet", f"uml_dir={folder}/", "umid=guest"]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env={"HOME": str(folder), "TMPDIR": str(folder), "PATH": os.defpath},
    )
    try:
        console, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        console, _ = process.communicate()
        pytest.fail(f"the guest was stopped after {SECONDS} s:\n{console.decode(errors='replace')[-3000:]}")
    assert process.returncode == 0, console.decode(errors="replace")[-3000:]
    return console.decode(errors="replace").replace("\r", "")


def test_the_plugin_and_containerd_in_the_guest(programs: Path, tmp_path: Path) -> None:
    init = tmp_path / "init"
    tests = " ".join(shlex.quote(name) for name in RUN)
    init.write_text(INIT.format(root=ROOT, programs=programs, python=sys.executable, tests=tests))
    init.chmod(0o755)
    console = boot(tmp_path, init)
    passed = re.findall(r"^PASSED (.+)$", console, re.MULTILINE)
    assert sorted(passed) == sorted(RUN), console[-8000:]
    assert "the tests have ended: 0\n" in console
