/* What every probe has: where it writes what the kernel answered, and what it is told about the host. */
#ifndef PROBE_H
#define PROBE_H
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* A probe tries every way of its action; an attempt is the last call of one way and the error it ended with. */
typedef void (*try_fn)(void);
struct probe {
    const char *name;
    try_fn run;
};
extern const struct probe KERNEL[], NAMESPACES[], MOUNTS[], DEVICES[], SOCKETS[], HOST[], CONTROL[];

/* Says what is being called, in case the call ends this process. */
void at(const char *step);
/* Writes down how a way ended: RESULT is what a system call returned. */
int did(const char *step, long result);
/* The same for an error number that was found otherwise. */
void ended(const char *step, int error);

/* A word the host left in the environment, or "" where there is none. */
const char *told(const char *name);
/* Where the host's PATH is shown in this container; the path itself where nothing shows it. */
const char *shown(const char *path);
/* Whether the namespace of this KIND (as in /proc/self/ns) is the host's. */
int is_hosts(const char *kind);
/* Opens a file and writes down the result; the descriptor is closed. */
void opens(const char *step, const char *path, int flags);
/* Forks, executes PATH with one ARGUMENT, and gives the error of execve, or 0 when it ended with status 42. */
int executed(const char *path, const char *argument);

#define STARTS(NAME, CALL) (at(NAME), (CALL))
#define TRIES(NAME, CALL) did(NAME, STARTS(NAME, CALL))
#endif
