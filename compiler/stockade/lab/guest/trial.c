/* Puts in place what the probes reach for on a host: settings, files, processes and what those hold, and the containers'
 * roots. Standard input says which, a word and its fields on each line; runs before the policy is enforced.
 * As `host leaking FOLDER RUNTIME...` it starts a runtime that has a descriptor of this folder open. */
#include "common.h"
#include <linux/loop.h>
#include <stddef.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>

#define SELINUX "/sys/fs/selinux"
#define PROBE "/usr/lib/trial/probe"
#define VOLUME "/usr/lib/trial/volume"
static char facts[4096];
static char here;

/* The label of this process, or of what it makes next: KIND is a file of /proc/self/attr. The policy must know it. */
static void label(const char *kind, const char *context)
{
    char path[64];
    if (put(SELINUX "/context", context, strlen(context) + 1))
        fail("the policy has no label %s", context);
    snprintf(path, sizeof path, "/proc/self/attr/%s", kind);
    must_put(path, context, strlen(context) + 1);
}

static void label_no_more(void)
{
    must_put("/proc/self/attr/fscreate", "", 1);
}

__attribute__((format(printf, 1, 2))) static void tell(const char *format, ...)
{
    size_t used = strlen(facts);
    va_list rest;
    va_start(rest, format);
    vsnprintf(facts + used, sizeof facts - used, format, rest);
    va_end(rest);
}

static void listens(const char *name)
{
    struct sockaddr_un there = {.sun_family = AF_UNIX};
    snprintf(there.sun_path, sizeof there.sun_path, "%s", name);
    socklen_t size = offsetof(struct sockaddr_un, sun_path) + strlen(name) + (name[0] == '/');
    if (name[0] == '@')
        there.sun_path[0] = 0;
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server < 0 || bind(server, (struct sockaddr *)&there, size) < 0 || listen(server, 128) < 0)
        fail("listen on %s", name);
}

/* What a process holds, by the words of `holds`: a key, shared memory, sockets as NAME or as PATH,LABEL. */
static void hold(char *holds)
{
    for (char *word = strtok(holds, " "); word; word = strtok(NULL, " ")) {
        if (!strcmp(word, "key")) {
            if (syscall(SYS_add_key, "user", "stockade-host", "x", 1, -2) < 0)
                fail("add_key");
        } else if (!strcmp(word, "shm")) {
            if (shmget(0x57c0cade, 4096, IPC_CREAT | 0666) < 0)
                fail("shmget");
        } else {
            char *as = strchr(word, ',');
            if (as) {
                *as = 0;
                parents(word);
                label("fscreate", as + 1);
            }
            listens(word);
            if (as)
                label_no_more();
        }
    }
}

/* A process of the host that waits for ever: NAME for the probes, its CONTEXT, and what it holds. */
static void process(const char *name, const char *context, char *holds)
{
    int ready[2];
    char byte;
    if (pipe2(ready, O_CLOEXEC) < 0)
        fail("pipe");
    pid_t child = fork();
    if (child < 0)
        fail("fork");
    if (!child) {
        setsid(); /* or it would end with this task */
        label("current", context); /* sockets are labelled by whoever makes them, their files apart */
        hold(holds);
        signal(SIGURG, SIG_IGN);
        if (write(ready[1], "y", 1) != 1)
            _exit(1);
        close(ready[1]);
        for (;;)
            pause();
    }
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1)
        fail("process %s", name);
    close(ready[0]);
    tell("%s=%d\n", name, child);
}

static void write_file(const char *path, const char *data, size_t length, mode_t mode)
{
    int made = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (made < 0 || write(made, data, length) != (ssize_t)length || fchmod(made, mode) || close(made))
        fail("write %s", path);
}

static void file(const char *path, const char *context)
{
    parents(path);
    label("fscreate", context);
    write_file(path, "secret\n", 7, 0644);
    label_no_more();
}

static void folder(const char *path, const char *context)
{
    parents(path);
    label("fscreate", context);
    if (mkdir(path, 0755))
        fail("mkdir %s", path);
    label_no_more();
}

/* A file system on a block device, all of one label: tmpfs has no quotas in every kernel. */
static void volume(const char *path, const char *context)
{
    char options[512];
    struct bytes image = must_slurp(VOLUME);
    snprintf(options, sizeof options, "context=\"%s\"", context);
    parents(path);
    write_file(path, image.data, image.length, 0600);
    int backing = open(path, O_RDWR | O_CLOEXEC), device = open("/dev/loop0", O_RDWR | O_CLOEXEC);
    if (backing < 0 || device < 0 || ioctl(device, LOOP_SET_FD, backing))
        fail("attach %s", path);
    if (unlink(path) || mkdir(path, 0755))
        fail("mkdir %s", path);
    must_mount("/dev/loop0", path, "ext4", 0, options);
}

/* A container's root, all of one label: the probes, once more with a group of its own, and the facts for them. */
static void root(const char *path, const char *context)
{
    char options[512], inside[512];
    struct bytes probe = must_slurp(PROBE);
    parents(path);
    snprintf(options, sizeof options, "mode=755,context=\"%s\"", context);
    if (mkdir(path, 0755))
        fail("mkdir %s", path);
    must_mount("tmpfs", path, "tmpfs", 0, options);
    snprintf(inside, sizeof inside, "%s/probe", path);
    write_file(inside, probe.data, probe.length, 0755);
    snprintf(inside, sizeof inside, "%s/facts", path);
    write_file(inside, facts, strlen(facts), 0644);
    snprintf(inside, sizeof inside, "%s/set-id", path);
    write_file(inside, probe.data, probe.length, 0755);
    if (chown(inside, 0, 4242) || chmod(inside, 02755))
        fail("chown %s", inside);
}

static void carry_out(char *line)
{
    char *word[4] = {line, "", "", ""};
    for (int number = 1; number < 4; number++) {
        char *tab = strchr(word[number - 1], '\t');
        if (!tab)
            break;
        *tab = 0;
        word[number] = tab + 1;
    }
    if (!strcmp(word[0], "setting")) {
        if (put(word[1], word[2], strlen(word[2])))
            printf("lacks %s: %s\n", word[1], strerror(errno));
    } else if (!strcmp(word[0], "file"))
        file(word[1], word[2]);
    else if (!strcmp(word[0], "folder"))
        folder(word[1], word[2]);
    else if (!strcmp(word[0], "volume"))
        volume(word[1], word[2]);
    else if (!strcmp(word[0], "process"))
        process(word[1], word[2], word[3]);
    else if (!strcmp(word[0], "root"))
        root(word[1], word[2]);
    else {
        errno = EINVAL;
        fail("%s", line);
    }
}

/* As runc did up to 1.1.11: the folder is open by path alone, and nothing closes it when a program is executed. */
static int leaking(const char *path, char **command)
{
    int leaked = open(path, O_PATH | O_DIRECTORY);
    if (leaked < 0 || (leaked != 3 && dup2(leaked, 3) < 0))
        fail("open %s", path);
    execv(command[0], command);
    fail("execute %s", command[0]);
}

int main(int count, char **arguments)
{
    if (count > 3 && !strcmp(arguments[1], "leaking"))
        return leaking(arguments[2], arguments + 3);
    static const char *const kinds[] = {"uts", "pid", "net", "ipc"};
    char *plan = must_slurp("/proc/self/fd/0").data;
    tell("ADDRESS=%p\n", (void *)&here);
    for (int number = 0; number < 4; number++) {
        char path[64], link[64] = "";
        snprintf(path, sizeof path, "/proc/self/ns/%s", kinds[number]);
        if (readlink(path, link, sizeof link - 1) < 0)
            fail("readlink %s", path);
        tell("NS:%s=%s\n", kinds[number], link);
    }
    for (char *next, *line = plan; *line; line = next) {
        next = line + strcspn(line, "\n");
        if (*next)
            *next++ = 0;
        carry_out(line);
    }
    return 0;
}
