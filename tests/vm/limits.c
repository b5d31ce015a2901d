// Sends a hundred bytes at a time to itself, in turn by send, write, sendto and sendmmsg, as long as it may. Prints how often, and
// how many of two messages went by one call that names where to, of which the kernel asks about the first alone.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9009), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	char bytes[100] = { 0 };
	int in = socket(AF_INET, SOCK_DGRAM, 0), out = socket(AF_INET, SOCK_DGRAM, 0), sent = 0;

	if (bind(in, (void *)&to, sizeof to) || connect(out, (void *)&to, sizeof to)) {
		perror("limits");
		return 1;
	}
	struct iovec one = { bytes, sizeof bytes };
	struct msghdr named = { .msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &one, .msg_iovlen = 1 };
	struct mmsghdr batch[2] = { { .msg_hdr = named }, { .msg_hdr = named } };
	int went = sendmmsg(in, batch, 2, 0);

	for (int turn = 0; turn < 24; turn++) {
		struct iovec part = { bytes, sizeof bytes };
		struct mmsghdr message = { .msg_hdr = { .msg_iov = &part, .msg_iovlen = 1 } };
		int done = -1;

		switch (turn % 4) {
		case 0: done = send(out, bytes, sizeof bytes, 0); break;
		case 1: done = write(out, bytes, sizeof bytes); break;
		case 2: done = sendto(in, bytes, sizeof bytes, 0, (void *)&to, sizeof to); break;
		case 3: done = sendmmsg(out, &message, 1, 0); break;
		}
		sent += done > 0;
	}
	printf("%d %d\n", sent, went);
	return 0;
}
