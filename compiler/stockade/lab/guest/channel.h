/* What PID 1 tells the host: framed records on the second console, each with the kernel's log up to it. */
#ifndef STOCKADE_LAB_CHANNEL_H
#define STOCKADE_LAB_CHANNEL_H

#include "common.h"
#include <linux/audit.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>
#include <termios.h>

static int channel = -1, kernel_log = -1, audit_socket = -1;

static inline void open_channel(void)
{
    struct termios form;
    channel = open("/dev/tty1", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (channel < 0 || tcgetattr(channel, &form))
        fail("open /dev/tty1");
    cfmakeraw(&form);
    if (tcsetattr(channel, TCSANOW, &form))
        fail("raw /dev/tty1");
}

static inline void tell_all(const char *data, size_t length)
{
    while (length) {
        ssize_t wrote = write(channel, data, length);
        if (wrote <= 0)
            fail("tell");
        data += wrote;
        length -= wrote;
    }
}

/* A record: "NAME NUMBER LENGTH", a line break, the bytes, a line break. */
static inline void tell(const char *name, long number, const char *data, size_t length)
{
    char head[128];
    int size = snprintf(head, sizeof head, "%s %ld %zu\n", name, number, length);
    tell_all(head, size);
    tell_all(data, length);
    tell_all("\n", 1);
}

static inline void tell_text(const char *name, long number, const char *text)
{
    tell(name, number, text, strlen(text));
}

static inline void open_kernel_log(void)
{
    kernel_log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    audit_socket = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_AUDIT);
    if (kernel_log < 0 || audit_socket < 0)
        fail("the kernel's log");
}

/* A record of our own behind all that the kernel's audit queue holds now. */
static inline void put_marker(const char *marker)
{
    struct {
        struct nlmsghdr head;
        char text[64];
    } message = {{0}, {0}};
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    size_t length = snprintf(message.text, sizeof message.text, "%s", marker) + 1;
    message.head.nlmsg_len = NLMSG_LENGTH(length);
    message.head.nlmsg_type = AUDIT_USER_AVC; /* the one kind that is kept while auditing is off */
    message.head.nlmsg_flags = NLM_F_REQUEST;
    if (sendto(audit_socket, &message, message.head.nlmsg_len, 0, (void *)&kernel, sizeof kernel) < 0)
        fail("audit");
}

/* Tells the kernel's log since the last time, all that happened until now included: the audit thread is waited for. */
static inline void tell_kernel_log(long number)
{
    static long markers;
    size_t length = 0, room = 1 << 16;
    char *text = claim(room), marker[64];
    int seen = 0;
    snprintf(marker, sizeof marker, "stockade-lab-marker %ld.", ++markers);
    put_marker(marker);
    for (int waits = 0; !seen;) {
        if (room - length < 8192 && !(text = realloc(text, room *= 2)))
            fail("memory for the kernel's log");
        ssize_t got = read(kernel_log, text + length, room - length - 1);
        if (got > 0) {
            text[length + got] = 0;
            seen = strstr(text + length, marker) != NULL;
            length += got;
            continue;
        }
        if (got < 0 && errno == EPIPE) {
            tell_text("lost", number, "the kernel's log was overwritten");
            continue;
        }
        if (got < 0 && errno != EAGAIN && errno != EINTR)
            fail("read /dev/kmsg");
        if (++waits > 500) {
            tell_text("lost", number, "the kernel's audit thread did not catch up");
            break;
        }
        poll(&(struct pollfd){.fd = kernel_log, .events = POLLIN}, 1, 10);
    }
    tell("log", number, text, length);
    free(text);
}

#endif
