"""The OCI runtime specification, 1.0.2 to 1.3, as far as Linux is concerned: every key it knows and what it may hold.

Stricter than the specification's own schema, which lets unknown keys, capabilities, relative paths and control files
through. Nothing here is obligatory at the top: a document may be a whole configuration or only parts of one.
"""

from __future__ import annotations

from collections.abc import Iterator

from stockade.model.names import CAPABILITIES, CAPABILITY_SETS, NAMESPACES, RLIMITS
from stockade.oci.shape import (
    Shape,
    absolute,
    array,
    boolean,
    integer,
    matching,
    one_of,
    record,
    table,
    text,
    word,
)
from stockade.oci.unified import LIST, unified

U32, U64, I32, I64 = (1 << 32) - 1, (1 << 64) - 1, (1 << 31) - 1, (1 << 63) - 1

SCMP_ARCHES = frozenset(
    "SCMP_ARCH_" + name
    for name in (
        "X86 X86_64 X32 ARM AARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE S390 S390X "
        "PARISC PARISC64 RISCV64 LOONGARCH64 M68K SH SHEB"
    ).split()
)
SCMP_ACTIONS = frozenset(
    "SCMP_ACT_" + name for name in "KILL KILL_PROCESS KILL_THREAD TRAP ERRNO TRACE ALLOW LOG NOTIFY".split()
)
SCMP_OPERATORS = frozenset("SCMP_CMP_" + name for name in "NE LT LE EQ GE GT MASKED_EQ".split())
SECCOMP_FLAGS = frozenset("SECCOMP_FILTER_FLAG_" + name for name in "TSYNC LOG SPEC_ALLOW WAIT_KILLABLE_RECV".split())
PROPAGATIONS = [prefix + name for name in ("private", "slave", "shared", "unbindable") for prefix in ("", "r")]
"""The specification knows only those without the `r` for recursive; every runtime and containerd use both."""


def _access(path: str, value: object) -> Iterator[str]:
    if not isinstance(value, str) or not value or set(value) - set("rwm") or len(set(value)) != len(value):
        yield f"{path}: expected letters of 'rwm', each once, got {value!r}"


def _sysctl_name(path: str, value: object) -> Iterator[str]:
    yield from matching(r"[a-z0-9_]+([./][A-Za-z0-9_.:-]+)+", "the name of a setting, as in net.core.somaxconn")(
        path, value
    )


_u32, _u64, _i64 = integer(0, U32), integer(0, U64), integer(-I64 - 1, I64)
_limit = integer(-1, I64)  # -1 is no limit
_major, _minor = integer(0, (1 << 12) - 1), integer(0, (1 << 20) - 1)
_any_major, _any_minor = integer(-1, (1 << 12) - 1), integer(-1, (1 << 20) - 1)
_hook = record(
    {"path": absolute, "args": array(text), "env": array(text), "timeout": integer(1, I32)}, required=["path"]
)
_ids = array(
    record({"containerID": _u32, "hostID": _u32, "size": integer(1, U32)}, required=["containerID", "hostID", "size"])
)
_label = matching(r"[A-Za-z0-9_]+(:[A-Za-z0-9_]+){2}(:s[0-9][A-Za-z0-9.,:-]*)?", "an SELinux context")
_capability = one_of([f"CAP_{name}" for name in CAPABILITIES], "capability")

PROCESS = record(
    {
        "apparmorProfile": text,
        "args": array(text),
        "capabilities": record({name: array(_capability, once=True) for name in CAPABILITY_SETS}),
        "consoleSize": record({"height": _u64, "width": _u64}, required=["height", "width"]),
        "cwd": word,
        "env": array(matching(r"(?s)[^=\0]+=[^\0]*", "NAME=VALUE")),
        "execCPUAffinity": record({"initial": text, "final": text}),
        "ioPriority": record(
            {
                "class": one_of([f"IOPRIO_CLASS_{name}" for name in ("RT", "BE", "IDLE")], "I/O class"),
                "priority": integer(0, 7),
            },
            required=["class"],
        ),
        "noNewPrivileges": boolean,
        "oomScoreAdj": integer(-1000, 1000),
        "rlimits": array(
            record(
                {
                    "type": one_of([f"RLIMIT_{name.upper()}" for name in RLIMITS], "resource limit"),
                    "soft": _u64,
                    "hard": _u64,
                },
                required=["type", "soft", "hard"],
            ),
            unique="type",
        ),
        "scheduler": record(
            {
                "policy": one_of(
                    [f"SCHED_{name}" for name in "OTHER FIFO RR BATCH ISO IDLE DEADLINE".split()], "scheduler"
                ),
                "nice": integer(-20, 19),
                "priority": integer(0, 99),
                "flags": array(matching(r"SCHED_FLAG_[A-Z_]+", "a SCHED_FLAG name"), once=True),
                "runtime": _u64,
                "deadline": _u64,
                "period": _u64,
            },
            required=["policy"],
        ),
        "selinuxLabel": _label,
        "terminal": boolean,
        "user": record(
            {"uid": _u32, "gid": _u32, "umask": integer(0, 0o777), "additionalGids": array(_u32), "username": text}
        ),
    }
)

_device_rate = array(record({"major": _major, "minor": _minor, "rate": _u64}, required=["major", "minor", "rate"]))
_weight = integer(10, 1000)
RESOURCES = record(
    {
        "blockIO": record(
            {
                "weight": _weight,
                "leafWeight": _weight,
                "weightDevice": array(
                    record(
                        {"major": _major, "minor": _minor, "weight": _weight, "leafWeight": _weight},
                        required=["major", "minor"],
                    )
                ),
                "throttleReadBpsDevice": _device_rate,
                "throttleWriteBpsDevice": _device_rate,
                "throttleReadIOPSDevice": _device_rate,
                "throttleWriteIOPSDevice": _device_rate,
            }
        ),
        "cpu": record(
            {
                "burst": _u64,
                "cpus": matching(LIST, "a list of CPUs, as in 0-3,7"),
                "idle": integer(0, 1),
                "mems": matching(LIST, "a list of nodes, as in 0-3,7"),
                "period": integer(1000, 1_000_000),
                "quota": _limit,
                "realtimePeriod": _u64,
                "realtimeRuntime": _i64,
                "shares": integer(2, 262_144),
            }
        ),
        "devices": array(
            record(
                {
                    "allow": boolean,
                    "type": one_of(["a", "b", "c"], "device type"),
                    "major": _any_major,
                    "minor": _any_minor,
                    "access": _access,
                },
                required=["allow", "access"],
            )
        ),
        "hugepageLimits": array(
            record(
                {"pageSize": matching(r"[1-9][0-9]*[KMG]B", "a page size, as in 2MB"), "limit": _u64},
                required=["pageSize", "limit"],
            ),
            unique="pageSize",
        ),
        "memory": record(
            {
                "checkBeforeUpdate": boolean,
                "disableOOMKiller": boolean,
                "limit": _limit,
                "reservation": _limit,
                "swap": _limit,
                "swappiness": integer(0, 100),
                "useHierarchy": boolean,
            }
        ),
        "network": record(
            {
                "classID": _u32,
                "priorities": array(record({"name": word, "priority": _u32}, required=["name", "priority"])),
            }
        ),
        "pids": record({"limit": _limit}, required=["limit"]),
        "rdma": table(word, record({"hcaHandles": _u32, "hcaObjects": _u32})),
        "unified": unified,
    }
)

_action = one_of(SCMP_ACTIONS, "seccomp action")
SECCOMP = record(
    {
        "architectures": array(one_of(SCMP_ARCHES, "architecture"), once=True),
        "defaultAction": _action,
        "defaultErrnoRet": integer(0, 4095),
        "flags": array(one_of(SECCOMP_FLAGS, "seccomp flag"), once=True),
        "listenerMetadata": text,
        "listenerPath": absolute,
        "syscalls": array(
            record(
                {
                    "names": array(matching(r"[a-z_][a-z0-9_]*", "the name of a system call"), once=True),
                    "action": _action,
                    "errnoRet": integer(0, 4095),
                    "args": array(
                        record(
                            {
                                "index": integer(0, 5),
                                "op": one_of(SCMP_OPERATORS, "comparison"),
                                "value": _u64,
                                "valueTwo": _u64,
                            },
                            required=["index", "op", "value"],
                        )
                    ),
                },
                required=["names", "action"],
            )
        ),
    },
    required=["defaultAction"],
)

LINUX = record(
    {
        "cgroupsPath": word,
        "devices": array(
            record(
                {
                    "path": absolute,
                    "type": one_of(["b", "c", "p", "u"], "device type"),
                    "major": _major,
                    "minor": _minor,
                    "fileMode": integer(0, 0o777),
                    "uid": _u32,
                    "gid": _u32,
                },
                required=["path", "type"],
            ),
            unique="path",
        ),
        "gidMappings": _ids,
        "intelRdt": record(
            {
                "closID": word,
                "enableMonitoring": boolean,
                "l3CacheSchema": text,
                "memBwSchema": text,
                "schemata": array(text),
            }
        ),
        "maskedPaths": array(absolute, once=True),
        "memoryPolicy": record({"mode": word, "nodes": text, "flags": array(word)}, required=["mode"]),
        "mountLabel": _label,
        "namespaces": array(
            record({"type": one_of(NAMESPACES, "namespace"), "path": absolute}, required=["type"]), unique="type"
        ),
        "netDevices": table(word, record({"name": word})),
        "personality": record(
            {"domain": one_of(["LINUX", "LINUX32"], "personality"), "flags": array(word)}, required=["domain"]
        ),
        "readonlyPaths": array(absolute, once=True),
        "resources": RESOURCES,
        "rootfsPropagation": one_of(PROPAGATIONS, "propagation"),
        "seccomp": SECCOMP,
        "sysctl": table(_sysctl_name, text),
        "timeOffsets": table(
            one_of(["monotonic", "boottime"], "clock"),
            record({"secs": _i64, "nanosecs": integer(0, 999_999_999)}),
        ),
        "uidMappings": _ids,
    }
)

DOCUMENT: Shape = record(
    {
        "annotations": table(word, text),
        "domainname": text,
        "hooks": record(
            {
                phase: array(_hook)
                for phase in ("prestart createRuntime createContainer startContainer poststart poststop".split())
            }
        ),
        "hostname": text,
        "linux": LINUX,
        "mounts": array(
            record(
                {
                    "destination": absolute,
                    "type": word,
                    "source": word,
                    "options": array(word, once=True),
                    "uidMappings": _ids,
                    "gidMappings": _ids,
                },
                required=["destination"],
            )
        ),
        "ociVersion": matching(
            r"1\.(0\.[2-9]|[1-3]\.(0|[1-9][0-9]*))(-[0-9A-Za-z.-]+)?", "a version from 1.0.2 to 1.3"
        ),
        "process": PROCESS,
        "root": record({"path": word, "readonly": boolean}),
    }
)
