"""A container type on Debian's policy: all of Debian's modules and ours, loaded by a kernel that enforces them."""

from __future__ import annotations

import bz2
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from stockade.lab.boot import BootResult, boot
from stockade.lab.probes import Fixture, Kind, Operation, Probe, Verdict
from stockade.model.policy import Policy
from stockade.selinux.libsepol import compile_cil
from stockade.selinux.module import build_pp, module_to_cil
from stockade.selinux.refpolicy import module

DEBIAN = sorted(Path("/usr/share/selinux/default").glob("*.pp.bz2"))
FILES = "system_u:object_r:stockade_web_file_t"
PROCESS = "system_u:system_r:stockade_web_t:s0:c1,c2"
ENTRY = "/lab/own/probe"

# The guest's root stands for the container's image, and so PID 1 uses the libraries in it. /lab is the guest's tmpfs.
GUEST = b"""
(allow init_t stockade_web_file_t (file (read open getattr map execute)))
(allow init_t stockade_web_file_t (dir (search getattr)))
(allow init_t stockade_web_file_t (lnk_file (read getattr)))
(allow init_t device_t (chr_file (read write open append ioctl getattr)))
(allow stockade_web_t tmpfs_t (dir (search)))
"""
CONTEXTS = f"""/.* {FILES}:s0
/usr/bin/runc -- system_u:object_r:bin_t:s0
/usr/lib/systemd/systemd -- system_u:object_r:init_exec_t:s0
"""
FIXTURES = (
    Fixture(Kind.TMPFS, "/lab/own", f"{FILES}:s0:c1,c2"),
    Fixture(Kind.PROGRAM, ENTRY, None, "/usr/lib/lab/probe"),
    Fixture(Kind.FILE, "/lab/own/data", None, "mine"),
    Fixture(Kind.FILE, "/lab/other-pair", f"{FILES}:s0:c3,c4", "theirs"),
    Fixture(Kind.FILE, "/lab/shadow", "system_u:object_r:shadow_t:s0", "secret"),
    Fixture(Kind.FILE, "/lab/host-key", "system_u:object_r:sshd_key_t:s0", "secret"),
)


def probe(name: str, operation: Operation, target: str, denied: tuple[str, str] | None = None, text: str = "") -> Probe:
    expect = Verdict.DENIED if denied else Verdict.ALLOWED
    return Probe(name, PROCESS, ENTRY, operation, target, expect, text, *(denied or (None, None)))


PROBES = (
    probe("own-read", Operation.READ, "/lab/own/data"),
    probe("own-write", Operation.WRITE, "/lab/own/data", text="more"),
    probe("own-create", Operation.CREATE, "/lab/own/new"),
    probe("own-execute", Operation.EXECUTE, ENTRY),
    probe("other-pair-read", Operation.READ, "/lab/other-pair", ("file", "read")),
    probe("other-pair-write", Operation.WRITE, "/lab/other-pair", ("file", "write"), "more"),
    probe("shadow-read", Operation.READ, "/lab/shadow", ("file", "read")),
    probe("host-key-read", Operation.READ, "/lab/host-key", ("file", "read")),
    probe("permissive", Operation.WRITE, "/sys/fs/selinux/enforce", ("dir", "search"), "0"),
)


def converted(path: Path) -> tuple[str, bytes]:
    """A module of Debian's as CIL, without paths: those of one module contradict each other."""
    text = module_to_cil(bz2.decompress(path.read_bytes()))
    kept = [line for line in text.splitlines() if not line.lstrip().startswith("(filecon ")]
    return path.name.removesuffix(".pp.bz2"), "\n".join(kept).encode()


@pytest.fixture(scope="module")
def booted(policy: Policy, tmp_path_factory: pytest.TempPathFactory) -> BootResult:
    made = module(policy, policy.containers["web"])
    ours = [("web", module_to_cil(build_pp(made.te, made.fc)).encode()), ("guest", GUEST)]
    with ThreadPoolExecutor(2) as pool:
        theirs = list(pool.map(converted, DEBIAN))
    host = tmp_path_factory.mktemp("debian") / "host"
    host.mkdir()
    (host / "policy.33").write_bytes(compile_cil([*theirs, *ours], policy_version=33).policy)
    (host / "file_contexts").write_text(CONTEXTS)
    return boot(host.parent, PROBES, fixtures=FIXTURES)


def test_the_kernel_enforces_debians_policy(booted: BootResult) -> None:
    assert len(DEBIAN) > 300
    assert booted.enforcing == (True, True) and booted.policy_bytes > 2_000_000
    assert booted.init_context == "system_u:system_r:init_t:s0"
    assert booted.runtime_context == "system_u:system_r:initrc_t:s0"
    assert [outcome.probe for outcome in booted.outcomes] == list(PROBES)


@pytest.mark.parametrize("name", [probe.name for probe in PROBES])
def test_the_type_is_confined_there(booted: BootResult, name: str) -> None:
    (outcome,) = (outcome for outcome in booted.outcomes if outcome.probe.name == name)
    assert outcome.verdict is outcome.probe.expect, outcome.text
    assert outcome.problem is None
