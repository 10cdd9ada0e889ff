"""The kernel that brought a call, as far as known; by tools/syscall_table.py --history, not by hand.

Source: the releases of the `system-calls` package, each with the tables of one kernel:
5.13, 5.15, 5.16, 5.19, 6.4, 6.6, 6.7, 6.11, 6.13, 6.15, 6.17, 6.19, 7.0, 7.2.
A line is a name, the newest of these kernels that lacks it and the oldest that has it. Every other name of the table
is in the oldest, 5.13. So are arm's private calls, which the package lists only of late.
"""

OLDEST = "5.13"
SINCE = """\
cachestat 6.4 6.6
fchmodat2 6.4 6.6
file_getattr 6.15 6.17
file_setattr 6.15 6.17
futex_requeue 6.6 6.7
futex_wait 6.6 6.7
futex_waitv 5.15 5.16
futex_wake 6.6 6.7
getxattrat 6.11 6.13
listmount 6.7 6.11
listns 6.17 6.19
listxattrat 6.11 6.13
lsm_get_self_attr 6.7 6.11
lsm_list_modules 6.7 6.11
lsm_set_self_attr 6.7 6.11
map_shadow_stack 6.4 6.6
memfd_secret 5.13 5.15
mseal 6.7 6.11
open_tree_attr 6.13 6.15
process_mrelease 5.13 5.15
removexattrat 6.11 6.13
riscv_hwprobe 5.19 6.4
rseq_slice_yield 6.19 7.0
set_mempolicy_home_node 5.16 5.19
setxattrat 6.11 6.13
statmount 6.7 6.11
uprobe 6.17 6.19
uretprobe 6.7 6.11
"""
