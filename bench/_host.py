"""A host as a folder: /proc, /sys and /run of a genuine host's facts, with as many containers and processes as asked.

What `stockade audit` reads of a live host is there in the kernel's own form, one file for each that it opens. Files of
a tmpfs open faster than procfs's, which are made while they are read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stockade.audit.facts.host import ANCHORS

Json = Mapping[str, Any]
STATE = "run/containerd/io.containerd.runtime.v2.task/k8s.io"
RLIMITS = "Limit                     Soft Limit           Hard Limit           Units     \n"
PLAIN = {
    "proc/bootconfig": "",
    "proc/swaps": "Filename Type Size Used Priority\n",
    "proc/filesystems": "nodev\tproc\n\text4\n",
    "proc/modules": "overlay 151552 0 - Live 0x0000000000000000\n",
    "proc/1/net/ip_tables_names": "",
    "sys/kernel/security/lsm": "lockdown,capability,selinux",
    "sys/kernel/security/lockdown": "none [integrity] confidentiality\n",
    "sys/module/module/parameters/sig_enforce": "Y\n",
    "sys/fs/selinux/enforce": "1",
    "sys/fs/selinux/mls": "1",
    "sys/fs/selinux/deny_unknown": "1",
    "sys/fs/selinux/reject_unknown": "0",
    "sys/fs/selinux/policyvers": "33",
    "sys/fs/selinux/checkreqprot": "0",
    "sys/fs/selinux/status": "\1\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0",
    "sys/dev/block/253:0/size": "1884160\n",
    "sys/dev/block/253:0/ro": "1\n",
    "etc/os-release": "ID=bottlerocket\n",
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "etc/selinux/config": "SELINUX=enforcing\nSELINUXTYPE=fortified\n",
    "etc/chrony.conf": "pool time.example.org\n",
}


def magic(root: Path) -> Any:
    """What statfs would say of each place if the folder `root` were a host."""
    places = {f"{root}{place}": number for place, number in ANCHORS.items()}
    return lambda descriptor: places.get(os.readlink(f"/proc/self/fd/{descriptor}"), 0xEF53)  # noqa: PTH115


def make(root: Path, genuine: Json, policy: bytes, containers: int, processes: int) -> None:
    """Lay the host below `root`; `genuine` are the facts of policy/audit/genuine.json."""
    facts = {name: said["value"] for name, said in genuine["facts"].items() if "value" in said}
    for name, content in PLAIN.items():
        file(root, name, content.encode("latin-1"))
    for name, value in facts.items():
        if name.startswith("sysctl:"):
            said = " ".join(map(str, value)) if isinstance(value, list) else str(value)
            file(root, "proc/sys/" + name.removeprefix("sysctl:").replace(".", "/"), said.encode())
    for version, interfaces in facts["network.interfaces"].items():
        for interface, settings in interfaces.items():
            for name, value in settings.items():
                file(root, f"proc/sys/net/{version}/conf/{interface}/{name}", f"{value}\n".encode())
    file(root, "proc/cmdline", b"root=/dev/dm-0 ro selinux=1 enforcing=1\n")
    file(root, "sys/fs/selinux/policy", policy)
    for place in ("proc/fs", "proc/bus", "proc/irq", "sys/firmware"):
        (root / place).mkdir(parents=True, exist_ok=True)
    model = facts["containers"][0]
    init = {kind: str(inode) for kind, inode in facts["containers.host"]["namespaces"].items()}
    host = {
        "label": "system_u:system_r:init_t:s0",
        "namespaces": init,
        "name": "systemd",
        "program": "/usr/lib/systemd",
    }
    first = {**model["processes"][0], **host, "seccomp": 0, "filters": 0}
    mounts = "".join(map(mountinfo, facts["mounts"]))
    process(root, 1, first, "/init.scope", mounts)
    process(root, 0, first, "/init.scope", mounts, folder="self")
    each = processes // 3 * 2 // containers
    number = 100
    for at in range(containers):
        name, pod = f"{at:064x}", f"/kubepods/pod{at}"
        label = f"system_u:system_r:container_t:s0:c{at},c{at + 500}"
        inside = {kind: str(4026600000 + at * 10 + n) for n, kind in enumerate(init)}
        inside |= {kind: init[kind] for kind in ("time", "user")}
        said = {**model["processes"][0], "label": label, "namespaces": inside}
        lines = "".join(mountinfo(one) for one in next(iter(model["mounts"].values())))
        for member in range(each):
            process(root, number, said, f"{pod}/{name}", lines, threads=4 if member == 0 else 1)
            number += 1
        for limit, value in model["limits"].items():
            file(root, f"sys/fs/cgroup{pod}/{name}/{limit}", f"{value}\n".encode())
        spec = {
            "linux": {"cgroupsPath": f"{pod}/{name}"},
            "annotations": {"io.stockade.type": "ordinary", "io.kubernetes.cri.sandbox-id": f"pod{at}"},
            "process": {"selinuxLabel": label},
        }
        file(root, f"{STATE}/{name}/config.json", json.dumps(spec).encode())
    for other in range(number, number + processes - containers * each - 1):
        process(root, other, {**first, "name": f"daemon{other}"}, "/system.slice/daemon.service", mounts)


def process(root: Path, pid: int, said: Json, group: str, mounts: str, threads: int = 1, folder: str = "") -> None:
    """The folder of one process, with what the kernel says of it in every thread."""
    place = f"proc/{folder or pid}"
    file(root, f"{place}/stat", f"{pid} ({said['name']}) S 1 1 1 0 -1 4194560 {'0 ' * 12}9 0 0\n".encode())
    file(root, f"{place}/cgroup", f"0::{group}\n".encode())
    file(root, f"{place}/mountinfo", mounts.encode())
    lines = [f"{name:<26}{soft:<21}{hard:<21}files     \n" for name, (soft, hard) in LIMITS.items()]
    file(root, f"{place}/limits", (RLIMITS + "".join(lines)).encode())
    file(root, f"{place}/oom_score_adj", b"0\n")
    for thread in ["", *(f"task/{pid + n * 10000}/" for n in range(threads))]:
        file(root, f"{place}/{thread}status", status(said, pid).encode())
        file(root, f"{place}/{thread}attr/current", f"{said['label']}\0".encode())
        file(root, f"{place}/{thread}attr/exec", b"")
        (root / place / thread / "ns").mkdir(exist_ok=True)
        for kind, inode in said["namespaces"].items():
            (root / place / thread / "ns" / kind).symlink_to(f"{kind}:[{inode}]")
        (root / place / thread / "exe").symlink_to(said["program"])


LIMITS = {"Max core file size": ("0", "0"), "Max open files": ("65536", "65536")}
SETS = {"Inh": "inheritable", "Prm": "permitted", "Eff": "effective", "Bnd": "bounding", "Amb": "ambient"}


def status(said: Json, pid: int) -> str:
    """/proc/PID/status, with what else is in it."""
    sets = "".join(f"Cap{name}:\t{said['capabilities'][key]:016x}\n" for name, key in SETS.items())
    full = "" if pid > 1 else "".join(f"Cap{name}:\t000001ffffffffff\n" for name in SETS)
    return (
        f"Name:\t{said['name']}\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t{pid}\nPid:\t{pid}\nPPid:\t1\n"
        f"Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nVmPeak:\t  123456 kB\nVmRSS:\t   12345 kB\nThreads:\t1\n"
        f"{full or sets}NoNewPrivs:\t{said['no_new_privileges']}\nSeccomp:\t{said['seccomp']}\n"
        f"Seccomp_filters:\t{said['filters']}\nvoluntary_ctxt_switches:\t1\n"
    )


def mountinfo(one: Json) -> str:
    """A mount as the kernel writes it."""
    left = f"{one['id']} {one['parent']} {one['device']} {one['root']} {one['point']} {','.join(one['options'])}"
    return f"{left} - {one['type']} {one['source']} {','.join(one['superblock'])}\n"


def file(root: Path, name: str, content: bytes) -> None:
    """One file, and the folders above it."""
    path = root / name
    try:
        path.write_bytes(content)
    except FileNotFoundError:
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
