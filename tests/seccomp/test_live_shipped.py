"""The shipped filters in forked children: real calls get what is decided; what is allowed gets the kernel's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from stockade.model.policy import Policy
from stockade.model.seccomp import Action
from stockade.model.syscalls import numbers
from stockade.seccomp.semantics import decide

from . import kernel

PROFILES = Path(__file__).resolve().parents[2] / "profiles/containers"
TYPES = sorted(path.name for path in PROFILES.iterdir())
ALLOW_ALL = bytes.fromhex("060000000000ff7f")
# Each is harmless, whether it is let through or not: most name no object at all.
CALLS: list[tuple[str, tuple[int, ...]]] = [
    ("getuid", ()),
    ("getcpu", ()),
    ("uname", ()),
    ("sched_yield", ()),
    *(("socket", (family, 1, 0)) for family in (0, 1, 2, 10, 17, 38, 40, 45, 64)),
    ("socket", (1 << 32 | 1, 1, 0)),
    *(("personality", (persona,)) for persona in (0xFFFFFFFF, 1 << 32 | 0xFFFFFFFF)),
    ("clone", (0x10000800, 0, 0, 0, 0)),  # a user namespace, and handlers shared without memory, which is invalid
    ("clone3", ()),
    ("unshare", (0,)),
    ("setns", (0xFFFFFFFF, 0)),
    ("mount", ()),
    ("umount2", ()),
    ("pivot_root", ()),
    ("keyctl", (0xFFFF,)),
    ("bpf", (0xFFFF, 0, 0)),
    ("perf_event_open", ()),
    ("userfaultfd", (0xFFFF,)),
    ("io_uring_setup", ()),
    ("ptrace", (0xFFFF,)),
    ("process_vm_writev", ()),
    ("open_by_handle_at", (0xFFFFFFFF,)),
    ("init_module", ()),
    ("delete_module", ()),
    ("kexec_load", (0, 0xFFFF, 0, 0)),
    ("swapon", ()),
    ("acct", (1,)),
    ("quotactl", (0xFFFF,)),
    ("settimeofday", (1, 1)),
    ("sethostname", (1, 0xFFFFFFFF)),
    ("syslog", (0xFFFF,)),
    ("iopl", (9,)),
    ("kcmp", (0, 0, 99)),
    ("memfd_secret", (0xFFFF,)),
    ("lookup_dcookie", ()),
]


@pytest.mark.skipif(kernel.ARCH != "x86_64", reason="the numbers are those of x86_64")
@pytest.mark.parametrize("name", TYPES)
def test_real_calls_get_what_is_decided(name: str, policy: Policy) -> None:
    container = policy.containers[name]
    program = (PROFILES / name / "seccomp.x86_64.bpf").read_bytes()
    table = numbers("x86_64")
    asked = [(table[call], *args, *[0] * (6 - len(args))) for call, args in CALLS]
    verdicts = [decide(container.syscalls, "x86_64", nr, args) for nr, *args in asked]
    refused, answers = kernel.under(program, asked)
    _, free = kernel.under(ALLOW_ALL, asked)
    assert refused == 0 and len(answers) == len(free) == len(CALLS)
    for said, verdict, got, plain in zip(CALLS, verdicts, answers, free, strict=True):
        assert verdict.action in (Action.ERRNO, Action.ALLOW)
        assert got == (verdict.errno if verdict.action is Action.ERRNO else plain), said
    assert sum(verdict.action is Action.ERRNO for verdict in verdicts) >= (0 if name == "admin" else 15)
