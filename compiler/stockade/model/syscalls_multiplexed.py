"""Calls of old ABIs that take their real arguments in memory, where a filter cannot see them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# `send` and `recv` are carried too: they are `sendto` and `recvfrom` with nothing said of an address.
_SOCKETS = """\
socket bind connect listen accept getsockname getpeername socketpair sendto recvfrom shutdown setsockopt getsockopt \
sendmsg recvmsg accept4 recvmmsg sendmmsg"""
_IPC = "semop semget semctl semtimedop msgsnd msgrcv msgget msgctl shmat shmdt shmget shmctl"

CARRIES: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "i386": MappingProxyType(
            {
                "socketcall": tuple(_SOCKETS.split()),
                "ipc": tuple(_IPC.split()),
                "mmap": ("mmap", "mmap2"),
                "select": ("select", "_newselect"),
            }
        )
    }
)
"""Architecture to call to the calls that can be made through it. The others here pass arguments in registers."""
