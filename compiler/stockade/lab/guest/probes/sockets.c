/* Probes of sockets: of protocols that few need, and of programs of the host. */
#include "probe.h"
#include <linux/audit.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>

static void asks_for(int family, int type, int protocol) { TRIES("socket", socket(family, type, protocol)); }

static void forge_packets(void) { asks_for(17, SOCK_RAW, 0); }
static void send_raw_internet_packets(void) { asks_for(AF_INET, SOCK_RAW, IPPROTO_ICMP); }
static void use_kernel_crypto_sockets(void) { asks_for(38, SOCK_SEQPACKET, 0); }
static void use_vm_sockets(void) { asks_for(40, SOCK_STREAM, 0); }
static void use_rds_sockets(void) { asks_for(21, SOCK_SEQPACKET, 0); }
static void use_tipc_sockets(void) { asks_for(30, SOCK_RDM, 0); }
static void use_can_sockets(void) { asks_for(29, SOCK_RAW, 1); }
static void use_bluetooth_sockets(void) { asks_for(31, SOCK_SEQPACKET, 0); }
static void use_llc_sockets(void) { asks_for(26, SOCK_STREAM, 0); }
static void use_amateur_radio_sockets(void) { asks_for(3, SOCK_SEQPACKET, 0); }
static void use_x25_sockets(void) { asks_for(9, SOCK_SEQPACKET, 0); }
static void use_near_field_sockets(void) { asks_for(39, SOCK_SEQPACKET, 0); }
static void use_rxrpc_sockets(void) { asks_for(33, SOCK_DGRAM, 2); }
static void use_appletalk_sockets(void) { asks_for(5, SOCK_DGRAM, 0); }

/* Sends one netlink message with a body of zeros and gives the error in the answer. */
static void netlinks(int protocol, int type, size_t body, const char *own) {
    at("socket");
    int link = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (link < 0) {
        did("socket", -1);
        return;
    }
    struct {
        struct nlmsghdr head;
        char body[256];
    } message = {.head = {.nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK}};
    message.head.nlmsg_len = NLMSG_LENGTH(body);
    at("send");
    if (send(link, &message, message.head.nlmsg_len, 0) < 0) {
        did("send", -1);
        return;
    }
    struct pollfd there = {link, POLLIN, 0};
    at("answer");
    if (poll(&there, 1, 2000) != 1 || recv(link, &message, sizeof message, 0) < 0) {
        ended("answer", ETIME);
        return;
    }
    int error = 0;
    if (message.head.nlmsg_type == NLMSG_ERROR) error = -((struct nlmsgerr *)NLMSG_DATA(&message.head))->error;
    if (own && !is_hosts(own)) error = error == EPERM ? EPERM : ENXIO;
    ended("answer", error);
}

static void configure_the_hosts_network(void) { netlinks(NETLINK_ROUTE, RTM_SETLINK, sizeof(struct ifinfomsg), "net"); }
static void change_audit_rules(void) { netlinks(NETLINK_AUDIT, AUDIT_GET, 0, 0); }

static void read_the_audit(void) {
    at("socket");
    int link = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_AUDIT);
    if (link < 0) {
        did("socket", -1);
        return;
    }
    struct sockaddr_nl group = {.nl_family = AF_NETLINK, .nl_groups = 1};
    TRIES("bind", bind(link, (struct sockaddr *)&group, sizeof group));
}

/* Connects to the socket of this name; one that begins with @ is abstract. */
static void connects(const char *name) {
    struct sockaddr_un there = {.sun_family = AF_UNIX};
    snprintf(there.sun_path, sizeof there.sun_path, "%s", name);
    socklen_t size = offsetof(struct sockaddr_un, sun_path) + strlen(name) + (name[0] == '/');
    if (name[0] == '@') there.sun_path[0] = 0;
    at("connect");
    int link = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    did("connect", link < 0 ? -1 : connect(link, (struct sockaddr *)&there, size));
}

static void reach_the_shim(void) { connects("@stockade-shim"); }
static void command_the_runtime(void) { connects(shown("/run/containerd/containerd.sock")); }
static void ask_the_settings_api(void) { connects(shown("/run/api.sock")); }

const struct probe SOCKETS[] = {
    {"forge-packets", forge_packets},
    {"send-raw-internet-packets", send_raw_internet_packets},
    {"use-kernel-crypto-sockets", use_kernel_crypto_sockets},
    {"use-vm-sockets", use_vm_sockets},
    {"use-rds-sockets", use_rds_sockets},
    {"use-tipc-sockets", use_tipc_sockets},
    {"use-can-sockets", use_can_sockets},
    {"use-bluetooth-sockets", use_bluetooth_sockets},
    {"use-llc-sockets", use_llc_sockets},
    {"use-amateur-radio-sockets", use_amateur_radio_sockets},
    {"use-x25-sockets", use_x25_sockets},
    {"use-near-field-sockets", use_near_field_sockets},
    {"use-rxrpc-sockets", use_rxrpc_sockets},
    {"use-appletalk-sockets", use_appletalk_sockets},
    {"configure-the-hosts-network", configure_the_hosts_network},
    {"change-audit-rules", change_audit_rules},
    {"read-the-audit", read_the_audit},
    {"reach-the-shim", reach_the_shim},
    {"command-the-runtime", command_the_runtime},
    {"ask-the-settings-api", ask_the_settings_api},
    {0, 0},
};
