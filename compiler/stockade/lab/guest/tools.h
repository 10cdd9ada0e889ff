/* The few tools of a root without a shell: each one system call, answered by exit status: 0, or the errno. */
#ifndef STOCKADE_LAB_TOOLS_H
#define STOCKADE_LAB_TOOLS_H

#include "common.h"

static inline int answer(const char *what, const char *path)
{
    int error = errno;
    dprintf(2, "%s %s: %s\n", what, path, strerror(error));
    return error;
}

static inline struct bytes standard_input(void)
{
    struct bytes all = slurp("/proc/self/fd/0");
    return all;
}

static inline int use_tool(int count, char **word)
{
    const char *name = count > 0 ? word[0] : "", *path = count > 1 ? word[1] : "";
    if (!strcmp(name, "read")) {
        struct bytes all = slurp(path);
        if (!all.data)
            return answer(name, path);
        return write(1, all.data, all.length) == (ssize_t)all.length ? 0 : answer("write", "standard output");
    }
    if (!strcmp(name, "write")) { /* standard input, in one write */
        struct bytes all = standard_input();
        if (!all.data)
            return answer("read", "standard input");
        return put(path, all.data, all.length) ? answer(name, path) : 0;
    }
    if (!strcmp(name, "create"))
        return open(path, O_WRONLY | O_CREAT | O_EXCL, 0644) < 0 ? answer(name, path) : 0;
    if (!strcmp(name, "mount") && count == 5) /* SOURCE TARGET TYPE OPTIONS */
        return mount(path, word[2], word[3], 0, word[4]) ? answer(name, word[2]) : 0;
    if (!strcmp(name, "remount") && count == 2) /* writable */
        return mount(NULL, path, NULL, MS_REMOUNT, NULL) ? answer(name, path) : 0;
    if (!strcmp(name, "unmount") && count == 2)
        return umount2(path, MNT_DETACH) ? answer(name, path) : 0;
    if (!strcmp(name, "sleep") && count == 2) {
        sleep(atoi(path));
        return 0;
    }
    dprintf(2, "not a tool: %s\n", name);
    return 255;
}

#endif
