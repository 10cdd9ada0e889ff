/* The launcher of one container type: hands harmless verbs to the runtime, and all others to the wrapper.
 *
 * It is what containerd starts, several times in a container's life, so it does nothing else, needs no library, and
 * looks at nothing in the environment. What an installation fixed is compiled in: RUNTIME, PYTHON, START and SETTINGS.
 */
#define _POSIX_C_SOURCE 200809L
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const char *const handed_on[] = {"start",  "kill",  "delete", "state", "features", "events", "pause",
                                        "resume", "ps",    "checkpoint", "list", "spec",  "help",   0};
static const char *const valued[] = {"log", "log-format", "log-level", "root", "criu", "rootless", "cgroup-manager", 0};
static const char *const flags[] = {"debug", "systemd-cgroup", "help", "h", "version", "v", 0};
static const char *const settings[] = {SETTINGS, 0};

static int listed(const char *word, size_t length, const char *const *list) {
    for (; *list; list++)
        if (strlen(*list) == length && !memcmp(word, *list, length)) return 1;
    return 0;
}

/* Nothing that would change how a program is loaded or what an interpreter runs. */
static int misleads(const char *entry) {
    static const char *const prefixes[] = {"LD_", "PYTHON", "GCONV_PATH=", "GLIBC_TUNABLES=", "MALLOC_", 0};
    for (const char *const *prefix = prefixes; *prefix; prefix++)
        if (!strncmp(entry, *prefix, strlen(*prefix))) return 1;
    return 0;
}

static void say(const char *log, const char *text) {
    static const char before[] = "{\"level\":\"error\",\"msg\":\"stockade: ", after[] = "\"}\n";
    if (write(2, text, strlen(text)) < 0 || write(2, "\n", 1) < 0) { /* there is nobody else to tell */
    }
    int file = log ? open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;
    if (file >= 0 && (write(file, before, sizeof before - 1) < 0 || write(file, text, strlen(text)) < 0 ||
                      write(file, after, sizeof after - 1) < 0))
        close(file);
}

int main(int count, char **arguments, char **environment) {
    const char *verb = 0, *log = 0;
    int understood = 1;
    for (int at = 1; at < count && !verb && understood; at++) {
        const char *word = arguments[at];
        if (word[0] != '-') {
            verb = word;
            break;
        }
        word += word[1] == '-' ? 2 : 1;
        const char *equals = strchr(word, '=');
        size_t length = equals ? (size_t)(equals - word) : strlen(word);
        if (listed(word, length, valued)) {
            const char *value = equals ? equals + 1 : at + 1 < count ? arguments[++at] : 0;
            if (length == 3) log = value; /* of the options with a value, "log" alone has three letters */
        } else if (!listed(word, length, flags)) {
            understood = 0;
        }
    }
    char **kept = environment;
    for (char **entry = environment; *entry; entry++)
        if (!misleads(*entry)) *kept++ = *entry;
    *kept = 0;
    if (understood && (!verb || listed(verb, strlen(verb), handed_on))) {
        arguments[0] = (char *)RUNTIME;
        execve(RUNTIME, arguments, environment);
        say(log, "the runtime " RUNTIME " does not start");
        return 1;
    }
    enum { fixed = sizeof settings / sizeof *settings - 1, before = 5 };
    char *command[before + fixed + count + 1];
    command[0] = (char *)PYTHON;
    command[1] = (char *)"-I";
    command[2] = (char *)"-S";
    command[3] = (char *)"-B";
    command[4] = (char *)START;
    memcpy(command + before, settings, fixed * sizeof *command);
    command[before + fixed] = (char *)"--";
    memcpy(command + before + fixed + 1, arguments + 1, (size_t)count * sizeof *command); /* with the null at the end */
    execve(PYTHON, command, environment);
    say(log, "policy denied: the wrapper's interpreter " PYTHON " does not start");
    return 1;
}
