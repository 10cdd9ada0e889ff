"""Runtime specifications: one as containerd writes it for a pod, and arbitrary ones for properties."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

CAPABILITIES = ["CAP_CHOWN", "CAP_NET_RAW", "CAP_SYS_ADMIN", "CAP_SETUID", "CAP_NET_BIND_SERVICE", "CAP_SYS_PTRACE"]
SETS = ["bounding", "effective", "permitted", "inheritable", "ambient"]
LEVEL = "s0:c12,c345"
NAMESPACES = ["pid", "ipc", "uts", "mount", "network", "cgroup"]


def pod() -> dict[str, Any]:
    """What containerd hands to a runtime for an ordinary container of a pod."""
    return copy.deepcopy(_POD)


_POD: dict[str, Any] = {
    "ociVersion": "1.1.0",
    "process": {
        "user": {"uid": 0, "gid": 0, "additionalGids": [0, 10]},
        "args": ["/bin/sh", "-c", "exec server"],
        "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=web"],
        "cwd": "/",
        "capabilities": {key: [*CAPABILITIES] if key in SETS[:3] else [] for key in SETS},
        "selinuxLabel": f"system_u:system_r:container_t:{LEVEL}",
        "oomScoreAdj": 1000,
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1 << 20, "hard": 1 << 20}],
    },
    "root": {"path": "rootfs"},
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        },
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
        {
            "destination": "/sys/fs/cgroup",
            "type": "cgroup",
            "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
        },
        {
            "destination": "/etc/hosts",
            "type": "bind",
            "source": "/var/lib/kubelet/pods/5d8f/etc-hosts",
            "options": ["rbind", "rprivate", "rw"],
        },
        {
            "destination": "/etc/hostname",
            "type": "bind",
            "source": "/var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/ab12/hostname",
            "options": ["rbind", "rprivate", "rw"],
        },
        {
            "destination": "/dev/shm",
            "type": "bind",
            "source": "/run/containerd/io.containerd.grpc.v1.cri/sandboxes/ab12/shm",
            "options": ["rbind", "rprivate", "rw"],
        },
    ],
    "annotations": {"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-namespace": "default"},
    "linux": {
        "resources": {
            "devices": [{"allow": False, "access": "rwm"}],
            "memory": {"limit": 128 << 20},
            "cpu": {"shares": 256, "quota": 50000, "period": 100000},
        },
        "cgroupsPath": "kubepods-burstable-pod5d8f.slice:cri-containerd:cd34",
        "namespaces": [
            {"type": "pid"},
            {"type": "ipc", "path": "/proc/4711/ns/ipc"},
            {"type": "uts", "path": "/proc/4711/ns/uts"},
            {"type": "mount"},
            {"type": "network", "path": "/proc/4711/ns/net"},
        ],
        "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/sys/firmware", "/proc/other"],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        "mountLabel": f"system_u:object_r:data_t:{LEVEL}",
        "seccomp": {
            "defaultAction": "SCMP_ACT_ERRNO",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": [
                {"names": ["read", "write", "close", "exit_group", "openat", "mmap"], "action": "SCMP_ACT_ALLOW"},
                {
                    "names": ["clone"],
                    "action": "SCMP_ACT_ALLOW",
                    "args": [{"index": 0, "value": 2114060288, "op": "SCMP_CMP_MASKED_EQ"}],
                },
            ],
        },
    },
}

_numbers = st.one_of(st.none(), st.integers(-1, 1 << 40), st.integers((1 << 63) - 2, (1 << 63) - 1))
_names = st.lists(st.sampled_from(CAPABILITIES), unique=True)
CALLS = [
    "read",
    "write",
    "clone",
    "clone3",
    "personality",
    "socket",
    "mount",
    "ptrace",
    "openat2",
    "bpf",
    "nothing_new",
]
_OPS = ["SCMP_CMP_" + op for op in ("EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ")]
_values = st.sampled_from([0, 1, 2, 8, 40, 0x7E020000, 0x10000000, 0xFFFFFFFF, 1 << 63])
_tests = st.builds(
    lambda index, value, other, op: {"index": index, "value": value, "valueTwo": other, "op": op},
    st.integers(0, 3),
    _values,
    _values,
    st.sampled_from(_OPS),
)
FILTERS = st.builds(
    lambda default, rules: {"defaultAction": default, "syscalls": rules},
    st.sampled_from(["SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW", "SCMP_ACT_KILL_PROCESS"]),
    st.lists(
        st.builds(
            lambda names, action, args: {"names": names, "action": action, "args": args},
            st.lists(st.sampled_from(CALLS), min_size=1, max_size=4, unique=True),
            st.sampled_from(["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_LOG", "SCMP_ACT_KILL_PROCESS"]),
            st.lists(_tests, max_size=2),
        ),
        max_size=6,
    ),
)
RESOURCES = st.fixed_dictionaries(
    {},
    optional={
        "memory": st.fixed_dictionaries({}, optional={"limit": _numbers, "swap": _numbers, "reservation": _numbers}),
        "pids": st.fixed_dictionaries({}, optional={"limit": _numbers}),
        "cpu": st.fixed_dictionaries(
            {}, optional={"shares": _numbers, "quota": _numbers, "period": st.sampled_from([1000, 100000, 1000000])}
        ),
        "unified": st.dictionaries(
            st.sampled_from(["memory.high", "memory.max", "pids.max", "cpu.weight", "io.weight"]),
            st.sampled_from(["max", "0", "1", "100", "10000", "99999999999"]),
        ),
        "devices": st.lists(
            st.builds(
                lambda allow, kind, major, minor, access: {
                    "allow": allow,
                    "access": access,
                    **({} if kind is None else {"type": kind}),
                    **({} if major is None else {"major": major}),
                    **({} if minor is None else {"minor": minor}),
                },
                st.booleans(),
                st.sampled_from([None, "a", "c", "b"]),
                st.sampled_from([None, 1, 5, 8, 136]),
                st.sampled_from([None, 3, 5, 0]),
                st.sampled_from(["r", "rw", "rwm", "m"]),
            ),
            max_size=4,
        ),
    },
)


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    """Specifications that differ from a pod's wherever one may."""
    spec = pod()
    process, linux = spec["process"], spec["linux"]
    process["capabilities"] = draw(st.fixed_dictionaries({}, optional=dict.fromkeys(SETS, _names)))
    for key, values in (("noNewPrivileges", st.booleans()), ("oomScoreAdj", st.integers(-1000, 1000))):
        process[key] = draw(values)
    process["rlimits"] = draw(
        st.lists(
            st.builds(
                lambda name, soft, extra: {"type": name, "soft": soft, "hard": soft + extra},
                st.sampled_from(["RLIMIT_NOFILE", "RLIMIT_CORE", "RLIMIT_NPROC", "RLIMIT_STACK"]),
                st.integers(0, 1 << 62),
                st.integers(0, 1 << 62),
            ),
            unique_by=lambda limit: limit["type"],
        )
    )
    spec["root"] = draw(st.sampled_from([{"path": "rootfs"}, {"path": "rootfs", "readonly": True}]))
    linux["resources"] = draw(RESOURCES)
    linux["maskedPaths"] = draw(st.lists(st.sampled_from(["/proc/acpi", "/proc/kcore", "/proc/x"]), unique=True))
    linux["namespaces"] = [
        *({"type": kind} for kind in NAMESPACES[:5]),
        *draw(st.sampled_from([[], [{"type": "cgroup"}]])),
    ]
    linux["seccomp"] = draw(st.one_of(st.just({}), FILTERS))
    if draw(st.booleans()):
        spec["mounts"].append(
            {"destination": "/tmp", "type": "tmpfs", "options": draw(st.sampled_from([[], ["size=1m"]]))}
        )
    spec["futureKey"] = {"kept": [1.5, None, (1 << 63) - 1]}
    return spec
