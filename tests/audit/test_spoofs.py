"""Hosts that only look right, and right ones that look odd: each as the kernel would tell it, each with its verdict."""

from __future__ import annotations

from typing import Any

import pytest
from stockade.audit.facts.command_line import parameters
from stockade.audit.facts.fact import Facts
from stockade.audit.judge import verdict
from stockade.audit.report.model import Status
from stockade.audit.rules.cases import changed
from stockade.audit.rules.rule import Rule

MOUNT = {"id": 90, "parent": 1, "device": "0:41", "root": "/", "options": ["rw"], "source": "x", "superblock": ["rw"]}
HASH, SALT = "a" * 64, "b" * 64
TABLE = f"1 98:0 98:16 4096 4096 117760 1 sha256 {HASH} {SALT}"
CREATE = (
    f'"dm-mod.create=root,,,ro,0 1884160 verity 1 A B 4096 4096 235520 1 sha256 {HASH} {SALT} 1 restart_on_corruption"'
)
LINEAR = {"type": "linear", "start": 0, "length": 1884160, "parameters": "98:0 0", "status": ""}
HALF = {"type": "verity", "start": 0, "length": 942080, "parameters": f"{TABLE} 1 restart_on_corruption", "status": "V"}
LABEL = "system_u:system_r:container_t:s0:c11,c207"
OVERLAY = {**MOUNT, "type": "overlay"}


def line(text: str) -> list[list[str | None]]:
    return [list(pair) for pair in parameters(text.encode())]


def over(point: str, *options: str) -> dict[str, Any]:
    return {**OVERLAY, "point": point, "superblock": ["rw", *options]}


FIRST = "containers|0|processes|0"
SPOOFS: dict[str, tuple[str, dict[str, Any]]] = {
    "the file says enforcing, the kernel is permissive": (
        "selinux-enforcing",
        {"selinux.enforce": 0, "selinux.config": {"SELINUX": "enforcing", "SELINUXTYPE": "fortified"}},
    ),
    "one type is permissive": ("selinux-no-permissive-types", {"policy.permissive": ["container_t"]}),
    "one allow rule more": (
        "selinux-policy-as-compiled",
        {"compiled.policy": {"sha256": "x"}, "policy.diff": ["allows more: container_t private_t:file { write }"]},
    ),
    "one boolean flipped": ("selinux-booleans-as-compiled", {"selinux.booleans": {"surprise": [1, 1]}}),
    "a tmpfs over selinuxfs": ("ground-selinuxfs", {"ground.selinuxfs": "malformed", "selinux.enforce": 1}),
    "what is read of it": ("selinux-enforcing", {"selinux.enforce": "malformed"}),
    "a file over /proc/cmdline": ("ground-nothing-over-kernel-files", {"ground.foreign": ["/proc/cmdline"]}),
    "verity after --": (
        "root-hash-on-command-line",
        {"kernel.command_line": line(f"root=/dev/dm-0 selinux=1 -- {CREATE}")},
    ),
    "verity twice": ("root-hash-of-command-line", {"kernel.command_line": line(f"{CREATE} {CREATE}")}),
    "a linear target named like verity": (
        "root-verity-table",
        {"+root.table": {"uuid": "CRYPT-VERITY-0123-root", "name": "root", "targets": [LINEAR]}},
    ),
    "verity that ignores corruption": (
        "root-verity-on-corruption",
        {"root.table|targets|0|parameters": f"{TABLE} 1 ignore_corruption"},
    ),
    "verity over a half": (
        "root-verity-table",
        {"+root.table": {"targets": [HALF, {**LINEAR, "start": 942080, "length": 942080}]}},
    ),
    "a read-only bind of what can be written": ("root-read-only", {"mounts|point=/|superblock": ["rw"]}),
    "a read-write bind of what cannot": ("root-read-only", {"mounts|point=/|options": ["rw"]}),
    "an overlay for a root": ("root-file-system", {"mounts|point=/|type": "overlay"}),
    "one program bound over": (
        "root-nothing-over-image",
        {"+mounts": [{**MOUNT, "type": "ext4", "point": "/usr/bin/runc"}]},
    ),
    "unprivileged eBPF that can be turned on": (
        "kernel-no-unprivileged-bpf",
        {"sysctl:kernel.unprivileged_bpf_disabled": 2},
    ),
    "one interface is another": ("network-no-redirects-sent", {"network.interfaces|ipv4|eth0|send_redirects": 1}),
    "a filter that allows all": (
        "container-filters",
        {
            "compiled.types|ordinary|filters": {"x86_64": "0600000000000580"},
            "containers.filters": {"c" * 64: [{"pid": 900, "programs": ["060000000000ff7f"]}]},
        },
    ),
    "a thread with another label": (
        "container-label",
        {"containers|0|processes|+": "thread"},
    ),
    "more capabilities than compiled": ("container-capabilities", {f"{FIRST}|capabilities|bounding": 0x1FFFFFFFFFF}),
    "the host's process namespace": ("container-namespaces", {f"{FIRST}|namespaces|pid": "4026531836"}),
    "a mount that can be written below one that cannot": (
        "container-masks",
        {"containers|0|mounts|*|+": {**MOUNT, "type": "proc", "point": "/proc/sys/kernel", "root": "/sys/kernel"}},
    ),
}
INSIDE = "containers|0|mounts|*|+"
SPOOFS |= {
    "masks under a second /proc": (
        "container-masks",
        {INSIDE: {**MOUNT, "parent": 501, "device": "0:99", "type": "proc", "point": "/proc"}},
    ),
    "a tmpfs of its type under another": (
        "container-mounts",
        {INSIDE: {**MOUNT, "parent": 504, "type": "tmpfs", "point": "/tmp"}},
    ),
    "a mount upon the container's root": (
        "container-root",
        {INSIDE: {**MOUNT, "parent": 500, "type": "tmpfs", "point": "/"}},
    ),
    "the host's processes in a folder": (
        "container-mounts",
        {INSIDE: {**MOUNT, "parent": 500, "device": "0:21", "type": "proc", "point": "/host"}},
    ),
    "the host's devices of the kernel": (
        "container-mounts",
        {INSIDE: {**MOUNT, "parent": 500, "device": "0:22", "type": "sysfs", "point": "/host"}},
    ),
    "the whole tree of control groups": (
        "container-mounts",
        {INSIDE: {**MOUNT, "parent": 503, "device": "0:25", "type": "cgroup2", "point": "/sys/fs/cgroup"}},
    ),
    "the runtime's socket by another name": (
        "container-sockets",
        {INSIDE: {**MOUNT, "parent": 500, "device": "0:26", "type": "tmpfs", "root": "/containerd/x", "point": "/a"}},
    ),
    "the socket of plugins": (
        "container-sockets",
        {INSIDE: {**MOUNT, "parent": 500, "device": "0:26", "type": "tmpfs", "root": "/nri/nri.sock", "point": "/a"}},
    ),
    "a set of capabilities that the type leaves out": (
        "container-capabilities",
        {"compiled.types|ordinary|spec|process|capabilities|ambient": "gone", f"{FIRST}|capabilities|ambient": 1},
    ),
    "a container's label on a process of the host": (
        "container-known",
        {"processes|name=kubelet|label": LABEL},
    ),
    "a process of the container as another": (
        "container-label",
        {f"{FIRST}|label": LABEL.replace("container_t", "super_t")},
    ),
    "a program in memory alone": ("container-programs", {f"{FIRST}|program": "/memfd:x (deleted)"}),
    "a thread without a filter": ("container-seccomp", {"containers|0|processes|+": "free"}),
    "files of a container for the host's": ("ground-host-root", {"ground.root": 500}),
    "a root that was moved under the true one": (
        "root-file-system",
        {
            "mounts": [
                {**MOUNT, "id": 5, "parent": 0, "point": "/"},
                {**MOUNT, "id": 1, "parent": 5, "type": "ext4", "point": "/"},
            ]
        },
    ),
    "another policy after the next boot": (
        "selinux-configured",
        {"selinux.config": {"SELINUX": "permissive", "SELINUXTYPE": "fortified"}},
    ),
}
GENUINE: dict[str, tuple[str, dict[str, Any]]] = {
    "modules in an overlay that is written to": (
        "root-nothing-over-image",
        {"+mounts": [over("/lib/modules", "lowerdir=/lib/modules", "upperdir=/var/lib/kernel-modules/.overlay/upper")]},
    ),
    "FIPS programs in an overlay of the image": (
        "root-nothing-over-image",
        {
            "+mounts": [
                over("/usr/bin", "lowerdir=/usr/fips/bin:/usr/bin"),
                over("/usr/libexec", "lowerdir=/usr/fips/libexec:/usr/libexec"),
            ]
        },
    ),
    "lockdown for confidentiality": ("kernel-lockdown", {"kernel.lockdown": "confidentiality"}),
    "no uuid on the device": ("root-verity-table", {"+root.table": {"uuid": ""}}),
}


THREADS: dict[Any, dict[str, Any]] = {
    "thread": {"label": LABEL.replace("container_t", "control_t")},
    "free": {"seccomp": 0, "filters": 0},
}


def judged(rules: tuple[Rule, ...], genuine: Facts, rule: str, case: dict[str, Any]) -> Status:
    (one,) = (one for one in rules if one.name == rule)
    for name, said in case.items():
        if type(said) is str and said in THREADS:
            process = genuine.get("containers").value[0]["processes"][0]
            case = {**case, name: {**process, "pid": 901, "thread_of": 900, **THREADS[said]}}
    assert verdict(one, changed(genuine, {})).status is not Status.FAIL
    return verdict(one, changed(genuine, case)).status


@pytest.mark.parametrize("name", SPOOFS)
def test_what_only_looks_right_does_not_pass(rules: tuple[Rule, ...], genuine: Facts, name: str) -> None:
    assert judged(rules, genuine, *SPOOFS[name]) in (Status.FAIL, Status.ERROR)


@pytest.mark.parametrize("name", GENUINE)
def test_what_is_odd_and_right_passes(rules: tuple[Rule, ...], genuine: Facts, name: str) -> None:
    assert judged(rules, genuine, *GENUINE[name]) is Status.PASS
