/* PID 1 of the guest host, the runner of its tasks, and the few tools that tests need on a root without a shell.
 * Which of them is said by the first argument; which label, by the name under which the policy knows the file. */
#include "channel.h"
#include "tasks.h"
#include "tools.h"
#include "verity.h"
#include <dirent.h>
#include <net/if.h>
#include <sys/prctl.h>
#include <sys/un.h>

#define SELF "/usr/lib/systemd/systemd"
#define CONTRACT "/usr/share/stockade"

static void label_next(const char *label)
{
    if (*label) /* a label the policy does not know would be taken too, by force of CAP_MAC_ADMIN: so it is asked */
        must_put("/sys/fs/selinux/context", label, strlen(label) + 1);
    must_put("/proc/self/attr/fscreate", label, *label ? strlen(label) : 1);
}

static void load_policy(void)
{
    DIR *folder = opendir(CONTRACT "/host");
    struct dirent *entry;
    char path[512] = "";
    if (!folder)
        fail("open " CONTRACT "/host");
    while ((entry = readdir(folder)))
        if (!strncmp(entry->d_name, "policy.", 7) && entry->d_name[7] >= '0' && entry->d_name[7] <= '9')
            snprintf(path, sizeof path, CONTRACT "/host/%s", entry->d_name);
    closedir(folder);
    struct bytes policy = must_slurp(path);
    must_put("/sys/fs/selinux/load", policy.data, policy.length);
}

/* Lines of the image's own table: KIND, PATH, TYPE or label, options; host/contract.py makes it from the bundle. */
static void furnish(void)
{
    char *lines = must_slurp(CONTRACT "/lab/furnish").data;
    for (char *line = strtok(lines, "\n"); line; line = strtok(NULL, "\n")) {
        char *field[4] = {line, "", "", ""};
        for (int number = 1; number < 4; number++) {
            char *tab = strchr(field[number - 1], '\t');
            if (!tab)
                break;
            *tab = 0;
            field[number] = tab + 1;
        }
        parents(field[1]);
        if (!strcmp(field[0], "mount") || !strcmp(field[0], "volume")) {
            if (mkdir(field[1], 0755) && errno != EEXIST && errno != EROFS)
                fail("mkdir %s", field[1]);
            must_mount(field[2], field[1], field[2], *field[0] == 'm' ? MS_NOSUID | MS_NODEV : 0, field[3]);
        } else if (!strcmp(field[0], "folder")) {
            label_next(field[2]);
            if (mkdir(field[1], 0755) && errno != EEXIST)
                fail("mkdir %s", field[1]);
        } else {
            label_next("");
            if (symlink(field[2], field[1]) && errno != EEXIST)
                fail("link %s", field[1]);
        }
    }
    label_next("");
}

static void lay(const struct item *item)
{
    parents(item->path);
    label_next(item->label);
    if (*item->kind == 'd') {
        if (mkdir(item->path, item->mode) && errno != EEXIST)
            fail("mkdir %s", item->path);
    } else if (*item->kind == 'l') {
        if (symlink(item->data.data, item->path))
            fail("link %s", item->path);
    } else if (*item->kind == 's') {
        if (mknod(item->path, S_IFSOCK | 0600, 0))
            fail("make the socket %s", item->path);
    } else {
        int file = open(item->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        for (size_t at = 0; file >= 0 && at < item->data.length;) {
            ssize_t wrote = write(file, item->data.data + at, item->data.length - at);
            if (wrote <= 0)
                fail("write %s", item->path);
            at += wrote;
        }
        if (file < 0 || close(file))
            fail("make %s", item->path);
    }
    if (*item->kind != 'l' && chmod(item->path, item->mode))
        fail("chmod %s", item->path);
    label_next("");
}

static void control_groups(void)
{
    char *names = must_slurp("/sys/fs/cgroup/cgroup.controllers").data;
    for (char *name = strtok(names, " \n"); name; name = strtok(NULL, " \n")) {
        char word[64];
        must_put("/sys/fs/cgroup/cgroup.subtree_control", word, snprintf(word, sizeof word, "+%s", name));
    }
}

static void loopback(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (any < 0 || ioctl(any, SIOCSIFFLAGS, &request))
        fail("bring up lo");
    close(any);
}

static void tell_task(long number)
{
    static const char *const parts[] = {"end", "out", "err"};
    for (int part = 0; part < 3; part++) {
        struct bytes all = slurp(result_path(number, parts[part]));
        if (all.data)
            tell(parts[part], number, all.data, all.length);
        free(all.data);
    }
    tell_kernel_log(number);
}

/* Starts the process that runs a task: in its own label, except where PID 1 itself is asked to. */
static pid_t start_runner(const struct plan *plan, long number)
{
    const char *by = plan->task[number].by;
    char text[32];
    sigset_t stopping;
    sigemptyset(&stopping);
    sigaddset(&stopping, SIGTERM);
    sigprocmask(SIG_BLOCK, &stopping, NULL); /* kept for the runner, who may be told before it listens */
    pid_t runner = fork();
    if (runner < 0)
        fail("fork");
    if (runner) {
        sigprocmask(SIG_UNBLOCK, &stopping, NULL);
        return runner;
    }
    snprintf(text, sizeof text, "%ld", number);
    if (!strcmp(by, "system"))
        execl("/usr/libexec/stockade-lab", "stockade-lab", "task", text, NULL);
    else if (!strcmp(by, "runtime"))
        execl("/usr/bin/containerd-lab", "containerd-lab", "task", text, NULL);
    else {
        run_task(plan, number);
        _exit(0);
    }
    fail("run task %ld", number);
}

static void await_runner(pid_t runner)
{
    int status;
    pid_t ended;
    while ((ended = wait(&status)) != runner)
        if (ended < 0 && errno != EINTR)
            return;
}

/* Runs the tasks of one time: before the policy is enforced, or after. */
static void run_tasks(const struct plan *plan, int early)
{
    pid_t *background = claim(plan->tasks * sizeof *background);
    for (long number = 0; number < plan->tasks; number++) {
        if ((strcmp(plan->task[number].by, "kernel") == 0) != early)
            continue;
        pid_t runner = start_runner(plan, number);
        if (plan->task[number].background) {
            background[number] = runner;
            continue;
        }
        await_runner(runner);
        tell_task(number);
    }
    for (long number = plan->tasks - 1; number >= 0; number--)
        if (background[number]) {
            kill(background[number], SIGTERM);
            await_runner(background[number]);
            tell_task(number);
        }
    free(background);
}

static void load(void)
{
    reopen_console();
    static const char *const mounts[][3] = {{"sysfs", "/sys"},
                                            {"securityfs", "/sys/kernel/security"},
                                            {"selinuxfs", "/sys/fs/selinux"},
                                            {"cgroup2", "/sys/fs/cgroup"}};
    for (int number = 0; number < 4; number++)
        must_mount(mounts[number][0], mounts[number][1], mounts[number][0], MS_NOSUID | MS_NOEXEC, NULL);
    must_put("/proc/sys/kernel/printk_ratelimit", "0\n", 2); /* every denial must reach the log */
    must_put("/proc/sys/kernel/printk_devkmsg", "on\n", 3);
    load_policy();
    furnish();
    control_groups();
    loopback();
    sethostname("stockade", 8);
    if (mkdir(PLACE, 01777))
        fail("mkdir " PLACE);
    struct bytes image = must_slurp("/dev/ubdb");
    int file = open(PLACE "/plan", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0 || write(file, image.data, image.length) != (ssize_t)image.length)
        fail("write the plan");
    close(file);
    struct plan plan = read_plan(PLACE "/plan");
    for (long number = 0; number < plan.items; number++)
        lay(&plan.item[number]);
    open_channel();
    open_kernel_log();
    tell_kernel_log(-1);
    run_tasks(&plan, 1);
    close(channel);
    if (plan.enforce)
        must_put("/sys/fs/selinux/enforce", "1", 1);
    execl(SELF, "init", "serve", NULL);
    fail("exec init");
}

static void tell_state(const char *when)
{
    struct bytes mode = slurp("/sys/fs/selinux/enforce");
    struct bytes label = slurp("/proc/self/attr/current");
    char line[512];
    snprintf(line, sizeof line, "%s\n%s\n%s\n", when, mode.data ? mode.data : "?", label.data ? label.data : "?");
    tell_text("state", -1, line);
}

/* containerd in its own label, its words in a file of its own; answers when its socket does. */
static pid_t start_containerd(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/run/containerd/containerd.sock"};
    pid_t daemon = fork();
    if (!daemon) {
        execl("/usr/bin/containerd-lab", "containerd-lab", "containerd", NULL);
        _exit(75);
    }
    for (int waits = 0; waits < 3000; waits++) {
        int any = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int refused = connect(any, (void *)&address, sizeof address);
        close(any);
        if (!refused)
            return daemon;
        if (waitpid(daemon, NULL, WNOHANG) == daemon)
            break;
        usleep(10000);
    }
    tell_text("lost", -1, "containerd does not answer");
    return 0;
}

static void serve(void)
{
    reopen_console();
    open_channel();
    open_kernel_log(); /* from its beginning again: records have numbers, and the host knows which it has seen */
    struct plan plan = read_plan(PLACE "/plan");
    tell_text("verity", -1, verity_table("root"));
    tell_state("first");
    pid_t daemon = plan.containerd ? start_containerd() : 0;
    tell_kernel_log(-2);
    run_tasks(&plan, 0);
    if (daemon) {
        kill(daemon, SIGTERM);
        await_runner(daemon);
    }
    struct bytes words = slurp(PLACE "/containerd.log");
    if (words.data)
        tell("containerd", -1, words.data, words.length);
    tell_kernel_log(-3);
    tell_state("last");
    tell_text("over", -1, "");
    tcdrain(channel);
    usleep(20000);
    reboot(LINUX_REBOOT_CMD_POWER_OFF);
    fail("power off");
}

/* Stands before containerd in its own label, so that containerd's standard output is a file it may write. */
static void become_containerd(void)
{
    int file = open(PLACE "/containerd.log", O_WRONLY | O_CREAT | O_APPEND, 0644);
    int null = open("/dev/null", O_RDONLY);
    if (file < 0 || null < 0 || dup2(null, 0) < 0 || dup2(file, 1) < 0 || dup2(file, 2) < 0)
        _exit(76);
    setenv("PATH", "/usr/bin:/usr/sbin", 1);
    setsid();
    execl("/usr/bin/containerd", "containerd", "--log-level", "info", NULL);
    fail("exec containerd");
}

int main(int count, char **arguments)
{
    const char *role = count > 1 ? arguments[1] : "";
    if (getpid() == 1 && !strcmp(role, "load"))
        load();
    else if (getpid() == 1 && !strcmp(role, "serve"))
        serve();
    else if (count == 3 && !strcmp(role, "task")) {
        struct plan plan = read_plan(PLACE "/plan");
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        run_task(&plan, atol(arguments[2]));
        return 0;
    } else if (!strcmp(role, "containerd"))
        become_containerd();
    return use_tool(count - 1, arguments + 1);
}
