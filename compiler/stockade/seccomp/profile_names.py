"""Calls that profiles in the field name and no architecture of the table has: retired, foreign, or never there.

Taken from the `system-calls` package 7.2: the names that its other architectures have, and those that older releases of
the kernel had. A rule on one of them changes nothing on the architectures that filters are compiled for, and a name
that is in neither table is a mistake.
"""

from __future__ import annotations

ELSEWHERE: frozenset[str] = frozenset(
    (
        "_sysctl afs_syscall arc_gettls arc_settls arc_usr_cmpxchg arm_sync_file_range atomic_barrier "
        "atomic_cmpxchg_32 bdflush bfin_spinlock break cache_sync cachectl clone2 create_module dipc dma_memcpy "
        "exec_with_loader execv fp_udfiex_crtl ftime get_kernel_syms getdomainname getdtablesize gethostname "
        "getpagesize getpmsg getunwind getxgid getxpid getxuid gtty idle kern_features llseek lock madvise1 "
        "memory_ordering mpx multiplexer nfsservctl old_adjtimex old_getpagesize oldumount oldwait4 or1k_atomic "
        "osf_fstat osf_fstatfs osf_fstatfs64 osf_getdirentries osf_getdomainname osf_getitimer osf_getrusage "
        "osf_getsysinfo osf_gettimeofday osf_lstat osf_mount osf_proplist_syscall osf_select "
        "osf_set_program_attributes osf_setitimer osf_setsysinfo osf_settimeofday osf_shmat osf_sigprocmask "
        "osf_sigstack osf_stat osf_statfs osf_statfs64 osf_swapon osf_syscall osf_sysinfo osf_usleep_thread "
        "osf_utimes osf_utsname osf_wait4 perfctr pread prof profil putpmsg pwrite query_module rtas "
        "s390_guarded_storage s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr s390_sthyi "
        "sched_get_affinity sched_set_affinity security sethae setpgrp spu_create spu_run sram_alloc sram_free stty "
        "subpage_prot swapcontext switch_endian sys_debug_setcontext syscall sysmips tas timerfd tuxcall ulimit "
        "uselib utrap_install vserver"
    ).split()
)
