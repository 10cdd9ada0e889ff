"""Modules on top of Debian's reference policy: linked with its own modules, they confine as the source says."""

from __future__ import annotations

import bz2
from collections.abc import Iterator
from pathlib import Path

import pytest
from stockade.bundle.compile import Compiled
from stockade.bundle.refpolicy import refpolicy_artefacts, relabelled
from stockade.model.access import pair, spell
from stockade.model.classes import CLASSES, FILES
from stockade.model.grants import members
from stockade.model.policy import Policy
from stockade.selinux.libsepol import Decisions, UnknownName, compile_cil
from stockade.selinux.module import module_to_cil
from stockade.selinux.refpolicy import GUARDED, Module

DEBIAN = Path("/usr/share/selinux/default")
OWN, OTHER = "s0:c1,c2", "s0:c3,c4"


@pytest.fixture(scope="session")
def modules(policy: Policy) -> dict[str, Module]:
    return relabelled(policy)[1]


@pytest.fixture(scope="session")
def written(policy: Policy, compiled: Compiled) -> dict[str, bytes]:
    """What a build for the reference policy writes."""
    return {artefact.path: artefact.content for artefact in refpolicy_artefacts(policy, compiled)}


@pytest.fixture(scope="session")
def base() -> list[tuple[str, bytes]]:
    """Debian's base and two of its modules. Users of modules that are not taken are left out, and so are paths."""
    found = []
    for name in ("base", "ssh", "unconfined"):
        text = module_to_cil(bz2.decompress((DEBIAN / f"{name}.pp.bz2").read_bytes()))
        lines = [line for line in text.splitlines() if not line.lstrip().startswith(("(filecon ", "(selinuxuser"))]
        found.append((name, "\n".join(lines).encode()))
    return found


@pytest.fixture(scope="session")
def linked(base: list[tuple[str, bytes]], written: dict[str, bytes], modules: dict[str, Module]) -> bytes:
    """The kernel policy of Debian's modules and ours, the reference policy's own neverallow rules checked."""
    ours = [(name, written[f"containers/{name}/selinux.cil"]) for name in modules]
    return compile_cil([*base, *ours], policy_version=33).policy


@pytest.fixture
def kernel(linked: bytes) -> Iterator[Decisions]:
    with Decisions(linked) as decisions:
        yield decisions


def test_what_a_build_writes(written: dict[str, bytes], policy: Policy, modules: dict[str, Module]) -> None:
    files = {"selinux.te", "selinux.if", "selinux.fc", "selinux.pp", "selinux.cil", "oci.json", "summary.md"}
    for name in policy.containers:
        mine = {path.rsplit("/", 1)[1] for path in written if path.startswith(f"containers/{name}/")}
        assert files <= mine and {file for file in mine - files if not file.startswith("seccomp.")} == set()
        assert f"{modules[name].domain}:s0".encode() in written[f"containers/{name}/oci.json"]
    assert b"stockade_ordinary_t:s0" in written["host/lxc_contexts"]
    assert not any(path.startswith("host/policy") for path in written)


def process(name: str, level: str = OWN) -> str:
    return f"system_u:system_r:stockade_{name}_t:{level}"


def thing(label: str, level: str = "s0") -> str:
    return f"system_u:object_r:{label}:{level}"


RUNTIME = "system_u:system_r:initrc_t:s0-s0:c0.c1023"
LOW_RUNTIME = "system_u:system_r:initrc_t:s0"
WEB_FILE = "stockade_web_file_t"


@pytest.mark.parametrize(
    ("source", "target", "class_name", "permission"),
    [
        (process("web"), thing(WEB_FILE, OWN), "file", "read"),
        (process("web"), thing(WEB_FILE, OWN), "file", "write"),
        (process("web"), thing(WEB_FILE, OWN), "file", "create"),
        (process("web"), thing(WEB_FILE, OWN), "file", "entrypoint"),
        (process("web"), thing(WEB_FILE), "file", "execute"),
        (process("web"), thing("http_port_t"), "tcp_socket", "name_bind"),
        (process("web"), thing("node_t"), "tcp_socket", "node_bind"),
        (process("web"), process("web"), "tcp_socket", "create"),
        (process("web"), process("web"), "capability", "net_bind_service"),
        (process("web"), process("web"), "process", "fork"),
        (process("web"), thing("proc_t"), "file", "read"),
        (process("web"), LOW_RUNTIME, "fifo_file", "write"),
        (LOW_RUNTIME, process("web"), "process", "transition"),
        (process("web"), RUNTIME, "process", "sigchld"),
        (process("ordinary"), process("ordinary"), "process", "execmem"),
        (process("admin", "s0-s0:c0.c1023"), process("admin", "s0-s0:c0.c1023"), "capability", "sys_admin"),
        (RUNTIME, process("web"), "process", "transition"),
        (RUNTIME, thing(WEB_FILE), "filesystem", "relabelto"),
        (RUNTIME, thing(WEB_FILE), "dir", "mounton"),
        (thing(WEB_FILE, OWN), thing("fs_t"), "filesystem", "associate"),
        (thing(WEB_FILE, OWN), thing("tmpfs_t"), "filesystem", "associate"),
        (thing(WEB_FILE, OWN), thing(WEB_FILE), "filesystem", "associate"),
    ],
)  # fmt: skip
def test_allowed(kernel: Decisions, source: str, target: str, class_name: str, permission: str) -> None:
    found = kernel.access(source, target, class_name, permission)
    assert found.allowed, found


@pytest.mark.parametrize(
    ("source", "target", "class_name", "permission", "constrained"),
    [
        (process("web"), thing(WEB_FILE, OTHER), "file", "read", True),
        (process("web"), thing(WEB_FILE, OTHER), "file", "write", True),
        (process("web"), thing(WEB_FILE, OTHER), "dir", "search", True),
        (process("web"), process("web", OTHER), "process", "ptrace", False),
        (process("web"), process("web", OTHER), "process", "sigkill", True),
        (process("web"), thing("shadow_t"), "file", "read", False),
        (process("web"), thing("sshd_key_t"), "file", "read", False),
        (process("web"), thing("etc_t"), "file", "write", False),
        (process("web"), thing("proc_t"), "file", "write", False),
        (process("web"), thing("sysfs_t"), "file", "write", False),
        (process("web"), thing("cgroup_t"), "file", "write", False),
        (process("web"), thing("fixed_disk_device_t"), "blk_file", "read", False),
        (process("web"), thing("security_t"), "security", "setenforce", False),
        (process("web"), thing("stockade_database_file_t", OWN), "file", "read", False),
        (process("web"), process("database"), "process", "sigkill", False),
        (process("web"), RUNTIME, "process", "ptrace", False),
        (process("web"), RUNTIME, "fifo_file", "write", True),
        (process("web"), process("web"), "capability", "sys_admin", False),
        (process("web"), process("web"), "process", "execmem", False),
        (process("web"), process("web"), "packet_socket", "create", False),
        (process("web"), "system_u:system_r:unconfined_t:s0", "process", "transition", False),
        (process("batch"), process("batch"), "tcp_socket", "create", False),
        (process("batch"), thing("http_port_t"), "tcp_socket", "name_connect", False),
        (process("admin", "s0-s0:c0.c1023"), thing("shadow_t"), "file", "read", False),
    ],
)  # fmt: skip
def test_denied(
    kernel: Decisions, source: str, target: str, class_name: str, permission: str, constrained: bool
) -> None:
    found = kernel.access(source, target, class_name, permission)
    assert not found.allowed and bool(found.text) == constrained, found


def test_its_own_files_and_itself_as_the_source_says(
    kernel: Decisions, policy: Policy, table: dict[tuple[str, str], int], modules: dict[str, Module]
) -> None:
    """Permission by permission: what the source gives is given there, and nothing else."""
    asked, unknown, guarded = 0, 0, set()
    for name, container in policy.containers.items():
        own = process(name, "s0")
        for label, target in ((container.files, thing(modules[name].files)), (container.domain, own)):
            said = spell(table.get((container.domain, label), 0))
            for class_name in sorted({*FILES, "process", "capability", "tcp_socket", "packet_socket", "msg"}):
                for permission in _permissions(class_name):
                    try:
                        given = kernel.access(own, target, class_name, permission).allowed
                    except UnknownName:
                        unknown += 1
                        assert class_name == "msg"
                        continue
                    asked += 1
                    wanted = permission in said.get(class_name, ())
                    if wanted and pair(class_name, permission) & GUARDED:
                        guarded.add(permission)
                        wanted = False
                    assert given == wanted, (name, label, class_name, permission)
    assert asked > 2000 and unknown > 0 and guarded == {"setcurrent", "sys_module"}


def _permissions(class_name: str) -> list[str]:
    return sorted(CLASSES[class_name])


def test_what_is_not_mapped_is_told_and_denied(modules: dict[str, Module], written: dict[str, bytes]) -> None:
    for name, made in modules.items():
        assert made.unmapped
        page = written[f"containers/{name}/summary.md"].decode()
        assert all(f"  - {line}\n" in page for line in made.unmapped)
    web = "\n".join(modules["web"].unmapped)
    assert "file { getattr }" in web and "private_t" in web  # `describe` on the settings, which are not there
    assert "stockade" not in web


def test_every_grant_of_the_source_is_mapped_or_told(policy: Policy, modules: dict[str, Module]) -> None:
    """Each rule that gives the type something appears: in the module by its place, or among what is not mapped."""
    for name, container in policy.containers.items():
        text = modules[name].te.decode() + "\n".join(modules[name].unmapped)
        for rule in policy.host.rules:
            if rule.audit and container.domain in members(rule) and rule.what.members(container.domain):
                assert f"{rule.at.file}:{rule.at.line} " in text


def test_where_container_selinux_is_its_runtime_starts_them(
    base: list[tuple[str, bytes]], written: dict[str, bytes]
) -> None:
    """Fedora's name for the runtime, declared here as container-selinux would."""
    fedora = (
        b"(type container_runtime_t)(roletype system_r container_runtime_t)"
        b"(typeattributeset domain (container_runtime_t))"
    )
    ours = ("web", written["containers/web/selinux.cil"])
    policy = compile_cil([*base, ("container", fedora), ours], policy_version=33, neverallow=False).policy
    runtime = "system_u:system_r:container_runtime_t:s0"
    with Decisions(policy) as kernel:
        assert kernel.access(runtime, process("web", "s0"), "process", "transition").allowed
        assert kernel.access(process("web"), runtime, "fifo_file", "write").allowed
        assert not kernel.access(process("web"), runtime, "process", "ptrace").allowed
