// Reaching an address that is denied by what says another one. The server hears on all of 127.0.0.0/8; a technique may
// reach 127.0.0.1, and not 127.0.0.7.
#include "evade.h"
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>

static const uint32_t allowed = 0x7f000001, denied = 0x7f000007;

static struct sockaddr_in to(uint32_t address) {
    return (struct sockaddr_in){AF_INET, htons(port), {htonl(address)}};
}
static struct sockaddr_in6 to6(const char *text) {
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    inet_pton(AF_INET6, text, &name.sin6_addr);
    return name;
}

// A message with something beside it.
static void send_with(int fd, void *name, size_t size, int level, int type, const void *data, size_t length) {
    char room[256] = {0};
    struct iovec bytes = {"hello", 5};
    struct msghdr message = {.msg_name = name, .msg_namelen = size, .msg_iov = &bytes, .msg_iovlen = 1,
                             .msg_control = room, .msg_controllen = CMSG_SPACE(length)};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    *head = (struct cmsghdr){.cmsg_level = level, .cmsg_type = type, .cmsg_len = CMSG_LEN(length)};
    memcpy(CMSG_DATA(head), data, length);
    sendmsg(fd, &message, 0);
}

static void from_there_to_none(void) {
    struct sockaddr_in none = to(INADDR_ANY);
    struct in_pktinfo info = {.ipi_spec_dst = {htonl(denied)}};
    send_with(socket(AF_INET, SOCK_DGRAM, 0), &none, sizeof none, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
}
static void from_there_to_none_mapped(void) {
    struct sockaddr_in6 none = to6("::ffff:0.0.0.0");
    struct in6_pktinfo info = {0};
    inet_pton(AF_INET6, "::ffff:127.0.0.7", &info.ipi6_addr);
    send_with(socket(AF_INET6, SOCK_DGRAM, 0), &none, sizeof none, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
}

// Whether a packet for the denied address comes by.
static int listening_to_all(void) {
    int fd = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_IP));
    struct timeval wait = {0, 300000};
    NEED(fd);
    NEED(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait));
    return fd;
}
static void claim_seen(int fd) {
    struct { struct iphdr ip; char rest[2048]; } seen;
    while (recv(fd, &seen, sizeof seen, 0) > 0)
        if (seen.ip.daddr == htonl(denied) && seen.ip.protocol == IPPROTO_UDP) claim(1);
}
// Loose source route: by way of the denied address.
static const unsigned char route[] = {IPOPT_NOP, IPOPT_LSRR, 7, 4, 127, 0, 0, 7};

static void routed_by_option(void) {
    int all = listening_to_all(), fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in name = to(allowed);
    setsockopt(fd, IPPROTO_IP, IP_OPTIONS, route, sizeof route);
    sendto(fd, "hello", 5, 0, (void *)&name, sizeof name);
    claim_seen(all);
}
static void routed_by_message(void) {
    int all = listening_to_all();
    struct sockaddr_in name = to(allowed);
    send_with(socket(AF_INET, SOCK_DGRAM, 0), &name, sizeof name, IPPROTO_IP, IP_RETOPTS, route, sizeof route);
    claim_seen(all);
}

// A datagram made by hand.
struct datagram { struct iphdr ip; struct udphdr udp; char data[6]; };
static struct datagram by_hand(uint32_t address) {
    struct datagram made = {.data = "hello"};
    made.ip = (struct iphdr){.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP,
                             .saddr = htonl(INADDR_LOOPBACK), .daddr = htonl(address), .tot_len = htons(sizeof made)};
    uint32_t sum = 0;
    for (int n = 0; n < 10; n++) sum += ((uint16_t *)&made.ip)[n];
    made.ip.check = ~((sum & 0xffff) + (sum >> 16));
    made.udp = (struct udphdr){.source = htons(9), .dest = htons(port), .len = htons(sizeof made - sizeof made.ip)};
    return made;
}
static void raw_port(void) {
    // The address that is given names no port.
    struct datagram made = by_hand(denied);
    struct sockaddr_in name = {AF_INET, 0, {htonl(denied)}};
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_UDP);
    NEED(fd);
    sendto(fd, &made.udp, sizeof made - sizeof made.ip, 0, (void *)&name, sizeof name);
}
static void raw_header(void) {
    struct datagram made = by_hand(denied);
    struct sockaddr_in name = {AF_INET, 0, {htonl(allowed)}};
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
    NEED(fd);
    sendto(fd, &made, sizeof made, 0, (void *)&name, sizeof name);
}
static void raw_header_by_option(void) {
    struct datagram made = by_hand(denied);
    struct sockaddr_in name = {AF_INET, 0, {htonl(allowed)}};
    int on = 1, fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    NEED(fd);
    setsockopt(fd, IPPROTO_IP, IP_HDRINCL, &on, sizeof on);
    sendto(fd, &made, sizeof made, 0, (void *)&name, sizeof name);
}
static void raw_without_family(void) {
    // The kernel sums the datagram up.
    struct { struct udphdr head; char data[5]; } made = {.data = "hello"};
    struct sockaddr_in6 name = to6("::1");
    int at = 6, fd = socket(AF_INET6, SOCK_RAW, IPPROTO_UDP);
    NEED(fd);
    NEED(setsockopt(fd, IPPROTO_IPV6, IPV6_CHECKSUM, &at, sizeof at));
    made.head = (struct udphdr){.source = htons(9), .dest = htons(port), .len = htons(sizeof made)};
    name.sin6_family = AF_UNSPEC;
    name.sin6_port = 0;
    sendto(fd, &made, sizeof made, 0, (void *)&name, sizeof name);
}
static void packet(void) {
    struct datagram made = by_hand(denied);
    int fd = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_IP));
    NEED(fd);
    struct sockaddr_ll name = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP),
                               .sll_ifindex = if_nametoindex("lo"), .sll_halen = 6};
    sendto(fd, &made, sizeof made, 0, (void *)&name, sizeof name);
}

const struct technique way_techniques[] = {
    {"from_there_to_none", from_there_to_none, HEARD, 1},
    {"from_there_to_none_mapped", from_there_to_none_mapped, HEARD},
    {"routed_by_option", routed_by_option, CLAIMED},
    {"routed_by_message", routed_by_message, CLAIMED},
    {"raw_port", raw_port, HEARD, 1},
    {"raw_header", raw_header, HEARD},
    {"raw_header_by_option", raw_header_by_option, HEARD},
    {"raw_without_family", raw_without_family, HEARD},
    {"packet_to_another", packet, HEARD},
    {0},
};
