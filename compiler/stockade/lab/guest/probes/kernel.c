/* Probes of ways into the kernel. */
#include "probe.h"
#include <linux/audit.h>
#include <linux/bpf.h>
#include <linux/fanotify.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>

static void load_kernel_module(void) {
    static char nothing[4096] = "no module";
    TRIES("init_module", syscall(SYS_init_module, nothing, sizeof nothing, ""));
    int file = open("/probe", O_RDONLY | O_CLOEXEC);
    TRIES("finit_module", file < 0 ? -1 : syscall(SYS_finit_module, file, "", 0));
}

static void unload_kernel_module(void) {
    TRIES("delete_module", syscall(SYS_delete_module, "stockade_has_none", O_NONBLOCK));
}

static void load_ebpf_program(void) {
    struct bpf_insn code[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K}, {.code = BPF_JMP | BPF_EXIT}};
    union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER};
    attr.insns = (uintptr_t)code;
    attr.insn_cnt = 2;
    attr.license = (uintptr_t) "GPL";
    TRIES("bpf", syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr));
}

static void make_ebpf_map(void) {
    union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY};
    attr.key_size = 4;
    attr.value_size = 4;
    attr.max_entries = 1;
    TRIES("bpf", syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr));
}

static void open_performance_counters(void) {
    struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE, .size = sizeof attr, .config = PERF_COUNT_SW_CPU_CLOCK};
    TRIES("perf_event_open", syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0));
}

static void start_another_kernel(void) {
    TRIES("kexec_load", syscall(SYS_kexec_load, 0, 0, 0, 0xffff0000UL));
    TRIES("kexec_file_load", syscall(SYS_kexec_file_load, -1, -1, 0, "", 0));
}

static void use_machine_ports(void) {
    TRIES("iopl", syscall(SYS_iopl, 3));
    TRIES("ioperm", syscall(SYS_ioperm, 0x80, 1, 1));
}

static void read_kernel_log(void) {
    static char log[4096];
    TRIES("syslog", syscall(SYS_syslog, 3, log, sizeof log));
}

static void clear_kernel_log(void) { TRIES("syslog", syscall(SYS_syslog, 5, 0, 0)); }
static void press_sysrq(void) { opens("open", "/proc/sysrq-trigger", O_WRONLY); }
static void set_core_pattern(void) { opens("open", "/proc/sys/kernel/core_pattern", O_WRONLY); }
static void set_module_loader(void) { opens("open", "/proc/sys/kernel/modprobe", O_WRONLY); }
static void weaken_address_randomization(void) { opens("open", "/proc/sys/kernel/randomize_va_space", O_WRONLY); }

static void read_kernel_addresses(void) {
    at("open");
    FILE *file = fopen("/proc/kallsyms", "re");
    if (!file) {
        did("open", -1);
        return;
    }
    char line[256];
    at("read");
    while (fgets(line, sizeof line, file))
        if (strtoull(line, 0, 16) != 0) {
            ended("read", 0);
            return;
        }
    ended("read", EPERM);
}

/* A mask is an empty file in the place of another, so something must be read. */
static void reads(const char *path) {
    char byte;
    at("open");
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        did("open", -1);
        return;
    }
    at("read");
    ssize_t got = read(file, &byte, 1);
    ended("read", got < 0 ? errno : got == 0 ? ENODATA : 0);
}

static void read_kernel_core(void) { reads("/proc/kcore"); }
static void read_kernel_timers(void) { reads("/proc/timer_list"); }

static void read_the_hosts_keys(void) {
    at("open");
    FILE *file = fopen("/proc/keys", "re");
    if (!file) {
        did("open", -1);
        return;
    }
    char line[512];
    int found = EPERM;
    at("read");
    while (fgets(line, sizeof line, file))
        if (strstr(line, "stockade-host")) found = 0;
    ended("read", found);
}

static void handle_page_faults(void) { TRIES("userfaultfd", syscall(SYS_userfaultfd, O_CLOEXEC)); }

static void use_io_uring(void) {
    struct io_uring_params params = {0};
    TRIES("io_uring_setup", syscall(SYS_io_uring_setup, 1, &params));
}

static void store_kernel_keys(void) { TRIES("add_key", syscall(SYS_add_key, "user", "tried", "x", 1, -2)); }
static void command_key_rings(void) { TRIES("keyctl", syscall(SYS_keyctl, 6, -3, 0, 0)); }

static void hold_up_every_open(void) {
    TRIES("fanotify_init", syscall(SYS_fanotify_init, FAN_CLASS_CONTENT | FAN_CLOEXEC, O_RDONLY));
}

static void map_the_null_page(void) {
    at("mmap");
    void *got = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    did("mmap", got == MAP_FAILED ? -1 : 0);
}

static void account_for_every_process(void) { TRIES("acct", syscall(SYS_acct, 0)); }

static void change_the_hosts_swap(void) {
    TRIES("swapon", syscall(SYS_swapon, "/stockade-has-none", 0));
    TRIES("swapoff", syscall(SYS_swapoff, "/stockade-has-none"));
}

static void change_segment_descriptors(void) {
    static char table[256];
    at("modify_ldt");
    /* The call gives an int even where it fails. */
    long got = (int)syscall(SYS_modify_ldt, 0, table, sizeof table);
    if (got < 0 && errno == 0) errno = (int)-got;
    did("modify_ldt", got);
}

static void call_by_x32_numbers(void) { TRIES("getpid", syscall(SYS_getpid | 0x40000000)); }
static void trace_a_child(void) { TRIES("ptrace", ptrace(PTRACE_TRACEME, 0, 0, 0)); }

static void set_the_clock(void) {
    struct timespec now;
    struct timeval today;
    clock_gettime(CLOCK_REALTIME, &now);
    TRIES("clock_settime", syscall(SYS_clock_settime, CLOCK_REALTIME, &now));
    gettimeofday(&today, 0);
    TRIES("settimeofday", syscall(SYS_settimeofday, &today, 0));
    struct timex same = {.modes = ADJ_MAXERROR, .maxerror = 16000000};
    TRIES("adjtimex", syscall(SYS_adjtimex, &same));
    TRIES("clock_adjtime", syscall(SYS_clock_adjtime, CLOCK_REALTIME, &same));
}

static void restart_the_host(void) { TRIES("reboot", syscall(SYS_reboot, 0x5a5a5a5a, 0, 0, 0)); }

static void wake_the_machine(void) { TRIES("timerfd_create", syscall(SYS_timerfd_create, CLOCK_REALTIME_ALARM, 0)); }
static void hang_up_the_terminal(void) { TRIES("vhangup", syscall(SYS_vhangup)); }

static void run_before_everyone(void) { TRIES("setpriority", syscall(SYS_setpriority, PRIO_PROCESS, 0, -20)); }

static void take_the_disks_time(void) { TRIES("ioprio_set", syscall(SYS_ioprio_set, 1, 0, 1 << 13)); }

static void raise_own_ceilings(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_max++;
    TRIES("setrlimit", syscall(SYS_setrlimit, RLIMIT_NOFILE, &files));
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_max++;
    TRIES("prlimit64", syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &files, 0));
}

static void escape_the_memory_killer(void) {
    at("open");
    int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (file < 0)
        did("open", -1);
    else
        TRIES("write", write(file, "-1000", 5));
}

static void change_personality(void) { TRIES("personality", syscall(SYS_personality, 0x0400000)); }

static void execute_written_memory(void) {
    at("mmap");
    void *got = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    did("mmap", got == MAP_FAILED ? -1 : 0);
}

const struct probe KERNEL[] = {
    {"load-kernel-module", load_kernel_module},
    {"unload-kernel-module", unload_kernel_module},
    {"load-ebpf-program", load_ebpf_program},
    {"make-ebpf-map", make_ebpf_map},
    {"open-performance-counters", open_performance_counters},
    {"start-another-kernel", start_another_kernel},
    {"use-machine-ports", use_machine_ports},
    {"read-kernel-log", read_kernel_log},
    {"clear-kernel-log", clear_kernel_log},
    {"press-sysrq", press_sysrq},
    {"set-core-pattern", set_core_pattern},
    {"set-module-loader", set_module_loader},
    {"weaken-address-randomization", weaken_address_randomization},
    {"read-kernel-addresses", read_kernel_addresses},
    {"read-kernel-core", read_kernel_core},
    {"read-kernel-timers", read_kernel_timers},
    {"read-the-hosts-keys", read_the_hosts_keys},
    {"handle-page-faults", handle_page_faults},
    {"use-io-uring", use_io_uring},
    {"store-kernel-keys", store_kernel_keys},
    {"command-key-rings", command_key_rings},
    {"hold-up-every-open", hold_up_every_open},
    {"map-the-null-page", map_the_null_page},
    {"account-for-every-process", account_for_every_process},
    {"change-the-hosts-swap", change_the_hosts_swap},
    {"change-segment-descriptors", change_segment_descriptors},
    {"call-by-x32-numbers", call_by_x32_numbers},
    {"trace-a-child", trace_a_child},
    {"set-the-clock", set_the_clock},
    {"restart-the-host", restart_the_host},
    {"wake-the-machine", wake_the_machine},
    {"hang-up-the-terminal", hang_up_the_terminal},
    {"run-before-everyone", run_before_everyone},
    {"take-the-disks-time", take_the_disks_time},
    {"raise-own-ceilings", raise_own_ceilings},
    {"escape-the-memory-killer", escape_the_memory_killer},
    {"change-personality", change_personality},
    {"execute-written-memory", execute_written_memory},
    {0, 0},
};
