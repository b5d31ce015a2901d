/*
 * A name server, and who asks it, for answers.sh.
 *   answers serve ADDRESS NAME=ADDRESS…   answers what it is asked, until it is ended
 *   answers ask SERVER NAME               prints the first address
 *   answers connect ADDRESS PORT          prints "connected", or the errno
 *   answers apart SERVER NAME ADDRESS     asks a server of its own, in a network namespace of its own
 *   answers forge SERVER NAME ADDRESS     sends itself an answer as if by the server, over a raw socket
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static struct sockaddr_in at(const char *address, int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	if (inet_pton(AF_INET, address, &to.sin_addr) != 1)
		exit(2);
	return to;
}

/* A name as messages hold it; its length. */
static int put_name(unsigned char *to, const char *name)
{
	int len = 0;
	while (*name) {
		int label = strcspn(name, ".");
		to[len++] = label;
		memcpy(to + len, name, label);
		len += label;
		name += label + (name[label] == '.');
	}
	to[len++] = 0;
	return len;
}

static int question(unsigned char *message, const char *name)
{
	static const unsigned char header[12] = { 0x12, 0x34, 1, 0, 0, 1 };
	memcpy(message, header, 12);
	int len = 12 + put_name(message + 12, name);
	memcpy(message + len, "\0\1\0\1", 4);
	return len + 4;
}

/* Makes a question of `len` bytes its answer: an alias, then the address. */
static int answer(unsigned char *message, int len, const char *address)
{
	static const unsigned char alias[] = { 0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 7, 3, 'c', 'd', 'n', 1, 'x', 0 };
	static const unsigned char record[] = { 3, 'c', 'd', 'n', 1, 'x', 0, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4 };
	message[2] = 0x81, message[3] = 0x80;
	message[7] = 2;
	message[10] = message[11] = 0;
	memcpy(message + len, alias, sizeof alias);
	len += sizeof alias;
	memcpy(message + len, record, sizeof record);
	len += sizeof record;
	inet_pton(AF_INET, address, message + len);
	return len + 4;
}

static int serve(char **arguments)
{
	struct sockaddr_in own = at(arguments[0], 53), from;
	int server = socket(AF_INET, SOCK_DGRAM, 0);
	if (bind(server, (void *)&own, sizeof own))
		return perror("bind"), 1;
	for (;;) {
		unsigned char message[600];
		socklen_t room = sizeof from;
		int len = recvfrom(server, message, 512, 0, (void *)&from, &room);
		if (len < 17)
			continue;
		for (char **each = arguments + 1; *each; each++) {
			unsigned char name[256];
			char text[256];
			snprintf(text, sizeof text, "%.*s", (int)strcspn(*each, "="), *each);
			int long_ = put_name(name, text), asked = 12;
			while (asked < len && message[asked])
				asked += 1 + message[asked];
			if (asked + 5 > len || asked + 1 - 12 != long_ || strncasecmp((char *)name, (char *)message + 12, long_))
				continue;
			/* Without what may follow the question. */
			len = answer(message, asked + 5, strchr(*each, '=') + 1);
			sendto(server, message, len, 0, (void *)&from, room);
			break;
		}
	}
}

static int told(int sock, int wait)
{
	unsigned char message[600];
	struct timeval patience = { .tv_sec = wait };
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	int len = recv(sock, message, sizeof message, 0);
	if (len < 20)
		return printf("no answer\n"), 1;
	printf("%d.%d.%d.%d\n", message[len - 4], message[len - 3], message[len - 2], message[len - 1]);
	return 0;
}

static int ask(char **arguments)
{
	struct sockaddr_in to = at(arguments[0], 53);
	unsigned char message[300];
	int sock = socket(AF_INET, SOCK_DGRAM, 0), len = question(message, arguments[1]);
	if (sendto(sock, message, len, 0, (void *)&to, sizeof to) != len)
		return printf("not sent: %d\n", errno), 1;
	return told(sock, 3);
}

static int reach(char **arguments)
{
	struct sockaddr_in to = at(arguments[0], atoi(arguments[1]));
	int sock = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(sock, (void *)&to, sizeof to) && errno != ECONNREFUSED)
		return printf("%d\n", errno), 1;
	printf("connected\n");
	return 0;
}

static int apart(char **arguments)
{
	struct ifreq loopback = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	char given[300], *serving[] = { arguments[0], given, NULL };
	if (unshare(CLONE_NEWNET))
		return printf("no namespace: %d\n", errno), 1;
	ioctl(socket(AF_INET, SOCK_DGRAM, 0), SIOCSIFFLAGS, &loopback);
	snprintf(given, sizeof given, "%s=%s", arguments[1], arguments[2]);
	int server = fork();
	if (!server)
		_exit(serve(serving));
	usleep(500000);
	int failed = ask(arguments);
	kill(server, SIGKILL);
	return failed;
}

static int forge(char **arguments)
{
	unsigned char packet[600] = { 0 };
	struct iphdr *ip = (void *)packet;
	struct udphdr *udp = (void *)(packet + 20);
	struct sockaddr_in own = at("127.0.0.1", 0);
	socklen_t room = sizeof own;
	int sock = socket(AF_INET, SOCK_DGRAM, 0), raw = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	bind(sock, (void *)&own, sizeof own);
	getsockname(sock, (void *)&own, &room);
	int len = answer(packet + 28, question(packet + 28, arguments[1]), arguments[2]);
	*ip = (struct iphdr) { .ihl = 5, .version = 4, .ttl = 64, .protocol = IPPROTO_UDP, .tot_len = htons(28 + len) };
	ip->saddr = at(arguments[0], 0).sin_addr.s_addr;
	ip->daddr = own.sin_addr.s_addr;
	*udp = (struct udphdr) { .source = htons(53), .dest = own.sin_port, .len = htons(8 + len) };
	if (sendto(raw, packet, 28 + len, 0, (void *)&own, sizeof own) < 0)
		return printf("not sent: %d\n", errno), 1;
	return told(sock, 1);
}

int main(int count, char **arguments)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (count > 3 && !strcmp(arguments[1], "serve"))
		return serve(arguments + 2);
	if (count == 4 && !strcmp(arguments[1], "ask"))
		return ask(arguments + 2);
	if (count == 4 && !strcmp(arguments[1], "connect"))
		return reach(arguments + 2);
	if (count == 5 && !strcmp(arguments[1], "apart"))
		return apart(arguments + 2);
	if (count == 5 && !strcmp(arguments[1], "forge"))
		return forge(arguments + 2);
	return 2;
}
