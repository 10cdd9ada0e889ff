/* The launcher of one container type: hands harmless verbs to the runtime, and all others to the wrapper.
 *
 * It is what containerd starts, several times in a container's life, so it does nothing else and looks at nothing in the
 * environment. What an installation fixed is compiled in: RUNTIME, PYTHON, START and SETTINGS. It is linked with no
 * library at all: the start of a C library asks the processor for its features, which in a virtual machine takes longer
 * than everything here.
 */
#include <asm/unistd.h>
#include <linux/fcntl.h>

#if defined(__x86_64__)
__asm__(".globl _start\n_start: xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call begin\n hlt\n");

static long call(long number, long one, long two, long three, long four) {
    register long fourth __asm__("r10") = four;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(one), "S"(two), "d"(three), "r"(fourth)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
__asm__(".globl _start\n_start: mov x29, #0\n mov x30, #0\n mov x0, sp\n bl begin\n brk #1\n");

static long call(long number, long one, long two, long three, long four) {
    register long said __asm__("x8") = number;
    register long first __asm__("x0") = one, second __asm__("x1") = two, third __asm__("x2") = three;
    register long fourth __asm__("x3") = four;
    __asm__ volatile("svc #0" : "+r"(first) : "r"(said), "r"(second), "r"(third), "r"(fourth) : "memory");
    return first;
}
#else
#error "there are container types for x86_64 and aarch64 alone"
#endif

static const char *const handed_on[] = {"start",  "kill",  "delete", "state", "features", "events", "pause",
                                        "resume", "ps",    "checkpoint", "list", "spec",  "help",   0};
static const char *const valued[] = {"log", "log-format", "log-level", "root", "criu", "rootless", "cgroup-manager", 0};
static const char *const flags[] = {"debug", "systemd-cgroup", "help", "h", "version", "v", 0};
static const char *const settings[] = {SETTINGS, 0};

static unsigned long length_of(const char *text) {
    unsigned long length = 0;
    while (text[length]) length++;
    return length;
}

/* Whether `text` begins with the `length` characters of `word`. */
static int begins(const char *text, const char *word, unsigned long length) {
    for (unsigned long at = 0; at < length; at++)
        if (text[at] != word[at]) return 0;
    return 1;
}

static int listed(const char *word, unsigned long length, const char *const *list) {
    for (; *list; list++)
        if (begins(*list, word, length) && !(*list)[length]) return 1;
    return 0;
}

/* Nothing that would change how a program is loaded or what an interpreter runs. */
static int misleads(const char *entry) {
    static const char *const prefixes[] = {"LD_", "PYTHON", "GCONV_PATH=", "GLIBC_TUNABLES=", "MALLOC_", 0};
    for (const char *const *prefix = prefixes; *prefix; prefix++)
        if (begins(entry, *prefix, length_of(*prefix))) return 1;
    return 0;
}

static void write_to(long file, const char *text) {
    call(__NR_write, file, (long)text, (long)length_of(text), 0); /* where it fails there is nobody else to tell */
}

static void say(const char *log, const char *text) {
    write_to(2, text);
    write_to(2, "\n");
    long file = log ? call(__NR_openat, AT_FDCWD, (long)log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;
    if (file < 0) return;
    write_to(file, "{\"level\":\"error\",\"msg\":\"stockade: ");
    write_to(file, text);
    write_to(file, "\"}\n");
}

static int launch(long count, char **arguments, char **environment) {
    const char *verb = 0, *log = 0;
    int understood = 1;
    for (long at = 1; at < count && !verb && understood; at++) {
        const char *word = arguments[at];
        if (word[0] != '-') {
            verb = word;
            break;
        }
        word += word[1] == '-' ? 2 : 1;
        unsigned long length = 0;
        while (word[length] && word[length] != '=') length++;
        const char *equals = word[length] ? word + length : 0;
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
    if (understood && (!verb || listed(verb, length_of(verb), handed_on))) {
        arguments[0] = (char *)RUNTIME;
        call(__NR_execve, (long)RUNTIME, (long)arguments, (long)environment, 0);
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
    for (long at = 0; at < fixed; at++) command[before + at] = (char *)settings[at];
    command[before + fixed] = (char *)"--";
    for (long at = 1; at <= count; at++) command[before + fixed + at] = arguments[at]; /* with the null at the end */
    call(__NR_execve, (long)PYTHON, (long)command, (long)environment, 0);
    say(log, "policy denied: the wrapper's interpreter " PYTHON " does not start");
    return 1;
}

/* What the kernel left on the stack: how many arguments, the arguments, null, the environment, null. */
__attribute__((used, noreturn)) static void begin(long *stack) {
    char **arguments = (char **)(stack + 1);
    long count = stack[0]; /* older kernels start a program without even its name; it would be written over the null */
    call(__NR_exit_group, count < 1 ? 1 : launch(count, arguments, arguments + count + 1), 0, 0, 0);
    for (;;) /* there is no way back */
        ;
}
