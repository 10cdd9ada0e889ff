/* First program of the guest in which actions are tried: loads the policy, puts the host's things in place, and runs one
 * container after another with runc. /plan says which; what they say goes to the report channel, line by line. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SELINUX "/sys/fs/selinux"
static int channel = -1;
static char facts[4096];
static char here;

static void say(const char *format, ...) {
    char line[8192];
    va_list rest;
    va_start(rest, format);
    int size = vsnprintf(line, sizeof line, format, rest);
    va_end(rest);
    if (channel >= 0 && write(channel, line, size) != size) sync();
}

static void end(void) {
    say("end\n");
    nanosleep(&(struct timespec){0, 100000000}, 0); /* the kernel prints from a thread of its own */
    reboot(RB_POWER_OFF);
    _exit(1);
}

static void fail(const char *what, const char *which) {
    say("failed\t%s %s: %s\n", what, which, strerror(errno));
    end();
}

/* One write and its length checked: a policy, a mode and a label are each taken whole or not at all. */
static int puts_into(const char *path, const void *bytes, size_t size) {
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0) return -1;
    ssize_t wrote = write(file, bytes, size);
    int error = errno;
    close(file);
    errno = error;
    return wrote == (ssize_t)size ? 0 : -1;
}

static void put(const char *path, const char *text) {
    if (puts_into(path, text, strlen(text)) < 0) fail("write", path);
}

/* The label of this process, or of what it makes next: KIND is a file of /proc/self/attr. The policy must know it. */
static void label(const char *kind, const char *context) {
    char path[64];
    if (puts_into(SELINUX "/context", context, strlen(context) + 1) < 0) fail("no such label", context);
    snprintf(path, sizeof path, "/proc/self/attr/%s", kind);
    if (puts_into(path, context, strlen(context) + 1) < 0) fail("label", context);
}

static void label_no_more(void) {
    if (puts_into("/proc/self/attr/fscreate", "", 0) < 0) fail("label", "files");
}

static void mounted(const char *type, const char *place, const char *options) {
    if (mkdir(place, 0755) < 0 && errno != EEXIST) fail("mkdir", place);
    if (mount(type, place, type, 0, options) < 0) fail("mount", place);
}

static void parents(const char *path) {
    char part[512];
    snprintf(part, sizeof part, "%s", path);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(part, 0755) < 0 && errno != EEXIST) fail("mkdir", part);
        *slash = '/';
    }
}

static void copy_file(const char *from, const char *to, mode_t mode) {
    static char part[1 << 16];
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (in < 0 || out < 0) fail("copy", to);
    for (ssize_t got; (got = read(in, part, sizeof part)) != 0;)
        if (got < 0 || write(out, part, got) != got) fail("copy", to);
    if (fchmod(out, mode) < 0) fail("chmod", to);
    close(in);
    close(out);
}

static void copy_tree(const char *from, const char *to) {
    DIR *folder = opendir(from);
    if (!folder) fail("open", from);
    for (struct dirent *entry; (entry = readdir(folder));) {
        char source[512], target[512], link[512];
        struct stat about;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        snprintf(source, sizeof source, "%s/%s", from, entry->d_name);
        snprintf(target, sizeof target, "%s/%s", to, entry->d_name);
        if (lstat(source, &about) < 0) fail("stat", source);
        if (S_ISDIR(about.st_mode)) {
            if (mkdir(target, 0755) < 0) fail("mkdir", target);
            copy_tree(source, target);
        } else if (S_ISLNK(about.st_mode)) {
            ssize_t size = readlink(source, link, sizeof link - 1);
            if (size < 0) fail("readlink", source);
            link[size] = 0;
            if (symlink(link, target) < 0) fail("symlink", target);
        } else {
            copy_file(source, target, about.st_mode & 07777);
        }
    }
    closedir(folder);
}

static void tell(const char *format, ...) {
    size_t used = strlen(facts);
    va_list rest;
    va_start(rest, format);
    vsnprintf(facts + used, sizeof facts - used, format, rest);
    va_end(rest);
}

static void listens(const char *name) {
    struct sockaddr_un there = {.sun_family = AF_UNIX};
    snprintf(there.sun_path, sizeof there.sun_path, "%s", name);
    socklen_t size = offsetof(struct sockaddr_un, sun_path) + strlen(name) + (name[0] == '/');
    if (name[0] == '@') there.sun_path[0] = 0;
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server < 0 || bind(server, (struct sockaddr *)&there, size) < 0 || listen(server, 128) < 0) fail("listen", name);
}

/* A process of the host that waits for ever: NAME for the probes, its CONTEXT, and what it holds, one word each. */
static void process(const char *name, const char *context, const char *holds) {
    int ready[2];
    char byte;
    if (pipe2(ready, O_CLOEXEC) < 0) fail("pipe", name);
    pid_t child = fork();
    if (child < 0) fail("fork", name);
    if (child == 0) {
        char words[512];
        snprintf(words, sizeof words, "%s", holds);
        /* Sockets are labelled by whoever makes them, their files apart. */
        label("current", context);
        for (char *word = strtok(words, " "); word; word = strtok(0, " ")) {
            if (strcmp(word, "key") == 0) {
                if (syscall(SYS_add_key, "user", "stockade-host", "x", 1, -2) < 0) fail("add_key", name);
            } else if (strcmp(word, "shm") == 0) {
                if (shmget(0x57c0cade, 4096, IPC_CREAT | 0666) < 0) fail("shmget", name);
            } else {
                char *as = strchr(word, ',');
                if (as) {
                    *as = 0;
                    parents(word);
                    label("fscreate", as + 1);
                }
                listens(word);
                if (as) label_no_more();
            }
        }
        signal(SIGURG, SIG_IGN);
        if (write(ready[1], "y", 1) != 1) _exit(1);
        close(ready[1]);
        for (;;) pause();
    }
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1) fail("no such process", name);
    close(ready[0]);
    tell("%s=%d\n", name, child);
}

static void file(const char *path, const char *context) {
    parents(path);
    label("fscreate", context);
    int made = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (made < 0 || write(made, "secret\n", 7) != 7) fail("file", path);
    close(made);
    label_no_more();
}

static int enforcing(void) {
    char mode = '?';
    int file = open(SELINUX "/enforce", O_RDONLY | O_CLOEXEC);
    if (file < 0 || read(file, &mode, 1) != 1) fail("read", "enforce");
    close(file);
    return mode == '1';
}

static void lines(const char *name, int from) {
    static char text[8192];
    size_t used = 0;
    for (ssize_t got; (got = read(from, text + used, sizeof text - 1 - used)) > 0;) {
        used += got;
        text[used] = 0;
        char *start = text;
        for (char *stop; (stop = strchr(start, '\n')); start = stop + 1) {
            *stop = 0;
            say("said\t%s\t%s\n", name, start);
        }
        used -= start - text;
        memmove(text, start, used + 1);
        if (used == sizeof text - 1) used = 0;
    }
    if (used) say("said\t%s\t%s\n", name, text);
}

/* What stands where a container runtime does: starts runc or crun, and passes on what comes out of the runtime's own pipe. */
static int runtime(const char *name, const char *bundle, const char *which) {
    int out[2], status = 0;
    label("current", "system_u:system_r:runtime_t:s0");
    if (pipe2(out, O_CLOEXEC) < 0) fail("pipe", name);
    pid_t child = fork();
    if (child < 0) fail("fork", name);
    if (child == 0) {
        int nothing = open("/dev/null", O_RDWR);
        dup2(nothing, 0);
        dup2(out[1], 1);
        dup2(out[1], 2);
        alarm(120);
        char program[64], state[64];
        snprintf(program, sizeof program, "/usr/sbin/%s", which);
        snprintf(state, sizeof state, "/run/%s", which);
        execl(program, which, "--root", state, "run", "-b", bundle, name, (char *)0);
        _exit(127);
    }
    close(out[1]);
    lines(name, out[0]);
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

/* Runs one container of /bundles/NAME on a root labelled CONTEXT, by WHICH runtime, while the kernel enforces as MODE
 * says. */
static void container(const char *name, const char *mode, const char *context, const char *which) {
    char bundle[256], path[512], options[512];
    int out[2];
    snprintf(bundle, sizeof bundle, "/bundles/%s", name);
    snprintf(path, sizeof path, "%s/rootfs", bundle);
    snprintf(options, sizeof options, "mode=755,context=\"%s\"", context);
    put(SELINUX "/enforce", "0");
    mounted("tmpfs", path, options);
    snprintf(path, sizeof path, "%s/rootfs/probe", bundle);
    copy_file("/probe", path, 0755);
    snprintf(path, sizeof path, "%s/rootfs/set-id", bundle);
    copy_file("/probe", path, 0755);
    if (chown(path, 0, 4242) < 0 || chmod(path, 02755) < 0) fail("chown", path);
    snprintf(path, sizeof path, "%s/rootfs/facts", bundle);
    int told = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (told < 0 || write(told, facts, strlen(facts)) != (ssize_t)strlen(facts)) fail("write", path);
    close(told);
    put(SELINUX "/enforce", mode);
    int before = enforcing(), status = 0;
    pid_t child = fork();
    if (child < 0) fail("fork", name);
    if (child == 0) _exit(runtime(name, bundle, which));
    waitpid(child, &status, 0);
    say("ended\t%s\t%d\t%d\t%d\n", name, status, before, enforcing());
    put(SELINUX "/enforce", "0");
    snprintf(path, sizeof path, "%s/rootfs", bundle);
    umount2(path, MNT_DETACH);
}

static void carry_out(char *line) {
    char *word[5] = {"", "", "", "", ""};
    int count = 0;
    for (char *part = line; part && count < 5; count++) {
        word[count] = part;
        part = strchr(part, '\t');
        if (part) *part++ = 0;
    }
    if (strcmp(word[0], "sysctl") == 0) {
        if (puts_into(word[1], word[2], strlen(word[2])) < 0) say("lacks\t%s\t%s\n", word[1], strerror(errno));
    } else if (strcmp(word[0], "file") == 0) {
        file(word[1], word[2]);
    } else if (strcmp(word[0], "process") == 0) {
        process(word[1], word[2], word[3]);
    } else if (strcmp(word[0], "become") == 0) {
        label("current", word[1]);
    } else if (strcmp(word[0], "container") == 0) {
        container(word[1], word[2], word[3], word[4]);
    } else {
        fail("plan", line);
    }
}

static char *contents(const char *path, size_t *size) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat about;
    if (file < 0 || fstat(file, &about) < 0) fail("open", path);
    char *bytes = malloc(about.st_size + 1);
    for (off_t used = 0; used < about.st_size;) {
        ssize_t got = read(file, bytes + used, about.st_size - used);
        if (got <= 0) fail("read", path);
        used += got;
    }
    close(file);
    bytes[about.st_size] = 0;
    *size = about.st_size;
    return bytes;
}

int main(void) {
    size_t size;
    mounted("proc", "/proc", 0);
    mounted("sysfs", "/sys", 0);
    mounted("devtmpfs", "/dev", 0);
    channel = open("/dev/tty1", O_WRONLY | O_CLOEXEC);
    say("stockade-trial 1\n");
    pid_t watch = fork(); /* nobody may be left out there to stop a guest that hangs */
    if (watch == 0) {
        sleep(atoi(getenv("lab_seconds") ? getenv("lab_seconds") : "600"));
        reboot(RB_POWER_OFF);
    }
    put("/proc/sys/kernel/printk_ratelimit", "0\n");
    mounted("selinuxfs", SELINUX, 0);
    char *policy = contents("/policy", &size);
    if (puts_into(SELINUX "/load", policy, size) < 0) fail("load", "policy");
    free(policy);
    say("policy\t%zu\n", size);
    char *plan = contents("/plan", &size);
    mounted("tmpfs", "/new", "mode=755");
    copy_tree("/host", "/new");
    if (mount("/proc", "/new/proc", 0, MS_MOVE, 0) < 0 || mount("/sys", "/new/sys", 0, MS_MOVE, 0) < 0 ||
        mount("/dev", "/new/dev", 0, MS_MOVE, 0) < 0)
        fail("move", "mounts");
    if (chdir("/new") < 0 || mount(".", "/", 0, MS_MOVE, 0) < 0 || chroot(".") < 0 || chdir("/") < 0) fail("chroot", "/new");
    mounted("tmpfs", "/run", "mode=755");
    mounted("tmpfs", "/etc", "mode=755");
    mounted("tmpfs", "/var", "mode=755");
    mounted("cgroup2", "/sys/fs/cgroup", 0);
    tell("ADDRESS=%p\n", (void *)&here);
    for (const char *kinds = "uts\0pid\0net\0ipc\0", *kind = kinds; *kind; kind += strlen(kind) + 1) {
        char path[64], link[64] = "";
        snprintf(path, sizeof path, "/proc/self/ns/%s", kind);
        if (readlink(path, link, sizeof link - 1) < 0) fail("readlink", path);
        tell("NS:%s=%s\n", kind, link);
    }
    for (char *line = plan, *stop; *line; line = stop + 1) {
        stop = strchr(line, '\n');
        if (!stop) fail("plan", "its last line has no end");
        *stop = 0;
        carry_out(line);
    }
    end();
}
