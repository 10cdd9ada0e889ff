"""What a system call's arguments are called, how wide the kernel reads them, and the symbols their values have."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from stockade.model.syscalls_constants import FAMILIES

# Arguments in the kernel's order as `name[:width][=family]`; the width is 64 where it is not said, and `_` skips one.
# A width of 32 is claimed only where the kernel truncates to an int (or reads the low half alone, as clone does).
# `mode_t` arguments are missing on purpose: the kernel keeps 16 bits of them, a width no filter here compares.
_SIGNATURES = """\
access path mode:32=ACCESS
arch_prctl option:32=ARCH addr
bpf cmd:32=BPF attr size:32
clock_adjtime clockid:32=CLOCK
clock_getres clockid:32=CLOCK
clock_gettime clockid:32=CLOCK
clock_nanosleep clockid:32=CLOCK flags:32
clock_settime clockid:32=CLOCK
clone flags:32=CLONE
close_range first:32 last:32 flags:32=CLOSE_RANGE
delete_module name flags:32=O
dup3 oldfd:32 newfd:32 flags:32=O
epoll_create1 flags:32=O
eventfd2 initval:32 flags:32
execveat dirfd:32 path argv envp flags:32=AT
faccessat dirfd:32 path mode:32=ACCESS
faccessat2 dirfd:32 path mode:32=ACCESS flags:32=AT
fallocate fd:32 mode:32
fanotify_init flags:32 event_f_flags:32
fchmodat2 dirfd:32 path _ flags:32=AT
fchownat dirfd:32 path uid:32 gid:32 flags:32=AT
fcntl fd:32 cmd:32=F arg
finit_module fd:32 args flags:32=MODULE_INIT
flock fd:32 operation:32
fsconfig fd:32 cmd:32=FSCONFIG key value aux:32
fsmount fd:32 flags:32 attr_flags:32
fsopen fsname flags:32
futex uaddr op:32=FUTEX val:32
getpriority which:32 who:32
getrandom buf buflen flags:32=GRND
getrlimit resource:32=RLIMIT
getsockopt fd:32 level:32=SOL optname:32
inotify_init1 flags:32=O
io_uring_enter fd:32 to_submit:32 min_complete:32 flags:32
io_uring_register fd:32 opcode:32
io_uring_setup entries:32
ioctl fd:32 cmd:32=IOCTL arg
ioperm from num turn_on:32
iopl level:32
ioprio_set which:32 who:32 ioprio:32
kcmp pid1:32 pid2:32 type:32=KCMP idx1 idx2
kexec_file_load kernel_fd:32 initrd_fd:32 cmdline_len cmdline flags
kexec_load entry nr_segments segments flags
keyctl option:32=KEYCTL
kill pid:32 sig:32=SIG
landlock_create_ruleset attr size flags:32
landlock_restrict_self ruleset_fd:32 flags:32
linkat olddirfd:32 oldpath newdirfd:32 newpath flags:32=AT
lseek fd:32 offset whence:32
madvise addr length advice:32=MADV
mbind addr length mode=MPOL
membarrier cmd:32 flags:32 cpu_id:32
memfd_create name flags:32=MFD
memfd_secret flags:32
mlock2 addr length flags:32
mlockall flags:32=MCL
mmap addr length prot=PROT flags=MAP fd:32 offset
modify_ldt func:32
mount source target type flags=MS data
mount_setattr dirfd:32 path flags:32=AT
move_mount from_dirfd:32 from_path to_dirfd:32 to_path flags:32
mprotect addr length prot=PROT
mremap old_addr old_length new_length flags=MREMAP new_addr
msgget key:32 flags:32=IPC
name_to_handle_at dirfd:32 path handle mount_id flags:32=AT
newfstatat dirfd:32 path statbuf flags:32=AT
open path flags:32=O
open_by_handle_at mount_fd:32 handle flags:32=O
open_tree dirfd:32 path flags:32=AT
openat dirfd:32 path flags:32=O
perf_event_open attr pid:32 cpu:32 group_fd:32 flags
personality persona:32=PER
pidfd_getfd pidfd:32 targetfd:32 flags:32
pidfd_open pid:32 flags:32
pidfd_send_signal pidfd:32 sig:32=SIG info flags:32
pipe2 pipefd flags:32=O
pkey_mprotect addr length prot=PROT pkey:32
prctl option:32=PR arg2 arg3 arg4 arg5
preadv2 fd:32 iov iovlen pos_low pos_high flags:32
prlimit64 pid:32 resource:32=RLIMIT new_limit old_limit
process_madvise pidfd:32 vec vlen advice:32=MADV flags:32
ptrace request=PTRACE pid addr data
quotactl cmd:32 special id:32 addr
quotactl_fd fd:32 cmd:32 id:32 addr
reboot magic:32 magic2:32 cmd:32=REBOOT arg
recvfrom fd:32 buf length flags:32=MSG
recvmsg fd:32 msg flags:32=MSG
renameat2 olddirfd:32 oldpath newdirfd:32 newpath flags:32=RENAME
rt_sigqueueinfo pid:32 sig:32=SIG
sched_setscheduler pid:32 policy:32=SCHED
seccomp op:32=SECCOMP flags:32=SECCOMP_FILTER args
semget key:32 nsems:32 flags:32=IPC
sendmsg fd:32 msg flags:32=MSG
sendto fd:32 buf length flags:32=MSG
set_mempolicy mode:32=MPOL
setns fd:32 nstype:32=CLONE
setpriority which:32 who:32 prio:32
setrlimit resource:32=RLIMIT
setsockopt fd:32 level:32=SOL optname:32
shmat shmid:32 addr flags:32
shmget key:32 size flags:32=IPC
signalfd4 fd:32 mask sizemask flags:32=O
socket family:32=AF type:32=SOCK protocol:32
socketpair family:32=AF type:32=SOCK protocol:32 usockvec
statx dirfd:32 path flags:32=AT mask:32
swapon path flags:32
syslog type:32 buf length:32
tgkill tgid:32 tid:32 sig:32=SIG
timerfd_create clockid:32=CLOCK flags:32=O
tkill tid:32 sig:32=SIG
umount2 target flags:32=UMOUNT
unlinkat dirfd:32 path flags:32=AT
unshare flags=CLONE
userfaultfd flags:32
"""


@cache
def _signatures() -> Mapping[str, Mapping[str, tuple[int, int, str]]]:
    table = {}
    for line in _SIGNATURES.splitlines():
        call, *arguments = line.split(" ")
        named = {}
        for index, text in enumerate(arguments):
            head, _, family = text.partition("=")
            name, _, width = head.partition(":")
            if name != "_":
                named[name] = (index, int(width or 64), family)
        table[call] = MappingProxyType(named)
    return MappingProxyType(table)


def arguments_of(call: str) -> tuple[str, ...]:
    """The argument names that `call` has beside `arg0` to `arg5`; empty where none is known."""
    return tuple(_signatures().get(call, ()))


def argument(call: str, name: str) -> tuple[int, int]:
    """(index, width) of an argument; `arg0` to `arg5` work for every call, at 64 bits. KeyError for another name.

    The order is that of x86_64 and aarch64, which agree on every argument named here (s390x swaps those of clone).
    """
    found = _signatures().get(call, {}).get(name)
    if found is not None:
        return found[0], found[1]
    if len(name) == 4 and name.startswith("arg") and name[3] in "012345":
        return int(name[3]), 64
    raise KeyError(name)


def constants_of(call: str, name: str) -> Mapping[str, int]:
    """Symbol to value for an argument of a call; empty where it has no symbols. KeyError for an unknown argument."""
    argument(call, name)
    family = _signatures().get(call, {}).get(name, (0, 0, ""))[2]
    return FAMILIES[family] if family else MappingProxyType({})


def constant(call: str, name: str, symbol: str) -> int:
    """The value of `symbol` for an argument, spelled short (`NEWUSER`) or as in C (`CLONE_NEWUSER`).

    KeyError where it is unknown; `constants_of` has the candidates for a suggestion.
    """
    known = constants_of(call, name)
    family = _signatures().get(call, {}).get(name, (0, 0, ""))[2]
    if symbol in known:
        return known[symbol]
    short = symbol.removeprefix(family).removeprefix("_")
    if family and symbol.startswith(family) and short in known:
        return known[short]
    raise KeyError(symbol)


_SPELLED = {"SIG": "SIG{}", "IOCTL": "{}", "ACCESS": "{}", "REBOOT": "{}"}


def symbol_of(call: str, name: str, value: int) -> str | None:
    """The C spelling of an argument's value, `AF_ALG` or `CLONE_NEWNS|CLONE_NEWUSER`; None where there is none.

    `constant` reads each part back. KeyError for an unknown argument.
    """
    known = constants_of(call, name)
    if not known:
        return None
    family = _signatures()[call][name][2]
    spell = _SPELLED.get(family, f"{family}_{{}}").format
    by_value, flags = _by_value(family)
    if value in by_value:
        return spell(by_value[value])
    bits = [1 << place for place in range(value.bit_length()) if value >> place & 1]
    if flags and all(bit in by_value for bit in bits):
        return "|".join(spell(by_value[bit]) for bit in bits)
    return None


@cache
def _by_value(family: str) -> tuple[Mapping[int, str], bool]:
    """The first symbol of each value, and whether they are flags: two thirds of them are single bits."""
    first: dict[int, str] = {}
    for symbol, value in FAMILIES[family].items():
        first.setdefault(value, symbol)
    return first, 3 * sum(value.bit_count() == 1 for value in first) >= 2 * len(first)
