/* Probes of files and processes of the host and of neighbours. Processes are those the host has put there for it. */
#include "probe.h"
#include <linux/kcmp.h>
#include <linux/quota.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

static void reads(const char *path) { opens("open", shown(path), O_RDONLY); }
static void writes(const char *path) { opens("open", shown(path), O_WRONLY); }

static void change_image_layers(void) { writes("/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/layer"); }
static void read_the_settings(void) { reads("/var/lib/bottlerocket/settings"); }
static void change_the_settings(void) { writes("/var/lib/bottlerocket/settings"); }
static void read_the_hosts_secrets(void) { reads("/etc/kubernetes/pki/private/key"); }
static void change_the_hosts_configuration(void) { writes("/etc/resolv.conf"); }
static void change_what_survives_a_boot(void) { writes("/var/lib/kernel-modules/state"); }
static void overwrite_the_runtime(void) { writes("/run/stockade/runc"); }
static void change_the_hosts_programs(void) { writes("/run/stockade/program"); }
static void read_a_neighbours_files(void) { reads("/run/stockade/neighbour"); }
static void change_a_neighbours_files(void) { writes("/run/stockade/neighbour"); }

/* The number of a process of the host, which means somebody else in a namespace of one's own. */
static pid_t process(const char *name) { return is_hosts("pid") ? atoi(told(name)) : 0x3ffffff; }

static void traces(const char *name) {
    pid_t pid = process(name);
    char byte = 0;
    struct iovec here = {&byte, 1}, there = {(void *)strtoul(told("ADDRESS"), 0, 16), 1};
    TRIES("process_vm_readv", syscall(SYS_process_vm_readv, pid, &here, 1, &there, 1, 0));
    TRIES("process_vm_writev", syscall(SYS_process_vm_writev, pid, &here, 1, &there, 1, 0));
    at("ptrace");
    long seized = ptrace(PTRACE_SEIZE, pid, 0, 0);
    did("ptrace", seized);
}

static void trace_the_runtime(void) { traces("RUNTIME"); }
static void trace_a_neighbour(void) { traces("NEIGHBOUR"); }

static void compare_the_runtimes_insides(void) {
    TRIES("kcmp", syscall(SYS_kcmp, process("RUNTIME"), getpid(), KCMP_VM, 0, 0));
}

static void read_the_runtimes_environment(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/environ", process("RUNTIME"));
    opens("open", path, O_RDONLY);
}

static void signal_the_runtime(void) { TRIES("kill", kill(process("RUNTIME"), SIGURG)); }
static void signal_a_neighbour(void) { TRIES("kill", kill(process("NEIGHBOUR"), SIGURG)); }

static void share_the_hosts_memory(void) {
    at("shmget");
    int segment = shmget(0x57c0cade, 1, 0666);
    if (segment < 0) {
        did("shmget", -1);
        return;
    }
    at("shmat");
    void *place = shmat(segment, 0, 0);
    did("shmat", place == (void *)-1 ? -1 : 0);
}

/* Nothing is tried where nobody handed the descriptor over; where SELinux took it away there is another in its place. */
static void use_a_leaked_descriptor(void) {
    if (fcntl(3, F_GETFD) < 0) return;
    at("openat");
    int file = openat(3, "program", O_WRONLY | O_CLOEXEC);
    did("openat", file);
}

static void change_the_hosts_quotas(void) {
    struct if_dqblk none = {0};
    int command = QCMD(Q_SETQUOTA, USRQUOTA);
    at("open");
    int volume = open(shown("/run/stockade/volume"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (volume < 0)
        did("open", -1);
    else
        TRIES("quotactl_fd", syscall(SYS_quotactl_fd, volume, command, 0, &none));
    for (int by = 0; by < 2; by++) {
        const char *step = by ? "mknodat" : "mknod";
        at(step);
        long made = by ? syscall(SYS_mknodat, AT_FDCWD, "/dev/tried", S_IFBLK | 0600, makedev(7, 0))
                       : syscall(SYS_mknod, "/dev/tried", S_IFBLK | 0600, makedev(7, 0));
        if (made < 0)
            did(step, -1);
        else
            TRIES("quotactl", syscall(SYS_quotactl, command, "/dev/tried", 0, &none));
        unlink("/dev/tried");
    }
}

const struct probe HOST[] = {
    {"change-image-layers", change_image_layers},
    {"read-the-settings", read_the_settings},
    {"change-the-settings", change_the_settings},
    {"read-the-hosts-secrets", read_the_hosts_secrets},
    {"change-the-hosts-configuration", change_the_hosts_configuration},
    {"change-what-survives-a-boot", change_what_survives_a_boot},
    {"overwrite-the-runtime", overwrite_the_runtime},
    {"change-the-hosts-programs", change_the_hosts_programs},
    {"read-a-neighbours-files", read_a_neighbours_files},
    {"change-a-neighbours-files", change_a_neighbours_files},
    {"trace-the-runtime", trace_the_runtime},
    {"trace-a-neighbour", trace_a_neighbour},
    {"compare-the-runtimes-insides", compare_the_runtimes_insides},
    {"read-the-runtimes-environment", read_the_runtimes_environment},
    {"signal-the-runtime", signal_the_runtime},
    {"signal-a-neighbour", signal_a_neighbour},
    {"share-the-hosts-memory", share_the_hosts_memory},
    {"use-a-leaked-descriptor", use_a_leaked_descriptor},
    {"change-the-hosts-quotas", change_the_hosts_quotas},
    {0, 0},
};
