/* Probes of devices: each makes a node in /dev, opens it, and removes it. */
#include "probe.h"
#include <sys/sysmacros.h>

static void uses(mode_t kind, unsigned major, unsigned minor, int flags) {
    for (int by = 0; by < 2; by++) {
        const char *step = by ? "mknodat" : "mknod";
        at(step);
        long made = by ? syscall(SYS_mknodat, AT_FDCWD, "/dev/tried", kind | 0600, makedev(major, minor))
                       : syscall(SYS_mknod, "/dev/tried", kind | 0600, makedev(major, minor));
        if (made < 0)
            did(step, -1);
        else
            opens("open", "/dev/tried", flags);
        unlink("/dev/tried");
    }
}

static void write_the_hosts_disk(void) { uses(S_IFBLK, 8, 0, O_RDWR); }
static void read_the_hosts_memory(void) { uses(S_IFCHR, 1, 1, O_RDONLY); }
static void write_the_kernel_log(void) { uses(S_IFCHR, 1, 11, O_WRONLY); }
static void attach_loop_devices(void) { uses(S_IFCHR, 10, 237, O_RDWR); }
static void use_virtual_machines(void) { uses(S_IFCHR, 10, 232, O_RDWR); }
static void answer_for_a_file_system(void) { uses(S_IFCHR, 10, 229, O_RDWR); }
static void make_a_tunnel(void) { uses(S_IFCHR, 10, 200, O_RDWR); }

static void make_device_nodes(void) {
    TRIES("mknod", syscall(SYS_mknod, "/dev/tried", S_IFCHR | 0600, makedev(1, 3)));
    unlink("/dev/tried");
    TRIES("mknodat", syscall(SYS_mknodat, AT_FDCWD, "/dev/tried", S_IFCHR | 0600, makedev(1, 3)));
    unlink("/dev/tried");
}

const struct probe DEVICES[] = {
    {"write-the-hosts-disk", write_the_hosts_disk},
    {"read-the-hosts-memory", read_the_hosts_memory},
    {"write-the-kernel-log", write_the_kernel_log},
    {"attach-loop-devices", attach_loop_devices},
    {"use-virtual-machines", use_virtual_machines},
    {"answer-for-a-file-system", answer_for_a_file_system},
    {"make-a-tunnel", make_a_tunnel},
    {"make-device-nodes", make_device_nodes},
    {0, 0},
};
