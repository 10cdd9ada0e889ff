/* Runs one task of the plan in the label that this program has, and leaves what came of it under /run/lab. */
#ifndef STOCKADE_LAB_TASKS_H
#define STOCKADE_LAB_TASKS_H

#include "plan.h"

#define PLACE "/run/lab"

static inline const char *result_path(long number, const char *what)
{
    static char path[64];
    snprintf(path, sizeof path, PLACE "/%ld.%s", number, what);
    return path;
}

static inline void write_result(long number, const char *what, const char *data, size_t length)
{
    int file = open(result_path(number, what), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0 || write(file, data, length) != (ssize_t)length)
        fail("write %s", result_path(number, what));
    close(file);
}

/* The child: its label, folder and files, and then the program. Comes back only with an error. */
static inline void become(const struct task *task, const int files[3])
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    for (int number = 0; number < 3; number++)
        if (dup2(files[number], number) < 0)
            return;
    if (chdir(task->folder))
        return;
    if (*task->context && put("/proc/self/attr/exec", task->context, strlen(task->context)))
        return;
    environ = task->environment;
    execvp(task->arguments[0], task->arguments);
}

static volatile sig_atomic_t told_to_stop;

static void stop(int signal)
{
    told_to_stop = signal;
}

static inline double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

/* Waits for `child` at most the task's time; a task in the background until this process is told to stop. */
static inline const char *await(pid_t child, const struct task *task, sigset_t *watched)
{
    static char ending[64];
    double deadline = now() + task->milliseconds / 1e3;
    int status = 0, ended = 0;
    const char *cut = NULL;
    while (!ended || (task->background && !told_to_stop)) {
        double left = deadline - now();
        if (!ended && waitpid(child, &status, WNOHANG) == child) {
            ended = 1;
            continue;
        }
        if (told_to_stop || left <= 0) {
            cut = told_to_stop ? "stopped" : "timeout";
            break;
        }
        struct timespec pause = {left, (left - (long)left) * 1e9};
        int signal = sigtimedwait(watched, NULL, &pause);
        if (signal == SIGTERM)
            told_to_stop = signal;
    }
    kill(-child, SIGKILL);
    if (!ended) {
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        return cut;
    }
    if (WIFSIGNALED(status))
        snprintf(ending, sizeof ending, "signal %d", WTERMSIG(status));
    else
        snprintf(ending, sizeof ending, "exit %d", WEXITSTATUS(status));
    return ending;
}

static inline void run_task(const struct plan *plan, long number)
{
    const struct task *task = &plan->task[number];
    sigset_t watched;
    struct sigaction action = {.sa_handler = stop};
    int failure[2], files[3], error = 0;
    sigemptyset(&watched);
    sigaddset(&watched, SIGCHLD);
    sigaddset(&watched, SIGTERM);
    sigprocmask(SIG_BLOCK, &watched, NULL);
    sigaction(SIGCHLD, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    write_result(number, "in", task->input.data, task->input.length);
    files[0] = open(result_path(number, "in"), O_RDONLY | O_CLOEXEC);
    files[1] = open(result_path(number, "out"), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    files[2] = open(result_path(number, "err"), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (files[0] < 0 || files[1] < 0 || files[2] < 0 || pipe2(failure, O_CLOEXEC))
        fail("the files of task %ld", number);
    double started = now();
    pid_t child = fork();
    if (child < 0)
        fail("fork");
    if (!child) {
        become(task, files);
        error = errno;
        if (write(failure[1], &error, sizeof error) != sizeof error)
            _exit(73);
        _exit(74);
    }
    close(failure[1]);
    char line[128];
    if (read(failure[0], &error, sizeof error) == sizeof error) {
        waitpid(child, NULL, 0);
        snprintf(line, sizeof line, "failed %d", error);
    } else {
        snprintf(line, sizeof line, "%s", await(child, task, &watched));
    }
    snprintf(line + strlen(line), sizeof line - strlen(line), "\n%d\n%.3f\n", child, now() - started);
    write_result(number, "end", line, strlen(line));
}

#endif
