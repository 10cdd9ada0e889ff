/* Probes of what confines everything else: SELinux itself, and limits. */
#include "probe.h"
#include <sys/mman.h>
#include <sys/xattr.h>

static void writes_to(const char *path, const char *text) {
    at("open");
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0)
        did("open", -1);
    else
        TRIES("write", write(file, text, strlen(text)));
}

static void leave_enforcing_mode(void) { writes_to(shown("/sys/fs/selinux/enforce"), "0"); }
static void load_a_policy(void) { writes_to(shown("/sys/fs/selinux/load"), "none"); }
static void read_the_policy(void) { opens("open", shown("/sys/fs/selinux/policy"), O_RDONLY); }

static void change_own_label(void) {
    static const char label[] = "system_u:system_r:super_t:s0";
    at("open");
    int file = open("/proc/self/attr/exec", O_WRONLY);
    if (file < 0) {
        did("open", -1);
        return;
    }
    at("write");
    if (write(file, label, sizeof label) < 0) {
        did("write", -1);
        return;
    }
    close(file);
    /* The label is asked for by the thread that executes, so no process is forked for it. */
    at("execve");
    execl("/probe", "/probe", "=label :super_t:s0", (char *)0);
    did("execve", -1);
}

static void relabel_a_file(void) {
    static const char label[] = "system_u:object_r:secret_t:s0";
    at("memfd_create");
    int file = syscall(SYS_memfd_create, "labelled", MFD_CLOEXEC);
    if (file < 0)
        did("memfd_create", -1);
    else
        TRIES("fsetxattr", fsetxattr(file, "security.selinux", label, sizeof label, 0));
}

/* A file of this process's own control group, wherever in the hierarchy it is. */
static const char *limit(const char *name) {
    static char path[512];
    char group[256] = "";
    int file = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
    ssize_t got = file < 0 ? -1 : read(file, group, sizeof group - 1);
    if (file >= 0) close(file);
    group[got > 0 ? got : 0] = 0;
    group[strcspn(group, "\n")] = 0;
    const char *place = strncmp(group, "0::/", 4) == 0 ? group + 3 : "/";
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/%s", place, name);
    return path;
}

static void raise_own_limits(void) { opens("open", limit("pids.max"), O_WRONLY); }

static void unlimited(const char *path) {
    char text[64] = "";
    at("open");
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        did("open", -1);
        return;
    }
    at("read");
    if (read(file, text, sizeof text - 1) < 0)
        did("read", -1);
    else
        ended("limit", strcmp(text, "max\n") == 0 ? 0 : EDQUOT);
}

static void exhaust_processes(void) { unlimited(limit("pids.max")); }
static void exhaust_memory(void) { unlimited(limit("memory.max")); }

const struct probe CONTROL[] = {
    {"leave-enforcing-mode", leave_enforcing_mode},
    {"load-a-policy", load_a_policy},
    {"read-the-policy", read_the_policy},
    {"change-own-label", change_own_label},
    {"relabel-a-file", relabel_a_file},
    {"raise-own-limits", raise_own_limits},
    {"exhaust-processes", exhaust_processes},
    {"exhaust-memory", exhaust_memory},
    {0, 0},
};
