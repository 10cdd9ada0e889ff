/* Probes of namespaces: new ones, and those of the host. */
#include "probe.h"
#include <linux/sched.h>
#include <signal.h>

/* unshare, clone and clone3 with one flag; a child of clone ends at once. */
static void makes(unsigned long flag, int by_clone) {
    TRIES("unshare", syscall(SYS_unshare, flag));
    if (by_clone) {
        at("clone");
        long child = syscall(SYS_clone, flag | SIGCHLD, 0, 0, 0, 0);
        if (child == 0) _exit(0);
        did("clone", child);
    }
    struct clone_args args = {.flags = flag, .exit_signal = SIGCHLD};
    at("clone3");
    long child = syscall(SYS_clone3, &args, sizeof args);
    if (child == 0) _exit(0);
    did("clone3", child);
}

static void make_user_namespace(void) { makes(CLONE_NEWUSER, 1); }
static void make_mount_namespace(void) { makes(CLONE_NEWNS, 1); }
static void make_pid_namespace(void) { makes(CLONE_NEWPID, 1); }
static void make_network_namespace(void) { makes(CLONE_NEWNET, 1); }
static void make_ipc_namespace(void) { makes(CLONE_NEWIPC, 1); }
static void make_uts_namespace(void) { makes(CLONE_NEWUTS, 1); }
static void make_cgroup_namespace(void) { makes(CLONE_NEWCGROUP, 1); }
static void make_time_namespace(void) { makes(0x80, 0); }

static void enter_host_namespaces(void) {
    at("open");
    int file = open("/proc/1/ns/uts", O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        did("open", -1);
        return;
    }
    at("setns");
    if (syscall(SYS_setns, file, CLONE_NEWUTS) < 0)
        did("setns", -1);
    else
        ended("setns", is_hosts("uts") && is_hosts("pid") ? 0 : ENXIO);
}

static void name_the_host(void) {
    char name[256] = "";
    gethostname(name, sizeof name - 1);
    at("sethostname");
    if (syscall(SYS_sethostname, name, strlen(name)) < 0)
        did("sethostname", -1);
    else
        ended("sethostname", is_hosts("uts") ? 0 : ENXIO);
}

static void mount_in_a_user_namespace(void) {
    at("unshare");
    if (syscall(SYS_unshare, CLONE_NEWUSER | CLONE_NEWNS) < 0)
        did("unshare", -1);
    else
        TRIES("mount", mount("none", "/tmp", "tmpfs", 0, 0));
}

static void change_root(void) { TRIES("chroot", chroot("/tmp")); }

const struct probe NAMESPACES[] = {
    {"make-user-namespace", make_user_namespace},
    {"make-mount-namespace", make_mount_namespace},
    {"make-pid-namespace", make_pid_namespace},
    {"make-network-namespace", make_network_namespace},
    {"make-ipc-namespace", make_ipc_namespace},
    {"make-uts-namespace", make_uts_namespace},
    {"make-cgroup-namespace", make_cgroup_namespace},
    {"make-time-namespace", make_time_namespace},
    {"enter-host-namespaces", enter_host_namespaces},
    {"name-the-host", name_the_host},
    {"mount-in-a-user-namespace", mount_in_a_user_namespace},
    {"change-root", change_root},
    {0, 0},
};
