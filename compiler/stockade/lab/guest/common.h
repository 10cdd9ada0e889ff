/* What both of the host's own programs use: errors that end the boot, whole files, mounts. */
#ifndef STOCKADE_LAB_COMMON_H
#define STOCKADE_LAB_COMMON_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/reboot.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct bytes {
    char *data;
    size_t length;
};

/* Says what failed and why, and ends this program; where it is PID 1, the kernel panics and the guest ends. */
__attribute__((noreturn, format(printf, 1, 2))) static inline void fail(const char *format, ...)
{
    int error = errno;
    va_list arguments;
    va_start(arguments, format);
    dprintf(2, "lab: ");
    vdprintf(2, format, arguments);
    dprintf(2, ": %s\n", strerror(error));
    va_end(arguments);
    _exit(70);
}

static inline void *claim(size_t size)
{
    void *memory = calloc(1, size ? size : 1);
    if (!memory)
        fail("memory for %zu bytes", size);
    return memory;
}

/* All of a file, with a zero byte behind it. `data` is NULL when it cannot be read; errno says why. */
static inline struct bytes slurp(const char *path)
{
    struct bytes all = {NULL, 0};
    size_t room = 1 << 16;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return all;
    all.data = claim(room + 1);
    for (;;) {
        if (all.length == room && !(all.data = realloc(all.data, (room *= 2) + 1)))
            fail("memory for %s", path);
        ssize_t got = read(file, all.data + all.length, room - all.length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            all.data = NULL;
        if (got <= 0)
            break;
        all.length += got;
    }
    close(file);
    if (all.data)
        all.data[all.length] = 0;
    return all;
}

static inline struct bytes must_slurp(const char *path)
{
    struct bytes all = slurp(path);
    if (!all.data)
        fail("read %s", path);
    return all;
}

/* One write(2), its length checked: a policy, a mode and a label are taken whole or not at all. 0, or -1 with errno. */
static inline int put(const char *path, const void *data, size_t length)
{
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0)
        return -1;
    ssize_t written = write(file, data, length);
    int error = errno;
    if (close(file) == 0 && written == (ssize_t)length)
        return 0;
    errno = written < 0 ? error : EIO;
    return -1;
}

static inline void must_put(const char *path, const void *data, size_t length)
{
    if (put(path, data, length))
        fail("write %s", path);
}

static inline void must_mount(const char *source, const char *target, const char *type, unsigned long flags,
                              const char *data)
{
    if (mount(source, target, type, flags, data))
        fail("mount %s on %s (%s)", type, target, data ? data : "");
}

/* The folders above `path`, as far as they are missing. */
static inline void parents(const char *path)
{
    char copy[4096];
    snprintf(copy, sizeof copy, "%s", path);
    for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(copy, 0755) && errno != EEXIST && errno != EROFS)
            fail("mkdir %s", copy);
        *slash = '/';
    }
}

/* Standard input, output and error on a console opened here: one that was opened before a change of label is lost. */
static inline void reopen_console(void)
{
    int console = open("/dev/console", O_RDWR | O_NOCTTY);
    if (console < 0)
        _exit(71);
    for (int number = 0; number < 3; number++)
        dup2(console, number);
    if (console > 2)
        close(console);
}

/* Ends the guest after `lab_seconds`, should nobody be left outside to stop it. */
static inline void watch(void)
{
    const char *seconds = getenv("lab_seconds");
    if (!seconds || fork())
        return;
    sleep(atoi(seconds));
    sync();
    reboot(LINUX_REBOOT_CMD_POWER_OFF);
    _exit(72);
}

#endif
