"""Which permissions of which classes carry data, and which way: the meaning behind questions on information flow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

FILES: Final = frozenset({"file", "lnk_file", "chr_file", "blk_file", "fifo_file", "sock_file", "dir", "anon_inode"})
"""What a file system keeps under a label. `sock_file` and `dir` carry names only, so that nothing is read from a
`sock_file`, and a directory gives what was put into it as names."""

OF_PROCESSES: Final = frozenset({"file", "lnk_file", "dir", "fifo_file", "anon_inode"})
"""What there is under the label of a process: its files in /proc, its pipes, its nameless files."""

STORED: Final = frozenset({"file", "lnk_file", "chr_file", "blk_file", "fifo_file"})
"""The classes whose contents a question about files means."""

_SOCKETS = (
    "socket tcp_socket udp_socket rawip_socket netlink_socket packet_socket key_socket unix_stream_socket "
    "unix_dgram_socket sctp_socket icmp_socket vsock_socket xdp_socket alg_socket bluetooth_socket can_socket "
    "tun_socket tipc_socket rds_socket kcm_socket qipcrtr_socket smc_socket netlink_route_socket "
    "netlink_kobject_uevent_socket netlink_generic_socket netlink_audit_socket netlink_selinux_socket "
    "netlink_xfrm_socket netlink_tcpdiag_socket netlink_netfilter_socket netlink_connector_socket"
).split()

READ: Final[Mapping[str, frozenset[str]]] = {
    "file": frozenset({"read", "execute"}),
    "lnk_file": frozenset({"read"}),
    "chr_file": frozenset({"read"}),
    "blk_file": frozenset({"read"}),
    "fifo_file": frozenset({"read"}),
    "anon_inode": frozenset({"read"}),
    "dir": frozenset({"read"}),
    "shm": frozenset({"read"}),
    "msgq": frozenset({"read"}),
    "sem": frozenset({"read"}),
    "key": frozenset({"read"}),
    "bpf": frozenset({"map_read"}),
    **dict.fromkeys(_SOCKETS, frozenset({"read"})),
}
"""Class -> permissions, any one of which lets a process take data out of such an object."""

WRITE: Final[Mapping[str, frozenset[str]]] = {
    "file": frozenset({"write", "append"}),
    "lnk_file": frozenset({"create"}),
    "chr_file": frozenset({"write", "append"}),
    "blk_file": frozenset({"write", "append"}),
    "fifo_file": frozenset({"write", "append"}),
    "anon_inode": frozenset({"write"}),
    "dir": frozenset({"add_name"}),
    "shm": frozenset({"write"}),
    "msgq": frozenset({"write"}),
    "sem": frozenset({"write"}),
    "key": frozenset({"write"}),
    "bpf": frozenset({"map_write"}),
    **dict.fromkeys(_SOCKETS, frozenset({"write"})),
}
"""Class -> permissions, any one of which lets a process put data into such an object."""

MADE: Final[Mapping[str, str]] = {
    **dict.fromkeys(("shm", "msgq", "sem", "key", *_SOCKETS), "create"),
    "bpf": "map_create",
}
"""Class -> the permission to make one. These objects have the label of a process; one of a file's label never exists
unless somebody may make it so, by `LABELLED`."""

HANDED: Final = frozenset({"anon_inode", *_SOCKETS})
"""Classes without names: another process has one only when its descriptor is handed over, or kept through exec."""

LABELLED: Final[Mapping[str, str]] = {**dict.fromkeys(_SOCKETS, "setsockcreate"), "key": "setkeycreate"}
"""Class -> what a process needs on itself to give new objects of the class another label than its own."""

TALK: Final[Mapping[str, tuple[str, bool]]] = {
    "unix_stream_socket": ("connectto", True),
    "unix_dgram_socket": ("sendto", False),
}
"""Class -> the permission that joins one's socket to another's, and whether data goes both ways then."""

DIRECT: Final[Mapping[tuple[str, str], bool]] = {
    ("process", "ptrace"): True,
    ("binder", "call"): True,
    ("binder", "transfer"): False,
    ("dbus", "send_msg"): False,
}
"""(class, permission) on another process -> does data go both ways (else to the other)?"""
