"""Attempts to get around the wrapper by a process that is added to a container, or by a changed limit.

Each is refused, or does no harm: the process has no more than the type, the kernel's limits are no higher than before.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.enforce.containers import HARMLESS, LOOK, REFUSED, Site, judge, limits
from tests.enforce.specs import SETS

ALL = ["CAP_SYS_ADMIN", "CAP_NET_RAW", "CAP_NET_BIND_SERVICE", "CAP_SYS_MODULE", "CAP_SETUID"]


def process(**more: Any) -> dict[str, Any]:
    """A process as containerd hands it to `exec`, with all that it may ask for."""
    return {
        "user": {"uid": 0, "gid": 0},
        "args": ["/bin/sh", "-c", LOOK],
        "env": ["PATH=/bin"],
        "cwd": "/",
        "capabilities": dict.fromkeys(SETS, ALL),
        "noNewPrivileges": False,
        "rlimits": [
            {"type": "RLIMIT_CORE", "soft": 512, "hard": 512},
            {"type": "RLIMIT_NOFILE", "soft": 600, "hard": 600},
        ],
        **more,
    }


def _deep() -> bytes:
    return b'{"x":' * 100_000 + b"1" + b"}" * 100_000


PROCESSES: list[tuple[str, bytes, str]] = [
    ("all capabilities", json.dumps(process()).encode(), HARMLESS),
    ("another label", json.dumps(process(selinuxLabel="system_u:system_r:super_t:s0")).encode(), HARMLESS),
    (
        "no capabilities said",
        json.dumps({k: v for k, v in process().items() if k != "capabilities"}).encode(),
        HARMLESS,
    ),
    ("a key twice", b'{"args": ["/bin/true"], "noNewPrivileges": true, "noNewPrivileges": false}', REFUSED),
    ("a capability list twice", b'{"capabilities": {"bounding": [], "bounding": ["CAP_SYS_ADMIN"]}}', REFUSED),
    ("a number that is none", b'{"args": [], "oomScoreAdj": NaN}', REFUSED),
    ("a number beyond 64 bits", b'{"args": [], "oomScoreAdj": 18446744073709551617}', REFUSED),
    ("nested deeply", _deep(), REFUSED),
    ("huge", b'{"args": ["' + b"x" * (17 << 20) + b'"]}', REFUSED),
    ("empty", b"", REFUSED),
    ("cut off", json.dumps(process()).encode()[:-30], REFUSED),
    ("not UTF-8", b'{"args": ["\xff\xfe"]}', REFUSED),
    ("a byte order mark", b"\xef\xbb\xbf" + json.dumps(process()).encode(), REFUSED),
    ("a list", b"[]", REFUSED),
    ("capabilities as text", json.dumps(process(capabilities={"bounding": "all"})).encode(), REFUSED),
    ("real-time scheduler", json.dumps(process(scheduler={"policy": "SCHED_FIFO", "priority": 9})).encode(), REFUSED),
    ("input before others", json.dumps(process(ioPriority={"class": "IOPRIO_CLASS_RT"})).encode(), REFUSED),
]


@pytest.mark.parametrize(("content", "expected"), [(c, e) for _, c, e in PROCESSES], ids=[n for n, _, _ in PROCESSES])
def test_a_process_from_a_file(content: bytes, expected: str, runc: Site, victim: str, tmp_path: Path) -> None:
    path = tmp_path / "process.json"
    path.write_bytes(content)
    judge(runc, runc.call("exec", "--process", str(path), victim), expected)


FILE, NAME = "@file@", "@name@"
EXECS: list[tuple[list[str], str]] = [
    (["--process={FILE}", NAME], HARMLESS),
    (["-process", FILE, NAME], HARMLESS),
    (["-p", FILE, NAME], HARMLESS),
    (["-p={FILE}", NAME], HARMLESS),
    (["--process", "/nonexistent", "--process", FILE, NAME], HARMLESS),
    (["--process", "@link@", NAME], HARMLESS),
    (["--process", "@pipe@", NAME], REFUSED),
    (["--process", "/dev/zero", NAME], REFUSED),
    (["--process", "/nonexistent", NAME], REFUSED),
    (["--proc", FILE, NAME], REFUSED),
    (["---process", FILE, NAME], REFUSED),
    (["--cap", "CAP_SYS_ADMIN", NAME, "true"], REFUSED),
    (["--cap=CAP_SYS_ADMIN", NAME, "true"], REFUSED),
    (["-cap", "CAP_SYS_ADMIN", NAME, "true"], REFUSED),
    (["-c", "CAP_SYS_ADMIN", NAME, "true"], REFUSED),
    (["-c=cap_sys_admin", NAME, "true"], REFUSED),
    (["--cap", "CAP_SETUID", "--cap", "CAP_NET_RAW", NAME, "true"], REFUSED),
    (["--apparmor", "unconfined", NAME, "true"], REFUSED),
    (["--apparmor=", NAME, "true"], REFUSED),
    (["--process-label", "system_u:system_r:super_t:s0", NAME, "sh", "-c", LOOK], HARMLESS),
    (["--process-label=x", NAME, "sh", "-c", LOOK], HARMLESS),
    (["--no-new-privs=false", NAME, "sh", "-c", LOOK], HARMLESS),
    (["--no-new-privs=maybe", NAME, "true"], REFUSED),
    (["--user", "0:0", NAME, "sh", "-c", LOOK], HARMLESS),
    (["--cgroup", "../../..", NAME, "true"], REFUSED),
    (["--preserve-fds", "1000000", NAME, "true"], REFUSED),
    (["--preserve-fds=-1", NAME, "true"], REFUSED),
    (["--", NAME, "true"], REFUSED),
    (["--unknown", NAME, "true"], REFUSED),
    (["--cap"], REFUSED),
]


@pytest.mark.parametrize(("arguments", "expected"), EXECS, ids=[" ".join(a)[:50] for a, _ in EXECS])
def test_an_added_process(arguments: list[str], expected: str, runc: Site, victim: str, tmp_path: Path) -> None:
    path, link, pipe = tmp_path / "process.json", tmp_path / "link", tmp_path / "pipe"
    path.write_text(json.dumps(process()))
    link.symlink_to(path)
    os.mkfifo(pipe)
    words = {FILE: str(path), NAME: victim, "@link@": str(link), "@pipe@": str(pipe)}
    given = [words.get(word, word).replace("{FILE}", str(path)) for word in arguments]
    judge(runc, runc.call("exec", *given), expected)


UPDATES: list[tuple[list[str], bytes, str]] = [
    (["--pids-limit", "100000", NAME], b"", HARMLESS),
    (["--pids-limit=100000", NAME], b"", HARMLESS),
    (["-pids-limit", "100000", NAME], b"", HARMLESS),
    (["--pids-limit=-1", NAME], b"", HARMLESS),
    (["--pids-limit=0", NAME], b"", HARMLESS),
    ([NAME, "--pids-limit", "100000"], b"", HARMLESS),
    (["--pids-limit", "9223372036854775807", NAME], b"", HARMLESS),
    (["--pids-limit", "1e9", NAME], b"", REFUSED),
    (["--memory", "8g", NAME], b"", HARMLESS),
    (["--memory=8589934592", NAME], b"", HARMLESS),
    (["--memory", "-1", "--memory-swap", "-1", NAME], b"", HARMLESS),
    (["--l3-cache-schema", "L3:0=f", NAME], b"", REFUSED),
    (["--resources", FILE, NAME], b'{"pids": {"limit": 100000}}', HARMLESS),
    (["--resources={FILE}", NAME], b'{"pids": {"limit": -1}}', HARMLESS),
    (["-r", FILE, NAME], b'{"pids": {"limit": 100000}, "memory": {"limit": 17179869184}}', HARMLESS),
    (["-r", "-", NAME], b'{"pids": {"limit": 100000}}', HARMLESS),
    (["--resources=-", NAME], b'{"memory": {"limit": 17179869184}}', HARMLESS),
    (["--resources", "-", NAME], b'{"pids": {"limit": 1, "limit": 100000}}', REFUSED),
    (["--resources", "-", NAME], b'{"pids": {"limit": 1e400}}', REFUSED),
    (["--resources", "-", NAME], b'{"pids": {"limit": "100000"}}', REFUSED),
    (["--resources", "-", NAME], b'{"pids": {"limit": 100000', REFUSED),
    (["--resources", "-", NAME], b'{"unified": {"../../pids.max": "max"}}', REFUSED),
    (["--resources", "/dev/zero", NAME], b"", REFUSED),
    (["--resource", FILE, NAME], b'{"pids": {"limit": 100000}}', REFUSED),
]


@pytest.mark.parametrize(
    ("arguments", "content", "expected"), UPDATES, ids=[" ".join(a)[:45] + c.decode()[:30] for a, c, _ in UPDATES]
)
def test_a_changed_limit(
    arguments: list[str], content: bytes, expected: str, runc: Site, victim: str, tmp_path: Path
) -> None:
    path = tmp_path / "resources.json"
    path.write_bytes(content)
    words = {FILE: str(path), NAME: victim}
    given = [words.get(word, word).replace("{FILE}", str(path)) for word in arguments]
    done = runc.call("update", *given, input=content.decode())
    if expected == REFUSED:
        assert done.returncode == 1 and "policy denied" in runc.reasons()
    found = limits(victim)
    assert found.keys() == {"pids", "memory"}
    assert 0 < found["pids"] <= 512 and 0 < found["memory"] <= 1 << 30


def test_a_limit_may_be_lowered(runc: Site, victim: str) -> None:
    assert runc.call("update", "--pids-limit", "77", victim).returncode == 0
    assert limits(victim)["pids"] == 77
    assert runc.call("update", "--pids-limit", "100", victim).returncode == 0
