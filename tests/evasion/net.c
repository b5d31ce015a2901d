// Reaching a server. One that is no agent listens on the technique's own port.
#include "evade.h"
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/io_uring.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/vm_sockets.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

static struct sockaddr_in *v4(void) {
    static struct sockaddr_in name;
    name = (struct sockaddr_in){AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}};
    return &name;
}
static struct sockaddr_in6 *v6(const char *text) {
    static struct sockaddr_in6 name;
    name = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
    inet_pton(AF_INET6, text, &name.sin6_addr);
    return &name;
}
static struct msghdr *message(void *name, size_t size) {
    static struct iovec data = {"hello", 5};
    static struct msghdr message;
    message = (struct msghdr){.msg_name = name, .msg_namelen = size, .msg_iov = &data, .msg_iovlen = 1};
    return &message;
}
static int tcp(void) { return socket(AF_INET, SOCK_STREAM, 0); }
static int udp(void) { return socket(AF_INET, SOCK_DGRAM, 0); }

static void connect_(void) { connect(tcp(), (void *)v4(), sizeof *v4()); }
static void nonblocking(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    connect(fd, (void *)v4(), sizeof *v4());
    usleep(50000);
}
static void connect_v6(void) { connect(socket(AF_INET6, SOCK_STREAM, 0), (void *)v6("::1"), sizeof *v6("::1")); }
static void mapped_v6(void) {
    void *name = v6("::ffff:127.0.0.1");
    connect(socket(AF_INET6, SOCK_STREAM, 0), name, sizeof(struct sockaddr_in6));
}
static void multipath(void) { connect(socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP), (void *)v4(), sizeof *v4()); }
static void fast_open(void) { sendto(tcp(), "hello", 5, MSG_FASTOPEN, (void *)v4(), sizeof *v4()); }
static void fast_open_connect(void) {
    int fd = tcp(), on = 1;
    NEED(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof on));
    connect(fd, (void *)v4(), sizeof *v4());
    write(fd, "hello", 5);
}
static void udp_connected(void) {
    int fd = udp();
    connect(fd, (void *)v4(), sizeof *v4());
    write(fd, "hello", 5);
}
static void udp_sendto(void) { sendto(udp(), "hello", 5, 0, (void *)v4(), sizeof *v4()); }
static void udp_sendmsg(void) { sendmsg(udp(), message(v4(), sizeof *v4()), 0); }
static void udp_sendmmsg(void) {
    struct mmsghdr one = {*message(v4(), sizeof *v4()), 0};
    sendmmsg(udp(), &one, 1, 0);
}
static void udp_v6(void) {
    void *name = v6("::1");
    sendto(socket(AF_INET6, SOCK_DGRAM, 0), "hello", 5, 0, name, sizeof(struct sockaddr_in6));
}
static void udp_mapped(void) {
    void *name = v6("::ffff:127.0.0.1");
    sendto(socket(AF_INET6, SOCK_DGRAM, 0), "hello", 5, 0, name, sizeof(struct sockaddr_in6));
}
static void raw(void) {
    // A UDP datagram made by hand.
    struct { struct udphdr head; char data[5]; } datagram = {.data = "hello"};
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_UDP);
    NEED(fd);
    datagram.head = (struct udphdr){.source = htons(9), .dest = htons(port), .len = htons(sizeof datagram)};
    sendto(fd, &datagram, sizeof datagram, 0, (void *)v4(), sizeof *v4());
}
static void packet(void) {
    // The same a layer lower.
    struct { struct iphdr ip; struct udphdr udp; char data[6]; } frame = {.data = "hello"};
    int fd = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_IP));
    NEED(fd);
    frame.ip = (struct iphdr){.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP,
                              .saddr = htonl(INADDR_LOOPBACK), .daddr = htonl(INADDR_LOOPBACK),
                              .tot_len = htons(sizeof frame)};
    uint32_t sum = 0;
    for (int n = 0; n < 10; n++) sum += ((uint16_t *)&frame.ip)[n];
    frame.ip.check = ~((sum & 0xffff) + (sum >> 16));
    frame.udp = (struct udphdr){.source = htons(9), .dest = htons(port),
                                .len = htons(sizeof frame - sizeof frame.ip)};
    struct sockaddr_ll name = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP),
                               .sll_ifindex = if_nametoindex("lo"), .sll_halen = 6};
    sendto(fd, &frame, sizeof frame, 0, (void *)&name, sizeof name);
}
static void ring_connect(void) { ring(IORING_OP_CONNECT, tcp(), v4(), 0, sizeof *v4(), 0); }
static void ring_connect_polled(void) { ring_polled(IORING_OP_CONNECT, tcp(), v4(), 0, sizeof *v4(), 0); }
static void ring_sendmsg(void) { ring(IORING_OP_SENDMSG, udp(), message(v4(), sizeof *v4()), 1, 0, 0); }
static void gate_connect(void) {
    struct { struct sockaddr_in name; uint32_t arguments[3]; } *at = (void *)low("........................................");
    at->name = *v4();
    at->arguments[0] = tcp();
    at->arguments[1] = (uintptr_t)&at->name;
    at->arguments[2] = sizeof at->name;
    gate32(102, 3, (long)at->arguments, 0, 0); // socketcall(SYS_CONNECT)
}
static void gate_sendto(void) {
    struct { struct sockaddr_in name; uint32_t arguments[6]; } *at = (void *)low("................................................");
    at->name = *v4();
    uint32_t arguments[6] = {udp(), (uintptr_t)low("hello"), 5, 0, (uintptr_t)&at->name, sizeof at->name};
    memcpy(at->arguments, arguments, sizeof arguments);
    gate32(102, 11, (long)at->arguments, 0, 0); // socketcall(SYS_SENDTO)
}
static struct sockaddr_un *local(void) {
    static struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof name.sun_path, "%s", unix_path());
    return &name;
}
static void unix_connect(void) { connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)local(), sizeof *local()); }
static void unix_through_link(void) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    NEED(symlink(unix_path(), scratch("way")));
    snprintf(name.sun_path, sizeof name.sun_path, "way");
    connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&name, sizeof name);
}
static void vsock(void) {
    struct sockaddr_vm name = {.svm_family = AF_VSOCK, .svm_cid = 1, .svm_port = port};
    int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
    NEED(fd);
    connect(fd, (void *)&name, sizeof name);
}
static void netlink(void) {
    struct { struct nlmsghdr head; struct rtgenmsg body; } request = {
        {.nlmsg_len = sizeof request, .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        {AF_PACKET}};
    int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    struct sockaddr_nl name = {.nl_family = AF_NETLINK};
    char answer[4096];
    sendto(fd, &request, sizeof request, 0, (void *)&name, sizeof name);
    claim(recv(fd, answer, sizeof answer, MSG_DONTWAIT) > 0);
}
static void listening(void) {
    struct sockaddr_in name = *v4();
    int fd = tcp();
    name.sin_port = htons(port + 2000);
    claim(bind(fd, (void *)&name, sizeof name) == 0 && listen(fd, 1) == 0);
}
static void listening_unbound(void) {
    // listen() takes a port by itself.
    claim(listen(tcp(), 1) == 0);
}
// By the policy one may bind to 127.0.0.2, and reach these ports at 127.0.0.1 or ::1 alone: what no address
// says is another one.
static int bound(int kind) {
    struct sockaddr_in name = {AF_INET, 0, {htonl(INADDR_LOOPBACK + 1)}};
    int fd = socket(AF_INET, kind, 0);
    NEED(bind(fd, (void *)&name, sizeof name));
    return fd;
}
static struct sockaddr_in *none(void) {
    struct sockaddr_in *name = v4();
    name->sin_addr.s_addr = INADDR_ANY;
    return name;
}
static void bound_to_none(void) { connect(bound(SOCK_STREAM), (void *)none(), sizeof *none()); }
static void bound_to_none_udp(void) { sendto(bound(SOCK_DGRAM), "hello", 5, 0, (void *)none(), sizeof *none()); }
static void bound_to_none_ring(void) { ring(IORING_OP_CONNECT, bound(SOCK_STREAM), none(), 0, sizeof *none(), 0); }
static int bound_v6(int kind) {
    struct sockaddr_in6 name = {.sin6_family = AF_INET6};
    int fd = socket(AF_INET6, kind, 0);
    inet_pton(AF_INET6, "::ffff:127.0.0.2", &name.sin6_addr);
    NEED(bind(fd, (void *)&name, sizeof name));
    return fd;
}
static void bound_to_none_mapped(void) {
    connect(bound_v6(SOCK_STREAM), (void *)v6("::ffff:0.0.0.0"), sizeof(struct sockaddr_in6));
}
static void bound_to_none_v6(void) { connect(bound_v6(SOCK_STREAM), (void *)v6("::"), sizeof(struct sockaddr_in6)); }
static void bound_to_none_v6_udp(void) {
    sendto(bound_v6(SOCK_DGRAM), "hello", 5, 0, (void *)v6("::"), sizeof(struct sockaddr_in6));
}
// The address that is sent from may come with the message.
static struct msghdr *from_another(void) {
    static char room[CMSG_SPACE(sizeof(struct in_pktinfo))];
    struct msghdr *one = message(none(), sizeof *none());
    one->msg_control = room;
    one->msg_controllen = sizeof room;
    struct cmsghdr *head = CMSG_FIRSTHDR(one);
    *head = (struct cmsghdr){.cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO, .cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo))};
    ((struct in_pktinfo *)CMSG_DATA(head))->ipi_spec_dst.s_addr = htonl(INADDR_LOOPBACK + 1);
    return one;
}
static void none_from_another(void) { sendmsg(udp(), from_another(), 0); }
static void none_from_another_by_ring(void) { ring(IORING_OP_SENDMSG, udp(), from_another(), 1, 0, 0); }
// The kernel asks about the first alone, which nobody waits for.
static void none_from_another_in_a_batch(void) {
    struct sockaddr_in own = {AF_INET, htons(port + 2500), {htonl(INADDR_LOOPBACK + 1)}};
    char bytes[8];
    int in = udp();
    NEED(bind(in, (void *)&own, sizeof own));
    struct mmsghdr two[2] = {{*from_another(), 0}, {*from_another(), 0}};
    two[0].msg_hdr.msg_controllen = 0;
    ((struct sockaddr_in *)two[0].msg_hdr.msg_name)->sin_port = own.sin_port;
    sendmmsg(udp(), two, 2, 0);
    claim(recv(in, bytes, sizeof bytes, MSG_DONTWAIT) > 0);
}
// All but TCP may.
static void multipath_is_tcp(void) { multipath(); }
static void thread(void) { in_thread(connect_); }
static void child(void) { in_child(udp_sendto); }
static void program(void) {
    char text[16];
    snprintf(text, sizeof text, "%d", port);
    char *words[] = {"nc", "-w", "1", "127.0.0.1", text, NULL};
    execv("/bin/nc", words);
}
static void new_namespace(void) {
    // Still in this network namespace: only the user's is new.
    NEED(unshare(CLONE_NEWUSER));
    connect_();
}

const struct technique net_techniques[] = {
    {"connect", connect_, HEARD, 1},
    {"connect_nonblocking", nonblocking, HEARD},
    {"connect_v6", connect_v6, HEARD},
    {"connect_mapped_v6", mapped_v6, HEARD},
    {"multipath", multipath, HEARD},
    {"fast_open", fast_open, HEARD, 1},
    {"fast_open_connect", fast_open_connect, HEARD},
    {"udp_connected", udp_connected, HEARD},
    {"udp_sendto", udp_sendto, HEARD, 1},
    {"udp_sendmsg", udp_sendmsg, HEARD},
    {"udp_sendmmsg", udp_sendmmsg, HEARD},
    {"udp_v6", udp_v6, HEARD},
    {"udp_mapped_v6", udp_mapped, HEARD},
    {"raw", raw, HEARD},
    {"packet", packet, HEARD},
    {"ring_connect", ring_connect, HEARD, 1},
    {"ring_connect_polled", ring_connect_polled, HEARD},
    {"ring_sendmsg", ring_sendmsg, HEARD},
    {"gate32_connect", gate_connect, HEARD},
    {"gate32_sendto", gate_sendto, HEARD},
    {"unix_connect", unix_connect, HEARD},
    {"unix_through_a_link", unix_through_link, HEARD},
    {"vsock", vsock, HEARD},
    {"netlink", netlink, CLAIMED},
    {"listening", listening, CLAIMED},
    {"listening_unbound", listening_unbound, CLAIMED},
    {"thread", thread, HEARD},
    {"child", child, HEARD},
    {"program", program, HEARD},
    {"user_namespace", new_namespace, HEARD},
    // Policies name the ports of these: they stand last, in this order.
    {"bound_to_none", bound_to_none, HEARD},
    {"bound_to_none_udp", bound_to_none_udp, HEARD},
    {"bound_to_none_ring", bound_to_none_ring, HEARD},
    {"bound_to_none_mapped", bound_to_none_mapped, HEARD},
    {"none_from_another", none_from_another, HEARD},
    {"none_from_another_by_ring", none_from_another_by_ring, HEARD},
    {"none_from_another_in_a_batch", none_from_another_in_a_batch, CLAIMED},
    {"bound_to_none_v6", bound_to_none_v6, HEARD},
    {"bound_to_none_v6_udp", bound_to_none_v6_udp, HEARD},
    {"multipath_is_tcp", multipath_is_tcp, HEARD},
    {0},
};
