"""The kernel's and the OCI specification's own names: what a policy may mention, beside SELinux classes and calls.

Sources: capabilities(7), namespaces(7), getrlimit(2), address_families(7), the kernel's cgroup v2 manual, and the OCI
runtime specification with the paths that Docker and containerd mask by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

CAPABILITIES: Mapping[str, int] = {
    name: number
    for number, name in enumerate(
        (
            "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
            "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT "
            "SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE "
            "AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ "
            "PERFMON BPF CHECKPOINT_RESTORE"
        ).split()
    )
}
"""Capability names without `CAP_`, with the kernel's number."""

CAPABILITY_SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")

NAMESPACES = ("mount", "pid", "network", "ipc", "uts", "cgroup", "user", "time")
"""Kinds of namespace, in the OCI specification's spelling."""

RLIMITS = ("as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack").split()
"""Resource limits without `RLIMIT_`, lower case."""

INTERNET = frozenset(["tcp_socket", "udp_socket", "rawip_socket", "icmp_socket", "sctp_socket", "dccp_socket"])

FAMILIES: Mapping[str, tuple[int, frozenset[str]]] = {
    "unix": (1, frozenset(["unix_stream_socket", "unix_dgram_socket"])),
    "inet": (2, INTERNET | {"smc_socket"}),
    "ax25": (3, frozenset(["ax25_socket"])),
    "ipx": (4, frozenset(["ipx_socket"])),
    "appletalk": (5, frozenset(["appletalk_socket"])),
    "netrom": (6, frozenset(["netrom_socket"])),
    "atmpvc": (8, frozenset(["atmpvc_socket"])),
    "x25": (9, frozenset(["x25_socket"])),
    "inet6": (10, INTERNET | {"smc_socket"}),
    "rose": (11, frozenset(["rose_socket"])),
    "decnet": (12, frozenset(["decnet_socket"])),
    "key": (15, frozenset(["key_socket"])),
    "netlink": (
        16,
        frozenset(
            (
                "netlink_socket netlink_route_socket netlink_tcpdiag_socket netlink_nflog_socket netlink_xfrm_socket "
                "netlink_selinux_socket netlink_iscsi_socket netlink_audit_socket netlink_fib_lookup_socket "
                "netlink_connector_socket netlink_netfilter_socket netlink_dnrt_socket netlink_kobject_uevent_socket "
                "netlink_generic_socket netlink_scsitransport_socket netlink_rdma_socket netlink_crypto_socket"
            ).split()
        ),
    ),
    "packet": (17, frozenset(["packet_socket"])),
    "atmsvc": (20, frozenset(["atmsvc_socket"])),
    "rds": (21, frozenset(["rds_socket"])),
    "irda": (23, frozenset(["irda_socket"])),
    "pppox": (24, frozenset(["pppox_socket"])),
    "llc": (26, frozenset(["llc_socket"])),
    "can": (29, frozenset(["can_socket"])),
    "tipc": (30, frozenset(["tipc_socket"])),
    "bluetooth": (31, frozenset(["bluetooth_socket"])),
    "iucv": (32, frozenset(["iucv_socket"])),
    "rxrpc": (33, frozenset(["rxrpc_socket"])),
    "isdn": (34, frozenset(["isdn_socket"])),
    "phonet": (35, frozenset(["phonet_socket"])),
    "ieee802154": (36, frozenset(["ieee802154_socket"])),
    "caif": (37, frozenset(["caif_socket"])),
    "alg": (38, frozenset(["alg_socket"])),
    "nfc": (39, frozenset(["nfc_socket"])),
    "vsock": (40, frozenset(["vsock_socket"])),
    "kcm": (41, frozenset(["kcm_socket"])),
    "qipcrtr": (42, frozenset(["qipcrtr_socket"])),
    "smc": (43, frozenset(["smc_socket"])),
    "xdp": (44, frozenset(["xdp_socket"])),
    "mctp": (45, frozenset(["mctp_socket"])),
}
"""Address families: the number of `AF_*`, and the SELinux classes its sockets get (policy capability
`extended_socket_class`; an `AF_INET` socket of protocol SMC is an `smc_socket`)."""


class CgroupKind(StrEnum):
    """What a cgroup v2 file holds, which decides how its value is written and which of two values is tighter."""

    BYTES = "bytes"  # a ceiling in bytes, or max
    FLOOR = "floor"  # a protected amount in bytes, or max
    COUNT = "count"  # a ceiling in units, or max
    QUOTA = "quota"  # microseconds of CPU time per period in microseconds, or max
    WEIGHT = "weight"  # 1 to 10000, relative to siblings
    SWITCH = "switch"  # 0 or 1
    LIST = "list"  # CPU or node numbers as in 0-3,7


CGROUP_FILES: Mapping[str, CgroupKind] = {
    "cpu.idle": CgroupKind.SWITCH,
    "cpu.max": CgroupKind.QUOTA,
    "cpu.max.burst": CgroupKind.COUNT,
    "cpu.weight": CgroupKind.WEIGHT,
    "cpuset.cpus": CgroupKind.LIST,
    "cpuset.mems": CgroupKind.LIST,
    "hugetlb.1GB.max": CgroupKind.BYTES,
    "hugetlb.2MB.max": CgroupKind.BYTES,
    "io.weight": CgroupKind.WEIGHT,
    "memory.high": CgroupKind.BYTES,
    "memory.low": CgroupKind.FLOOR,
    "memory.max": CgroupKind.BYTES,
    "memory.min": CgroupKind.FLOOR,
    "memory.oom.group": CgroupKind.SWITCH,
    "memory.swap.high": CgroupKind.BYTES,
    "memory.swap.max": CgroupKind.BYTES,
    "pids.max": CgroupKind.COUNT,
}
"""The cgroup v2 control files that a container type may set."""

STANDARD_DEVICES: Mapping[str, tuple[str, int, int]] = {
    "/dev/full": ("c", 1, 7),
    "/dev/null": ("c", 1, 3),
    "/dev/random": ("c", 1, 8),
    "/dev/tty": ("c", 5, 0),
    "/dev/urandom": ("c", 1, 9),
    "/dev/zero": ("c", 1, 5),
}
"""The devices the OCI specification gives every container: path -> (type, major, minor)."""

KERNEL_INTERFACES = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
"""Paths that tell a container about the kernel beneath it; masked by name as `@kernel-interfaces`."""

KERNEL_SETTINGS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
"""Paths through which the kernel is configured; read-only by name as `@kernel-settings`."""

SYSCTL_PREFIXES = ("fs.mqueue.", "kernel.msg", "kernel.sem", "kernel.shm", "net.")
"""Settings that belong to a namespace of the container's own; any other would change the host."""

FILE_SYSTEMS = frozenset(
    (
        "9p adfs affs afs aio anon_inodefs apparmorfs autofs bcachefs bdev befs bfs binder binfmt_misc bpf "
        "btrfs ceph cgroup cgroup2 cifs coda configfs cpuset cramfs cxl dax debugfs devmem devpts devtmpfs "
        "dlmfs dma_buf drm ecryptfs efivarfs efs erofs eventpollfs exfat ext2 ext3 ext4 f2fs functionfs fuse "
        "fuseblk fusectl gadgetfs gfs2 gfs2meta hfs hfsplus hostfs hpfs hugetlbfs hypfs iomem iso9660 jffs2 "
        "jfs kvmfs lustre minix mqueue msdos nfs nfs4 nfsd nilfs2 nsfs ntfs ntfs3 ocfs2 omfs openpromfs "
        "orangefs overlay pidfs pipefs proc pstore pvfs2 qnx4 qnx6 ramfs reiserfs resctrl romfs rootfs "
        "rpc_pipefs s390_hypfs secretmem securityfs selinuxfs shm smackfs smb3 sockfs spufs squashfs sysfs "
        "sysv tmpfs tracefs ubifs udf ufs usbfs v7 vboxsf vfat virtiofs vxfs xenfs xfs zfs zonefs"
    ).split()
)
"""File system types as in /proc/filesystems: those of Linux, old and new, and two that are commonly built beside it."""
