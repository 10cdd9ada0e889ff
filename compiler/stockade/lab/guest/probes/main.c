/* Runs probes one process each and says what the kernel answered to every attempt. */
#include "probe.h"
#include <signal.h>
#include <sys/mman.h>

#define ATTEMPTS 8
struct board {
    char now[32];
    int count;
    struct {
        char step[32];
        int error;
    } attempts[ATTEMPTS];
};
static struct board *board;

void at(const char *step) { snprintf(board->now, sizeof board->now, "%s", step); }

void ended(const char *step, int error) {
    if (board->count < ATTEMPTS) {
        snprintf(board->attempts[board->count].step, sizeof board->now, "%s", step);
        board->attempts[board->count++].error = error;
    }
}

int did(const char *step, long result) {
    int error = result < 0 ? errno : 0;
    ended(step, error);
    return error;
}

const char *told(const char *name) {
    const char *word = getenv(name);
    return word ? word : "";
}

const char *shown(const char *path) {
    char name[256];
    snprintf(name, sizeof name, "AT:%s", path);
    const char *place = getenv(name);
    return place ? place : path;
}

int is_hosts(const char *kind) {
    char link[64], name[32], found[64] = "";
    snprintf(link, sizeof link, "/proc/self/ns/%s", kind);
    snprintf(name, sizeof name, "NS:%s", kind);
    return readlink(link, found, sizeof found - 1) > 0 && strcmp(found, told(name)) == 0;
}

void opens(const char *step, const char *path, int flags) {
    at(step);
    int file = open(path, flags | O_CLOEXEC | O_NONBLOCK);
    did(step, file);
    if (file >= 0) close(file);
}

int executed(const char *path, const char *argument) {
    int told_of[2];
    if (pipe2(told_of, O_CLOEXEC) < 0) return errno;
    pid_t child = fork();
    if (child < 0) return errno;
    if (child == 0) {
        execl(path, path, argument, (char *)0);
        int error = errno;
        ssize_t written = write(told_of[1], &error, sizeof error);
        _exit(written > 0 ? 1 : 2);
    }
    close(told_of[1]);
    int error = 0, status = 0;
    ssize_t got = read(told_of[0], &error, sizeof error);
    close(told_of[0]);
    waitpid(child, &status, 0);
    if (got > 0) return error;
    return WIFEXITED(status) && WEXITSTATUS(status) == 42 ? 0 : EPERM;
}

/* What a program that a probe executes finds out about itself: 42 is yes. */
static int about_itself(const char *question) {
    if (strcmp(question, "=here") == 0) return 42;
    if (strcmp(question, "=group") == 0) return getegid() == 4242 ? 42 : 1;
    if (strncmp(question, "=label ", 7) == 0) {
        char label[256] = "";
        int file = open("/proc/self/attr/current", O_RDONLY);
        ssize_t got = file < 0 ? -1 : read(file, label, sizeof label - 1);
        return got > 0 && strstr(label, question + 7) ? 42 : 1;
    }
    return 2;
}

static void say(const struct probe *probe, int status) {
    char line[1024];
    int used = snprintf(line, sizeof line, "%s", probe->name);
    for (int i = 0; i < board->count; i++)
        used += snprintf(line + used, sizeof line - used, "\t%s=%d", board->attempts[i].step, board->attempts[i].error);
    if (WIFSIGNALED(status))
        used += snprintf(line + used, sizeof line - used, "\t%s=killed:%d", board->now, WTERMSIG(status));
    else if (WEXITSTATUS(status) == 42) /* it executed a program, which found what it was asked for */
        used += snprintf(line + used, sizeof line - used, "\t%s=0", board->now);
    else if (WEXITSTATUS(status) != 0)
        used += snprintf(line + used, sizeof line - used, "\t%s=exited:%d", board->now, WEXITSTATUS(status));
    used += snprintf(line + used, sizeof line - used, "\n");
    if (write(1, line, used) != used) _exit(3);
}

static int alone(void *probe) {
    alarm(10);
    ((const struct probe *)probe)->run();
    _exit(0);
}

/* The probe is a process of its own in all but memory, whose copying would be most of what a trial costs. Nothing else of
 * this program runs meanwhile. */static void run(const struct probe *probe) {
    static char stack[1 << 18] __attribute__((aligned(16)));
    memset(board, 0, sizeof *board);
    pid_t child = clone(alone, stack + sizeof stack, CLONE_VM | SIGCHLD, (void *)probe);
    if (child < 0) exit(4);
    int status = 0;
    while (waitpid(child, &status, 0) != child)
        ;
    say(probe, status);
}

/* What the host says about itself stands in a file beside this program, NAME=VALUE on each line. */
static void listen_to_the_host(void) {
    char line[512];
    FILE *file = fopen("/facts", "re");
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        putenv(strdup(line));
    }
    if (file) fclose(file);
}

int main(int argc, char **argv) {
    const struct probe *tables[] = {KERNEL, NAMESPACES, MOUNTS, DEVICES, SOCKETS, HOST, CONTROL};
    if (argc == 2 && argv[1][0] == '=') return about_itself(argv[1]);
    listen_to_the_host();
    board = mmap(0, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED) return 5;
    int ran = 0;
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const struct probe *probe = tables[t]; probe->name; probe++) {
            int wanted = argc == 1;
            for (int i = 1; i < argc; i++) wanted |= strcmp(argv[i], probe->name) == 0;
            if (wanted && ++ran) run(probe);
        }
    printf("ran\t%d\n", ran);
    fflush(stdout);
    if (getenv("LINGER")) sleep(1); /* containerd hands on what was said, and drops what it still holds at the end */
    return 0;
}
