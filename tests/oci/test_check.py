"""The strict check: what a runtime's own configuration passes, and what the official schema lets through."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stockade.oci.check import check_runtime_spec

WHOLE: dict[str, Any] = {
    "ociVersion": "1.0.2-dev",
    "process": {
        "terminal": False,
        "user": {"uid": 0, "gid": 0, "umask": 18, "additionalGids": [5]},
        "args": ["sh", "-c", "true"],
        "env": ["PATH=/bin", "EMPTY="],
        "cwd": "/",
        "capabilities": {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"]},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        "noNewPrivileges": True,
        "apparmorProfile": "",
        "oomScoreAdj": 900,
        "selinuxLabel": "system_u:system_r:container_t:s0:c1,c2",
        "scheduler": {"policy": "SCHED_BATCH", "nice": 5},
        "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 7},
    },
    "root": {"path": "rootfs", "readonly": True},
    "hostname": "web",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "gid=5"]},
        {"destination": "/data", "type": "bind", "source": "/srv", "options": ["rbind", "rro", "rslave"]},
    ],
    "hooks": {"createRuntime": [{"path": "/bin/true", "timeout": 1}]},
    "annotations": {"io.kubernetes.cri.container-name": "web"},
    "linux": {
        "cgroupsPath": "/kubepods/web",
        "namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "ipc"}, {"type": "network", "path": "/run/n"}],
        "uidMappings": [{"containerID": 0, "hostID": 200000, "size": 65536}],
        "devices": [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3}, {"path": "/dev/p", "type": "p"}],
        "resources": {
            "devices": [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 136, "access": "rw"}],
            "memory": {"limit": 4096, "swap": 4096, "swappiness": 60},
            "cpu": {"shares": 1024, "quota": 50000, "period": 100000, "cpus": "0-1,3"},
            "pids": {"limit": 64},
            "blockIO": {"weight": 10, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}]},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
            "unified": {"memory.high": "max", "io.max": "8:0 rbps=1", "cpu.max": "max 100000", "hugetlb.2MB.max": "0"},
        },
        "seccomp": {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 38,
            "architectures": ["SCMP_ARCH_X86_64"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "syscalls": [
                {
                    "names": ["personality"],
                    "action": "SCMP_ACT_ALLOW",
                    "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}],
                }
            ],
        },
        "sysctl": {"net.ipv4.ip_forward": "0", "kernel.shmmax": "1", "fs.mqueue.msg_max": "5"},
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
        "rootfsPropagation": "rslave",
        "mountLabel": "system_u:object_r:container_file_t:s0:c1,c2",
        "timeOffsets": {},
        "personality": {"domain": "LINUX"},
    },
}


def test_a_whole_configuration_passes() -> None:
    assert check_runtime_spec(WHOLE) == []
    assert check_runtime_spec({}) == []
    assert check_runtime_spec({"linux": {"namespaces": [], "maskedPaths": [], "sysctl": {}, "timeOffsets": {}}}) == []


def with_change(path: str, value: Any) -> dict[str, Any]:
    """The whole configuration with one member set; a number in the path is an index, `+` appends."""
    spec = copy.deepcopy(WHOLE)
    place: Any = spec
    *steps, last = path.split("/")
    for step in steps:
        place = place[int(step)] if isinstance(place, list) else place[step]
    if last == "+":
        place.append(value)
    else:
        place[int(last) if isinstance(place, list) else last] = value
    return spec


CASES = [
    ("proces", {}, "proces: unknown key; did you mean 'process'?"),
    ("windows", {}, "windows: unknown key"),
    ("ociVersion", "2.0.0", "ociVersion: expected a version"),
    ("ociVersion", "1.0.1", "ociVersion: expected a version"),
    ("process/noNewPrivilege", True, "process.noNewPrivilege: unknown key; did you mean 'noNewPrivileges'?"),
    ("process/noNewPrivileges", "true", "process.noNewPrivileges: expected true or false, got the string 'true'"),
    ("process/capabilities/bounding/+", "CAP_SYS_ADMN", "unknown capability 'CAP_SYS_ADMN'; did you mean"),
    ("process/capabilities/bounding/+", "KILL", "unknown capability 'KILL'"),
    ("process/capabilities/bounding/+", "CAP_KILL", "process.capabilities.bounding[1]: 'CAP_KILL' is already at"),
    ("process/capabilities/efective", [], "process.capabilities.efective: unknown key"),
    ("process/capabilities/effective/+", "CAP_CHOWN", "process.capabilities.effective: CAP_CHOWN is not in permitted"),
    ("process/capabilities/ambient", ["CAP_KILL"], "process.capabilities.ambient: CAP_KILL is not in inheritable"),
    ("process/rlimits/0/type", "RLIMIT_NOFILES", "process.rlimits[0].type: unknown resource limit"),
    ("process/rlimits/0/soft", 2048, "process.rlimits[0]: the soft limit 2048"),
    ("process/rlimits/0/soft", True, "process.rlimits[0].soft: expected an integer, got true"),
    ("process/rlimits/0/soft", -1, "process.rlimits[0].soft: -1 is not within"),
    ("process/rlimits/+", {"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1}, "'RLIMIT_NOFILE' is already at"),
    ("process/rlimits/+", {"type": "RLIMIT_CPU", "soft": 1}, "process.rlimits[1]: hard is missing"),
    ("process/scheduler/policy", "SCHED_FIF", "unknown scheduler"),
    ("process/env/+", "NOVALUE", "process.env[2]: expected NAME=VALUE"),
    ("root/readOnly", True, "root.readOnly: unknown key; did you mean 'readonly'?"),
    ("mounts/0/destination", "proc", "mounts[0].destination: 'proc' is not an absolute path"),
    ("mounts/0/destination", "/proc/", "is not an absolute path without"),
    ("mounts/0/destination", "/dev", "mounts[1].destination: /dev is already mounted by mounts[0]"),
    ("mounts/1/options/+", "sise=5", "mounts[1].options: unknown option 'sise=5' of a tmpfs"),
    ("mounts/1/options/+", "suid", "mounts[1].options: suid contradicts nosuid"),
    ("mounts/3/options/+", "noexecc", "mounts[3].options: unknown option 'noexecc' of a bind mount"),
    ("mounts/3/options/+", "private", "mounts[3].options: more than one propagation"),
    ("mounts/3/options", [], "mounts[3].options: neither bind nor rbind"),
    ("mounts/3/source", "../etc", "mounts[3].source: '../etc' is not an absolute path"),
    ("linux/namespaces/+", {"type": "pid"}, "linux.namespaces[4]: 'pid' is already at linux.namespaces[1]"),
    ("linux/namespaces/+", {"type": "mnt"}, "unknown namespace 'mnt'"),
    ("linux/namespaces/3/path", "run/n", "linux.namespaces[3].path: 'run/n' is not an absolute path"),
    ("linux/namespaces/0", {"type": "uts"}, "linux.maskedPaths: needs a mount namespace"),
    ("linux/namespaces/3", {"type": "uts"}, 'linux.sysctl["net.ipv4.ip_forward"]: needs a network namespace'),
    ("linux/sysctl/kernel.panic", "1", "belongs to no namespace"),
    ("linux/sysctl/kernel.shm_next_id", "1", "belongs to no namespace"),
    ("linux/sysctl/Panic", "1", "the name of a setting"),
    ("linux/maskedPaths/+", "proc/keys", "linux.maskedPaths[1]: 'proc/keys' is not an absolute path"),
    ("linux/maskedPaths/+", "/proc/../keys", "is not an absolute path"),
    ("linux/maskedPaths/+", "//proc", "is not an absolute path"),
    ("linux/maskedPaths/+", "/", "covers everything"),
    ("linux/maskedPath", [], "linux.maskedPath: unknown key; did you mean 'maskedPaths'?"),
    ("linux/maskedPaths", None, "linux.maskedPaths: expected an array, got null"),
    ("linux/rootfsPropagation", "public", "unknown propagation"),
    ("linux/mountLabel", "container_file_t", "an SELinux context"),
    ("linux/timeOffsets/monotonic", {"secs": 1}, "linux.timeOffsets: needs a time namespace"),
    (
        "linux/resources/unified/memory.hihg",
        "1",
        "unknown cgroup control file; did you mean 'memory.high'?",
    ),
    ("linux/resources/unified/memory.high", "512M", "'512M' is not a value of memory.high"),
    ("linux/resources/unified/cpu.weight", "0", "'0' is not a value of cpu.weight"),
    ("linux/resources/unified/cpu.weight", 100, "100 is not a value of cpu.weight"),
    ("linux/resources/unified/cpu.max.burst", "max", "'max' is not a value of cpu.max.burst"),
    ("linux/resources/unified/hugetlb.2XB.max", "0", "unknown cgroup control file"),
    ("linux/resources/memory/swap", 4095, "linux.resources.memory.swap: 4095 is below"),
    ("linux/resources/memory/limit", -1, "linux.resources.memory.swap: needs a memory.limit"),
    ("linux/resources/memory/limit", 0, "linux.resources.memory.limit: 0 means unlimited"),
    ("linux/resources/pids/limit", 0, "linux.resources.pids.limit: 0 means unlimited"),
    ("linux/resources/memory/kernel", 5, "linux.resources.memory.kernel: unknown key"),
    ("linux/resources/hugepageLimits/0/pageSize", "64kB", "a page size"),
    ("linux/resources/devices/1/access", "rx", "letters of 'rwm'"),
    ("linux/resources/devices/1/type", "a", "linux.resources.devices[1]: numbers without the type"),
    ("linux/resources/devices/1", {"allow": True}, "linux.resources.devices[1]: access is missing"),
    ("linux/devices/0", {"path": "/dev/x", "type": "c", "major": 1}, "needs a major and a minor"),
    ("linux/seccomp/syscalls/0/action", "SCMP_ACT_ALLW", "unknown seccomp action"),
    ("linux/seccomp/syscalls/0/args/0/op", "SCMP_CMP_EQUAL", "unknown comparison"),
    ("linux/seccomp/syscalls/0/arg", [], "linux.seccomp.syscalls[0].arg: unknown key"),
    ("linux/seccomp/architectures/+", "SCMP_ARCH_AMD64", "unknown architecture"),
    ("hooks/createRuntime/0/path", "true", "hooks.createRuntime[0].path: 'true' is not an absolute path"),
    ("hooks/createdRuntime", [], "hooks.createdRuntime: unknown key"),
]


@pytest.mark.parametrize(("path", "value", "finding"), CASES)
def test_what_is_found(path: str, value: Any, finding: str) -> None:
    findings = check_runtime_spec(with_change(path, value))
    assert any(finding in found for found in findings), findings


def test_a_control_file_cannot_lead_out_of_its_cgroup() -> None:
    for name in ("../memory.max", "memory/max", "memory.max\0", ""):
        assert check_runtime_spec({"linux": {"resources": {"unified": {name: "1"}}}}) != []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=8,
)
PLACES = [
    "process",
    "process/capabilities",
    "process/capabilities/bounding",
    "process/rlimits/0",
    "mounts",
    "mounts/0/options",
    "linux",
    "linux/resources",
    "linux/resources/devices/0",
    "linux/resources/unified",
    "linux/namespaces",
    "linux/sysctl",
    "linux/seccomp/syscalls/0",
]


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(PLACES), JSON)
def test_never_a_traceback(path: str, value: Any) -> None:
    findings = check_runtime_spec(with_change(path, value))
    assert all(": " in finding for finding in findings)
    if not isinstance(value, dict | list):
        assert findings != []


@pytest.mark.parametrize("document", [None, [], "x", 5, True])
def test_not_an_object(document: Any) -> None:
    assert len(check_runtime_spec(document)) == 1


def test_what_stands_in_the_wrong_place_is_said() -> None:
    wrong = {"process": 1.5, "root": None, "mounts": "x", "hooks": [], "linux": True, "annotations": 7}
    assert [line for line in check_runtime_spec(wrong) if "got" in line and "ociVersion" not in line] == [
        "process: expected an object, got the number 1.5",
        "root: expected an object, got null",
        "mounts: expected an array, got the string 'x'",
        "hooks: expected an object, got an array",
        "linux: expected an object, got true",
        "annotations: expected an object, got the number 7",
    ]
