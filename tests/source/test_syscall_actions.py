"""Actions beside allow and an error, listeners, the kernel whose calls a type knows: from YAML to the artefacts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stockade.model.container import ContainerType
from stockade.model.grants import grants
from stockade.model.seccomp import Action, Verdict
from stockade.model.syscalls import numbers
from stockade.prove.containers import widenings
from stockade.seccomp.cbpf import compile_filter
from stockade.seccomp.narrow import wider
from stockade.seccomp.oci import NotRepresentable, to_oci
from stockade.seccomp.prove import prove_filter
from stockade.seccomp.runtime import decide_oci, prove_oci
from stockade.seccomp.semantics import decide
from stockade.source.diagnostics import PolicyError
from stockade.source.files import SourceFile, read_files
from stockade.source.load import build

SHIPPED = Path(__file__).resolve().parents[2] / "policy"
HEAD = "container: odd\nextends: ordinary\nwhy: x\nwidens: {syscalls: tries them}\nsyscalls:\n"
SOCKET = "/run/listener.sock"


def odd(lines: str, **more: str) -> ContainerType:
    files = [SourceFile(f"containers/{name}.yaml", text.encode()) for name, text in more.items()]
    policy = build([*read_files(SHIPPED), SourceFile("containers/odd.yaml", (HEAD + lines).encode()), *files])
    return policy.containers["odd"]


def answer(container: ContainerType, call: str, *args: int) -> Verdict:
    padded = (*args, *[0] * (6 - len(args)))
    return decide(container.syscalls, "x86_64", numbers("x86_64")[call], padded)


def proven(container: ContainerType) -> dict[str, Any]:
    """The profile, after both it and the filters are proven equal to the source."""
    for arch in container.architectures:
        prove_filter(container.syscalls, arch, compile_filter(container.syscalls, arch))
    profile = to_oci(container.syscalls, container.architectures, container.listener)
    prove_oci(container.syscalls, profile, container.architectures)
    return profile


@pytest.mark.parametrize("action", ["kill-process", "kill-thread", "trap", "trace"])
def test_a_denied_call_gets_the_action_that_is_named(action: str) -> None:
    container = odd(f"  deny:\n    - {{call: getcpu, action: {action}, why: x}}\n")
    assert answer(container, "getcpu") == Verdict(Action(action))
    profile = proven(container)
    assert decide_oci(profile, "x86_64", numbers("x86_64")["getcpu"], [0] * 6) == Verdict(Action(action))


def test_an_action_may_have_a_condition() -> None:
    container = odd("  deny:\n    - {call: kill, sig: 9, action: kill-process, why: x}\n")
    assert answer(container, "kill", 1, 9).action is Action.KILL_PROCESS
    assert answer(container, "kill", 1, 15).action is Action.ALLOW
    proven(container)


def test_a_call_may_be_allowed_and_logged() -> None:
    container = odd("  allow-when:\n    - {call: [getcpu, uname], action: log, why: x}\n")
    assert answer(container, "getcpu").action is Action.LOG and answer(container, "uname").action is Action.LOG
    proven(container)
    for arch in container.architectures:
        assert wider(container.syscalls, odd("  unknown: ENOSYS\n").syscalls, arch) is None


def test_a_call_may_be_left_to_a_listener() -> None:
    container = odd(f"  listener: {SOCKET}\n  deny:\n    - {{call: mount, action: notify, why: x}}\n")
    assert answer(container, "mount").action is Action.NOTIFY
    assert proven(container)["listenerPath"] == SOCKET
    with pytest.raises(NotRepresentable, match="listener"):
        to_oci(container.syscalls, container.architectures)


def test_a_type_that_asks_another_listener_widens_its_parent() -> None:
    child = "container: child\nextends: odd\nwhy: x\nsyscalls: {listener: /run/other.sock}\n"
    files = [
        SourceFile(
            "containers/odd.yaml",
            f"{HEAD}  listener: {SOCKET}\n  deny:\n    - {{call: mount, action: notify, why: x}}\n".encode(),
        )
    ]
    policy = build([*read_files(SHIPPED), *files, SourceFile("containers/child.yaml", child.encode())])
    found = [finding for finding in widenings(policy, grants(policy.host)) if "child" in finding.message]
    assert any("/run/other.sock is asked about its calls" in finding.message for finding in found)


def test_a_call_newer_than_the_kernel_is_unknown_unless_it_is_named() -> None:
    # Both calls came with 6.8.
    named = odd('  kernel: "6.1"\n  deny:\n    - {call: statmount, errno: EACCES, why: x}\n')
    assert answer(named, "statmount") == Verdict(Action.ERRNO, 13)
    assert answer(named, "listmount") == Verdict(Action.ERRNO, 38)
    plain = odd("  allow: [read, statmount]\n")
    assert answer(plain, "statmount").action is Action.ALLOW
    assert answer(plain, "listmount") == Verdict(Action.ERRNO, 1)
    proven(named)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("  deny:\n    - {call: mount, action: notify, why: x}\n", "`notify` asks a listener"),
        (f"  listener: {SOCKET}\n", "the listener hears nothing"),
        ("  deny:\n    - {call: mount, action: log, why: x}\n", "unknown action of such an entry `log`"),
        ("  deny:\n    - {call: mount, action: kil-process, why: x}\n", "unknown action of such an entry"),
        ("  deny:\n    - {call: mount, action: trap, errno: EPERM, why: x}\n", "`errno` belongs to an entry without"),
        ("  allow-when:\n    - {call: mount, action: trap, why: x}\n", "unknown action of such an entry `trap`"),
        ("  allow-when:\n    - {call: getcpu, why: x}\n", "a condition is missing"),
        ('  kernel: "one"\n', "one"),
        ('  kernel: "2.4"\n', "older than"),
        ("  kernel: 6.1\n", "expected text"),
        ("  denied: kill\n", "unknown error number `kill`"),
    ],
)
def test_what_means_nothing_is_refused_with_its_place(lines: str, message: str) -> None:
    with pytest.raises(PolicyError) as error:
        odd(lines)
    (fault,) = [found for found in error.value.diagnostics if message in found.message]
    assert fault.at.file == "containers/odd.yaml" and fault.at.line >= 6
