"""Every form in which a denial comes is read, and what cannot be read is named."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from stockade.learn.records import Log

from . import logs

DENIAL = ("container_t", "secret_t", "file", ("read", "open", "getattr"))
WANTED = {("container_t", "secret_t", "file", permission) for permission in ("read", "open", "getattr")}


def read(*lines: str) -> Log:
    log = Log()
    log.read("a.log", lines)
    return log


@pytest.mark.parametrize("form", [logs.raw, logs.interpreted, logs.kernel, logs.journal, logs.journal_json])
@pytest.mark.parametrize("number", [1, 2])
def test_a_denial_in_any_form(form: Callable[[int, logs.Denial], str], number: int) -> None:
    log = read(form(number, DENIAL))
    assert set(log.access) == WANTED and log.records == 1 and log.unread == []
    assert {str(seen.first) for seen in log.access.values()} == {"a.log:1"}


@pytest.mark.parametrize(
    ("arch", "syscall", "call"),
    [
        ("c000003e", "165", "mount"),
        ("c00000b7", "40", "mount"),
        ("40000003", "21", "mount"),
        ("40000028", "21", "mount"),
        ("c00000f3", "40", "mount"),
        ("c000003e", str(0x40000000 | 165), "mount"),
        ("x86_64", "mount", "mount"),
    ],
)
def test_a_refused_call_on_any_architecture(arch: str, syscall: str, call: str) -> None:
    log = read(logs.seccomp(1, "web_t", arch, syscall))
    assert set(log.calls) == {("web_t", call)} and log.unread == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("type=AVC msg=audit(1.2:3): avc:  denied  { read", "cannot be read"),
        ("type=AVC msg=audit(1.2:3): avc:  denied  { read } for  pid=1 tclass=file", "without scontext"),
        (logs.seccomp(1, "web_t", "deadbeef", "1"), "no such architecture"),
        (logs.seccomp(1, "web_t", "c000003e", "99999"), "no call with the number"),
        (logs.seccomp(1, "web_t", "c000003e", "99999999999999999999999"), "no call with the number"),
        ('{"MESSAGE": ', "no JSON"),
        ('{"MESSAGE": [300]}', "no JSON"),
    ],
)
def test_a_record_that_cannot_be_read_is_named(line: str, why: str) -> None:
    log = read("hello", line)
    ((place, said),) = log.unread
    assert str(place) == "a.log:2" and why in said


def test_what_denies_nothing_is_counted() -> None:
    log = read(
        "Nov 14 22:13:20 host systemd[1]: Started a thing.",
        logs.raw(1, DENIAL).replace("denied", "granted"),
        logs.seccomp(1, "web_t", "c000003e", "165", "0x7fff0000"),
        "type=USER_AVC msg=audit(1.2:3): pid=1 msg='avc:  denied  { start } for scontext=a:b:c_t:s0 tclass=service'",
        'openat(AT_FDCWD, "/x", O_RDONLY) = 3',
        "",
    )
    assert log.access == {} and log.calls == {} and log.unread == []
    assert sum(log.others.values()) == 5 and log.others["granted"] == 3


@pytest.mark.parametrize(
    "line",
    [
        'mount("none", "/x", "tmpfs", 0, NULL) = -1 EPERM (Operation not permitted)',
        '[pid  4711] mount("none", "/x", "tmpfs", 0, NULL) = -1 EPERM (Operation not permitted)',
        '4711  mount("none", "/x", "tmpfs", 0, NULL) = -1 ENOSYS (Function not implemented)',
        '4711  12:34:56.789 mount("none", ")", "tmpfs", 0, NULL) = -1 EACCES (Permission denied)',
    ],
)
def test_what_strace_saw_refused(line: str) -> None:
    assert set(read(line).calls) == {("", "mount")}


@pytest.mark.parametrize("count", [5_000, 10_000])
def test_no_record_is_lost_and_the_set_is_that_of_audit2allow(count: int, bundle: Path, tmp_path: Path) -> None:
    """As many lines as a busy day has, against SELinux's own reader, which knows the raw form alone."""
    denials = [
        (source, target, name, permissions)
        for source in ("container_t", "runtime_t", "network_t")
        for target in ("secret_t", "data_t", "cache_t", "state_t")
        for name, permissions in (
            ("file", ("read", "open", "write")),
            ("dir", ("search", "add_name")),
            ("sock_file", ("write",)),
        )
    ]
    lines = list(logs.many(denials, count, seed=count))
    log = read(*lines)
    assert log.records == count and log.unread == []
    tool = shutil.which("audit2allow")
    if tool is None:
        pytest.fail("audit2allow is missing: install policycoreutils-python-utils", pytrace=False)
    plain = tmp_path / "audit.log"
    plain.write_text("\n".join(logs.raw(n, denials[n % len(denials)], "s0") for n in range(len(denials))) + "\n")
    command = [tool, "-i", str(plain), "-p", str(bundle / "host/policy.31")]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    theirs = set()
    for source, target, name, permissions in re.findall(r"^allow (\S+) (\S+):(\S+) (?:\{ ([^}]*) \}|\S+);", said, re.M):
        theirs |= {(source, target, name, one) for one in permissions.split()}
    for source, target, name, one in re.findall(r"^allow (\S+) (\S+):(\S+) ([a-z_]+);", said, re.M):
        theirs.add((source, target, name, one))
    assert theirs == set(log.access) and len(theirs) == 72
