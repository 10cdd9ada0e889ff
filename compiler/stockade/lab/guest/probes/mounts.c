/* Probes of mounts, and of files that help a step further. What is mounted is taken away again. */
#include "probe.h"
#include <linux/capability.h>
#include <linux/magic.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

static void mounts(const char *step, const char *source, const char *type, unsigned long flags, const char *data) {
    at(step);
    int result = mount(source, "/tmp", type, flags, data);
    did(step, result);
    if (result == 0) umount2("/tmp", MNT_DETACH);
}

static void mount_file_system(void) {
    mounts("mount", "none", "tmpfs", 0, 0);
    at("fsopen");
    int context = syscall(SYS_fsopen, "tmpfs", 1);
    if (context < 0) {
        did("fsopen", -1);
        return;
    }
    at("fsconfig");
    if (syscall(SYS_fsconfig, context, 6, 0, 0, 0) < 0) {
        did("fsconfig", -1);
        return;
    }
    at("fsmount");
    int mounted = syscall(SYS_fsmount, context, 1, 0);
    if (mounted < 0) {
        did("fsmount", -1);
        return;
    }
    at("move_mount");
    int result = syscall(SYS_move_mount, mounted, "", AT_FDCWD, "/tmp", 4);
    did("move_mount", result);
    if (result == 0) umount2("/tmp", MNT_DETACH);
}

static void mount_procfs_anew(void) { mounts("mount", "proc", "proc", 0, 0); }
static void mount_a_control_group_hierarchy(void) { mounts("mount", "none", "cgroup", 0, "none,name=tried"); }
static void mount_kernel_interfaces(void) {
    mounts("debugfs", "none", "debugfs", 0, 0);
    mounts("securityfs", "none", "securityfs", 0, 0);
}

static void bind_a_folder(void) { mounts("mount", "/tmp", 0, MS_BIND, 0); }
static void remount_own_root_writable(void) {
    struct statvfs before;
    int known = statvfs("/", &before);
    int error = TRIES("mount", mount(0, "/", 0, MS_REMOUNT | MS_BIND, 0));
    if (known == 0 && error == 0 && before.f_flag & ST_RDONLY) mount(0, "/", 0, MS_REMOUNT | MS_BIND | MS_RDONLY, 0);
}
static void unmount_what_hides_files(void) { TRIES("umount2", umount2("/tmp", MNT_EXPIRE)); }
static void turn_the_root(void) { TRIES("pivot_root", syscall(SYS_pivot_root, "/", "/")); }

static void open_files_by_handle(void) {
    struct file_handle none = {0};
    TRIES("open_by_handle_at", syscall(SYS_open_by_handle_at, AT_FDCWD, &none, O_RDONLY));
}

static void read_file_handles(void) {
    struct file_handle none = {0};
    int mount_id;
    TRIES("name_to_handle_at", syscall(SYS_name_to_handle_at, AT_FDCWD, "/", &none, &mount_id, 0));
}

static void write_own_root(void) {
    opens("open", "/written", O_WRONLY | O_CREAT);
    unlink("/written");
}

/* A copy of this program at PATH or in the descriptor INTO; 0 or the error. */
static int copied(int into) {
    char part[65536];
    int from = open("/probe", O_RDONLY | O_CLOEXEC);
    ssize_t got = -1;
    while (from >= 0 && (got = read(from, part, sizeof part)) > 0)
        if (write(into, part, got) != got) return errno ? errno : EIO;
    int error = got < 0 ? errno : 0;
    if (from >= 0) close(from);
    return error;
}

static void execute_from_temporary_files(void) {
    at("open");
    int file = open("/tmp/program", O_RDWR | O_CREAT | O_CLOEXEC, 0700);
    if (file < 0) {
        did("open", -1);
        return;
    }
    int error = copied(file);
    close(file);
    at("execve");
    if (error)
        ended("copy", error);
    else
        ended("execve", executed("/tmp/program", "=here"));
    unlink("/tmp/program");
}

static void execute_from_memory(void) {
    at("memfd_create");
    int file = syscall(SYS_memfd_create, "program", 0);
    if (file < 0) {
        did("memfd_create", -1);
        return;
    }
    int error = copied(file);
    if (error) {
        ended("copy", error);
        return;
    }
    /* A file that is open for writing is not executed. */
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    int again = open(path, O_RDONLY);
    if (again < 0) {
        did("open", -1);
        return;
    }
    close(file);
    char *arguments[] = {"program", "=here", 0}, *environment[] = {0};
    at("execveat");
    pid_t child = fork();
    if (child == 0) {
        syscall(SYS_execveat, again, "", arguments, environment, 0x1000);
        _exit(errno);
    }
    int status = 0;
    waitpid(child, &status, 0);
    ended("execveat", WIFEXITED(status) && WEXITSTATUS(status) == 42 ? 0 : WIFEXITED(status) ? WEXITSTATUS(status) : EIO);
}

static void run_a_set_group_id_program(void) {
    at("execve");
    ended("execve", executed("/set-id", "=group"));
}

static void give_files_capabilities(void) {
    struct vfs_cap_data data = {.magic_etc = VFS_CAP_REVISION_2, .data = {{.permitted = 1 << 10}}};
    at("open");
    int file = open("/tmp/capable", O_RDWR | O_CREAT | O_CLOEXEC, 0700);
    if (file < 0) {
        did("open", -1);
        return;
    }
    TRIES("setxattr", setxattr("/tmp/capable", "security.capability", &data, sizeof data, 0));
    TRIES("lsetxattr", lsetxattr("/tmp/capable", "security.capability", &data, sizeof data, 0));
    TRIES("fsetxattr", fsetxattr(file, "security.capability", &data, sizeof data, 0));
    unlink("/tmp/capable");
}

const struct probe MOUNTS[] = {
    {"mount-file-system", mount_file_system},
    {"mount-procfs-anew", mount_procfs_anew},
    {"mount-a-control-group-hierarchy", mount_a_control_group_hierarchy},
    {"mount-kernel-interfaces", mount_kernel_interfaces},
    {"bind-a-folder", bind_a_folder},
    {"remount-own-root-writable", remount_own_root_writable},
    {"unmount-what-hides-files", unmount_what_hides_files},
    {"turn-the-root", turn_the_root},
    {"open-files-by-handle", open_files_by_handle},
    {"read-file-handles", read_file_handles},
    {"write-own-root", write_own_root},
    {"execute-from-temporary-files", execute_from_temporary_files},
    {"execute-from-memory", execute_from_memory},
    {"run-a-set-group-id-program", run_a_set_group_id_program},
    {"give-files-capabilities", give_files_capabilities},
    {0, 0},
};
