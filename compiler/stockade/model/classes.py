"""SELinux object classes and their permissions, as the Linux kernel and its userspace object managers name them.

Source: the class map of Linux 6.1, and dbus and systemd for the classes `dbus` and `service`. The kernel maps
classes and permissions by name when a policy is loaded, so order carries no meaning here; it is kept sorted.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_FILE = (
    "append audit_access create execmod execute getattr ioctl link lock map mounton open quotaon read "
    "relabelfrom relabelto rename setattr unlink watch watch_mount watch_reads watch_sb watch_with_perm "
    "write"
)
_SOCKET = (
    "accept append bind connect create getattr getopt ioctl listen lock map name_bind read recvfrom "
    "relabelfrom relabelto sendto setattr setopt shutdown write"
)
_IPC = "associate create destroy getattr read setattr unix_read unix_write write"
_CAPABILITY = (
    "audit_control audit_write chown dac_override dac_read_search fowner fsetid ipc_lock ipc_owner kill "
    "lease linux_immutable mknod net_admin net_bind_service net_broadcast net_raw setfcap setgid setpcap "
    "setuid sys_admin sys_boot sys_chroot sys_module sys_nice sys_pacct sys_ptrace sys_rawio sys_resource "
    "sys_time sys_tty_config"
)
_CAPABILITY2 = "audit_read block_suspend bpf checkpoint_restore mac_admin mac_override perfmon syslog wake_alarm"
_TABLE = {
    "alg_socket": _SOCKET,
    "anon_inode": _FILE,
    "appletalk_socket": _SOCKET,
    "association": "polmatch recvfrom sendto setcontext",
    "atmpvc_socket": _SOCKET,
    "atmsvc_socket": _SOCKET,
    "ax25_socket": _SOCKET,
    "binder": "call impersonate set_context_mgr transfer",
    "blk_file": _FILE,
    "bluetooth_socket": _SOCKET,
    "bpf": "map_create map_read map_write prog_load prog_run",
    "caif_socket": _SOCKET,
    "can_socket": _SOCKET,
    "cap2_userns": _CAPABILITY2,
    "cap_userns": _CAPABILITY,
    "capability": _CAPABILITY,
    "capability2": _CAPABILITY2,
    "chr_file": _FILE,
    "dbus": "acquire_svc send_msg",
    "dccp_socket": _SOCKET + " name_connect node_bind",
    "decnet_socket": _SOCKET,
    "dir": _FILE + " add_name remove_name reparent rmdir search",
    "fd": "use",
    "fifo_file": _FILE,
    "file": _FILE + " entrypoint execute_no_trans",
    "filesystem": "associate getattr mount quotaget quotamod relabelfrom relabelto remount unmount watch",
    "icmp_socket": _SOCKET + " node_bind",
    "ieee802154_socket": _SOCKET,
    "infiniband_endport": "manage_subnet",
    "infiniband_pkey": "access",
    "io_uring": "cmd override_creds sqpoll",
    "ipc": _IPC,
    "ipx_socket": _SOCKET,
    "irda_socket": _SOCKET,
    "isdn_socket": _SOCKET,
    "iucv_socket": _SOCKET,
    "kcm_socket": _SOCKET,
    "kernel_service": "create_files_as use_as_override",
    "key": "create link read search setattr view write",
    "key_socket": _SOCKET,
    "llc_socket": _SOCKET,
    "lnk_file": _FILE,
    "lockdown": "confidentiality integrity",
    "mctp_socket": _SOCKET,
    "memprotect": "mmap_zero",
    "msg": _IPC + " receive send",
    "msgq": _IPC + " enqueue",
    "netif": "egress ingress",
    "netlink_audit_socket": _SOCKET + " nlmsg_read nlmsg_readpriv nlmsg_relay nlmsg_tty_audit nlmsg_write",
    "netlink_connector_socket": _SOCKET,
    "netlink_crypto_socket": _SOCKET,
    "netlink_dnrt_socket": _SOCKET,
    "netlink_fib_lookup_socket": _SOCKET,
    "netlink_generic_socket": _SOCKET,
    "netlink_iscsi_socket": _SOCKET,
    "netlink_kobject_uevent_socket": _SOCKET,
    "netlink_netfilter_socket": _SOCKET,
    "netlink_nflog_socket": _SOCKET,
    "netlink_rdma_socket": _SOCKET,
    "netlink_route_socket": _SOCKET + " nlmsg_read nlmsg_write",
    "netlink_scsitransport_socket": _SOCKET,
    "netlink_selinux_socket": _SOCKET,
    "netlink_socket": _SOCKET,
    "netlink_tcpdiag_socket": _SOCKET + " nlmsg_read nlmsg_write",
    "netlink_xfrm_socket": _SOCKET + " nlmsg_read nlmsg_write",
    "netrom_socket": _SOCKET,
    "nfc_socket": _SOCKET,
    "node": "recvfrom sendto",
    "packet": "forward_in forward_out recv relabelfrom relabelto send",
    "packet_socket": _SOCKET,
    "peer": "recv",
    "perf_event": "cpu kernel open read tracepoint write",
    "phonet_socket": _SOCKET,
    "pppox_socket": _SOCKET,
    "process": (
        "dyntransition execheap execmem execstack fork getattr getcap getpgid getrlimit getsched getsession "
        "noatsecure ptrace rlimitinh setcap setcurrent setexec setfscreate setkeycreate setpgid setrlimit "
        "setsched setsockcreate share sigchld siginh sigkill signal signull sigstop transition"
    ),
    "process2": "nnp_transition nosuid_transition",
    "qipcrtr_socket": _SOCKET,
    "rawip_socket": _SOCKET + " node_bind",
    "rds_socket": _SOCKET,
    "rose_socket": _SOCKET,
    "rxrpc_socket": _SOCKET,
    "sctp_socket": _SOCKET + " association name_connect node_bind",
    "security": (
        "check_context compute_av compute_create compute_member compute_relabel compute_user load_policy "
        "read_policy setbool setcheckreqprot setenforce setsecparam validate_trans"
    ),
    "sem": _IPC,
    "service": "disable enable reload start status stop",
    "shm": _IPC + " lock",
    "smc_socket": _SOCKET,
    "sock_file": _FILE,
    "socket": _SOCKET,
    "system": (
        "disable enable halt ipc_info module_load module_request reboot reload start status stop "
        "syslog_console syslog_mod syslog_read"
    ),
    "tcp_socket": _SOCKET + " name_connect node_bind",
    "tipc_socket": _SOCKET,
    "tun_socket": _SOCKET + " attach_queue",
    "udp_socket": _SOCKET + " node_bind",
    "unix_dgram_socket": _SOCKET,
    "unix_stream_socket": _SOCKET + " connectto",
    "user_namespace": "create",
    "vsock_socket": _SOCKET,
    "x25_socket": _SOCKET,
    "xdp_socket": _SOCKET,
}

CLASSES: Mapping[str, frozenset[str]] = MappingProxyType({name: frozenset(row.split()) for name, row in _TABLE.items()})
"""Every object class with its permissions."""

FILES = frozenset(["anon_inode", "blk_file", "chr_file", "dir", "fifo_file", "file", "lnk_file", "sock_file"])
"""The classes that stand for an inode."""

SOCKETS = frozenset(name for name in CLASSES if name == "socket" or name.endswith("_socket"))
"""The classes that stand for a socket."""

INITIAL_SIDS = (
    "kernel security unlabeled fs file file_labels init any_socket port netif netmsg node igmp_packet icmp_socket "
    "tcp_socket sysctl_modprobe sysctl sysctl_fs sysctl_kernel sysctl_net sysctl_net_unix sysctl_vm sysctl_dev kmod "
    "policy scmp_packet devnull"
).split()
"""The kernel's initial security identifiers in the order of their numbers, from 1; the kernel still counts those that
it no longer uses."""
