/* One attempt of each family, each in a child of its own: `families PART` with PART places, bare, errnos, sockets, signals or
 * capabilities.
 * Tells `@`, check, errno it met, what then stands at its place, a dash.
 * Other parts are single steps: `hands SOCKET COUNT`, `takes SOCKET`, `listens NAME…`, `connected COMMAND…`, and those of
 * `STEPS` with their path; before one of these `child` has a child do it, `from_memory` a copy of the program in no
 * filesystem. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define LOOPBACK "127.0.0.1"

static int retry_busy(const char *mount)
{
	for (int tries = 0; tries < 50; tries++) {
		if (umount2(mount, 0) == 0)
			return 0;
		if (errno != EBUSY)
			return -1;
		usleep(100 * 1000);
	}
	return -1;
}

static int opens(const char *path, int flags) { return open(path, flags, 0644); }

static int exchanges(const char *one, const char *other)
{
	close(creat(one, 0644));
	close(creat(other, 0644));
	return syscall(SYS_renameat2, AT_FDCWD, one, AT_FDCWD, other, 2 /* RENAME_EXCHANGE */);
}

static void nothing(int signal) { (void)signal; }

/* Opens a pipe's end, is interrupted while it waits for the other, and goes on. */
static int waits(const char *path)
{
	struct sigaction quiet = { .sa_handler = nothing, .sa_flags = SA_RESTART };
	struct itimerval soon = { .it_value.tv_usec = 50000 };
	if (fork() == 0) {
		usleep(300000);
		_exit(open(path, O_WRONLY) < 0);
	}
	sigaction(SIGALRM, &quiet, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	return open(path, O_RDONLY);
}

static int runs(const char *path)
{
	char *argv[] = { (char *)path, "true", NULL };
	return execv(path, argv);
}

static int runs_memfd(const char *path)
{
	char buffer[65536];
	char *argv[] = { "busybox", "true", NULL }, *env[] = { NULL };
	int from = open(path, O_RDONLY), to = memfd_create("program", 0);
	ssize_t got;
	while ((got = read(from, buffer, sizeof buffer)) > 0)
		if (write(to, buffer, got) != got)
			return -1;
	return syscall(SYS_execveat, to, "", argv, env, AT_EMPTY_PATH);
}

static int maps(const char *path)
{
	int fd = open(path, O_RDONLY);
	return fd < 0 || mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED ? -1 : 0;
}

static int maps_nothing(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0;
}

static int turns_executable(const char *path)
{
	int fd = open(path, O_RDONLY);
	void *at = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
	return at == MAP_FAILED ? -1 : mprotect(at, 4096, PROT_READ | PROT_EXEC);
}

static struct sockaddr_in address(int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	inet_pton(AF_INET, LOOPBACK, &to.sin_addr);
	return to;
}

static int on_socket(int type, int (*call)(int, const struct sockaddr *, socklen_t))
{
	struct sockaddr_in to = address(7777);
	return call(socket(AF_INET, type, 0), (struct sockaddr *)&to, sizeof to);
}

static int sends(int fd, const struct sockaddr *to, socklen_t length) { return sendto(fd, "x", 1, 0, to, length); }

static int sends_message(int fd, const struct sockaddr *to, socklen_t length)
{
	struct iovec data = { "x", 1 };
	struct msghdr message = { .msg_name = (void *)to, .msg_namelen = length, .msg_iov = &data, .msg_iovlen = 1 };
	return sendmsg(fd, &message, 0);
}

static int listens(int fd, const struct sockaddr *to, socklen_t length) { return listen(fd, 1); }

static int connects_unix(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = "/data/socket" };
	return connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&to, sizeof to);
}

static int writes_to_peer(void)
{
	int pair[2];
	return socketpair(AF_UNIX, SOCK_STREAM, 0, pair) ? -1 : write(pair[0], "x", 1);
}

// From a file into a socket, and from a pipe into one.
static int sends_file(void)
{
	int pair[2], from = memfd_create("bytes", 0);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || write(from, "x", 1) != 1)
		return -1;
	return sendfile(pair[0], from, &(off_t){ 0 }, 1);
}

static int splices(void)
{
	int pair[2], ends[2];
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || pipe(ends) || write(ends[1], "x", 1) != 1)
		return -1;
	return splice(ends[0], NULL, pair[0], NULL, 1, 0);
}

static int traces_parent(void) { return ptrace(PTRACE_TRACEME, 0, 0, 0); }

static int attaches(void)
{
	int child = fork();
	if (child == 0)
		for (;;)
			pause();
	int failed = ptrace(PTRACE_ATTACH, child, 0, 0), met = errno;
	/* The test of the signal family may be what forbids this: then the child goes with us. */
	kill(child, SIGKILL);
	errno = met;
	return failed;
}

static int makes_map(void)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1 };
	/* 5.10 counts it against what may be locked. */
	setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ RLIM_INFINITY, RLIM_INFINITY });
	return syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr);
}

static int makes_ring(void)
{
	struct io_uring_params how = { 0 };
	return syscall(SYS_io_uring_setup, 4, &how);
}

static int joins_namespace(void) { return setns(open("/proc/1/ns/uts", O_RDONLY), CLONE_NEWUTS); }

static int moves_mount(void)
{
	int tree = syscall(SYS_open_tree, AT_FDCWD, "/data/tree", 1 /* OPEN_TREE_CLONE */);
	return tree < 0 ? -1 : syscall(SYS_move_mount, tree, "", AT_FDCWD, "/data/mount", 4 /* F_EMPTY_PATH */);
}

/* What the kernel does on behalf of a ring. */
static int by_ring(struct io_uring_sqe what)
{
	struct io_uring_params how = { 0 };
	int ring = syscall(SYS_io_uring_setup, 1, &how);
	size_t room = how.sq_off.array + sizeof(unsigned);
	char *sq = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	char *cq = mmap(NULL, how.cq_off.cqes + 2 * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE, MAP_SHARED, ring,
			IORING_OFF_CQ_RING);
	struct io_uring_sqe *entry = mmap(NULL, sizeof *entry, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	*entry = what;
	*(unsigned *)(sq + how.sq_off.array) = 0;
	*(unsigned *)(sq + how.sq_off.tail) = 1;
	if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		return -1;
	int result = ((struct io_uring_cqe *)(cq + how.cq_off.cqes))->res;
	errno = result < 0 ? -result : 0;
	return result < 0 ? -1 : 0;
}

static int ring_opens(const char *path, int flags)
{
	return by_ring((struct io_uring_sqe){ .opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = (unsigned long)path,
					      .open_flags = flags });
}

#define HANDED 250

static struct sockaddr_un at(const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
	return to;
}

/* The address of a socket's file, or of `@name`; its length. */
static socklen_t named(const char *name, struct sockaddr_un *to)
{
	*to = at(name);
	if (name[0] != '@')
		return sizeof *to;
	to->sun_path[0] = 0;
	return offsetof(struct sockaddr_un, sun_path) + strlen(name);
}

/* By the end of its name a socket is for datagrams (.log), for packets (.seq), or a stream. */
static int socket_for(const char *name)
{
	const char *end = strrchr(name, '.');
	if (end && strcmp(end, ".log") == 0)
		return socket(AF_UNIX, SOCK_DGRAM, 0);
	return socket(AF_UNIX, end && strcmp(end, ".seq") == 0 ? SOCK_SEQPACKET : SOCK_STREAM, 0);
}

static int connected(const char *name)
{
	struct sockaddr_un to;
	socklen_t length = named(name, &to);
	int fd = socket_for(name);
	return connect(fd, (struct sockaddr *)&to, length) ? -1 : fd;
}

static int ring_connects(const char *name)
{
	struct sockaddr_un to;
	socklen_t length = named(name, &to);
	return by_ring((struct io_uring_sqe){ .opcode = IORING_OP_CONNECT, .fd = socket_for(name), .addr = (unsigned long)&to,
					      .off = length });
}

static int bound(const char *name)
{
	struct sockaddr_un here;
	socklen_t length = named(name, &here);
	int fd = socket_for(name);
	if (bind(fd, (struct sockaddr *)&here, length))
		return -1;
	listen(fd, 100);
	return fd;
}

/* Until it is killed. */
static int listens_at(char **names)
{
	for (; *names; names++)
		if (bound(*names) < 0) {
			perror(*names);
			return 1;
		}
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}

static int sends_to(const char *name, int by_message)
{
	struct sockaddr_un to;
	socklen_t length = named(name, &to);
	int fd = socket_for(name);
	return by_message ? sends_message(fd, (struct sockaddr *)&to, length) : sends(fd, (struct sockaddr *)&to, length);
}

static int connects_by_mount(const char *directory, const char *at, const char *name)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount(directory, at, NULL, MS_BIND, NULL))
		_exit(254);
	return connected(name);
}

static int connects_in_chroot(const char *root, const char *name)
{
	if (chroot(root))
		_exit(254);
	return connected(name);
}

static int connects_by_link(const char *target, const char *name)
{
	unlink(name);
	if (symlink(target, name))
		_exit(254);
	return connected(name);
}

static int connects_by_second_name(const char *target, const char *name)
{
	unlink(name);
	if (link(target, name))
		_exit(254);
	return connected(name);
}

/* What it listens at is the agent's own: whoever accepts from it sends to a socket without a name. */
static int answers(const char *name)
{
	int listening = bound(name), to = connected(name), from = accept(listening, NULL, NULL);
	unlink(name);
	return to < 0 || from < 0 ? -1 : send(from, "x", 1, 0);
}

static int writes_between_datagrams(void)
{
	int pair[2];
	return socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) ? -1 : write(pair[0], "x", 1);
}

/* New files, open for writing, to whoever connects. */
static int hands(const char *path, int count)
{
	struct sockaddr_un here = at(path);
	int listening = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	if (bind(listening, (struct sockaddr *)&here, sizeof here) || listen(listening, 1))
		return 1;
	int to = accept(listening, NULL, NULL);
	for (int made = 0; made < count; made += HANDED) {
		char control[CMSG_SPACE(HANDED * sizeof(int))] = { 0 };
		struct iovec data = { "x", 1 };
		struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
		struct cmsghdr *head = CMSG_FIRSTHDR(&message);
		int *files = (int *)CMSG_DATA(head);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(HANDED * sizeof(int));
		for (int each = 0; each < HANDED; each++) {
			files[each] = open("/w/handed", O_RDWR | O_CREAT, 0600);
			unlink("/w/handed");
		}
		if (sendmsg(to, &message, 0) < 0)
			return 1;
		for (int each = 0; each < HANDED; each++)
			close(files[each]);
	}
	return 0;
}

static int takes(const char *path)
{
	struct sockaddr_un there = at(path);
	int from = socket(AF_UNIX, SOCK_SEQPACKET, 0), taken = 0;
	if (connect(from, (struct sockaddr *)&there, sizeof there))
		return 1;
	for (;;) {
		char control[CMSG_SPACE(HANDED * sizeof(int))], byte;
		struct iovec data = { &byte, 1 };
		struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
		if (recvmsg(from, &message, 0) <= 0)
			break;
		struct cmsghdr *head = CMSG_FIRSTHDR(&message);
		int count = head ? (head->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;
		for (int each = 0; each < count; each++)
			taken += close(((int *)CMSG_DATA(head))[each]) == 0;
	}
	printf("%d\n", taken);
	return 0;
}

static int connects(const char *path)
{
	(void)path;
	return on_socket(SOCK_DGRAM, connect);
}

static int ring_reads(const char *path) { return ring_opens(path, O_RDONLY); }

/* Does not come back: what `path` does next it is told by its arguments. */
static char **becoming;

static int becomes(const char *path) { return execv(path, becoming); }

static int passes_for(const char *path)
{
	return prctl(PR_SET_MM, PR_SET_MM_EXE_FILE, open(path, O_RDONLY), 0, 0);
}

static int from_memory(char **argv)
{
	char buffer[65536];
	int from = open("/proc/self/exe", O_RDONLY), to = memfd_create("families", 0);
	ssize_t got;
	while ((got = read(from, buffer, sizeof buffer)) > 0)
		if (write(to, buffer, got) != got)
			return -1;
	return syscall(SYS_execveat, to, "", argv, environ, AT_EMPTY_PATH);
}

static const struct {
	const char *name;
	int (*does)(const char *path);
} STEPS[] = {
	{ "maps", maps },	    { "connects", connects }, { "ring_reads", ring_reads },
	{ "unlinks", unlink }, { "becomes", becomes },   { "passes_for", passes_for },
};

/* The status of a single step; -1 where there is none of that name. */
static int step(const char *name, const char *path)
{
	for (size_t each = 0; each < sizeof STEPS / sizeof *STEPS; each++) {
		if (strcmp(name, STEPS[each].name) != 0)
			continue;
		if (STEPS[each].does(path) >= 0)
			return 0;
		perror(path);
		return 1;
	}
	return -1;
}

static void place(const char *path, char *state, size_t room)
{
	struct stat found;
	if (path == NULL || lstat(path, &found) != 0)
		snprintf(state, room, "gone");
	else if (S_ISREG(found.st_mode))
		snprintf(state, room, "%lld", (long long)found.st_size);
	else
		snprintf(state, room, "there");
}

/* Runs `call` in a child; 0, or the errno it met. A program that it became may say 0 by its status, too. */
#define TRY(check, path, call) \
	do { \
		fflush(stdout); \
		int child = fork(), status; \
		if (child == 0) { \
			errno = 0; \
			_exit((long)(call) < 0 ? errno : 0); \
		} \
		waitpid(child, &status, 0); \
		char state[32]; \
		place(path, state, sizeof state); \
		printf("@\t%s\t%d\t%s\t-\n", check, WIFEXITED(status) ? WEXITSTATUS(status) : 255, state); \
	} while (0)

static void places(void)
{
	TRY("file.read", "/data/read/x", opens("/data/read/x", O_RDONLY));
	TRY("file.write", "/data/write/x", opens("/data/write/x", O_WRONLY | O_APPEND));
	TRY("file.write cut", "/data/write/x", opens("/data/write/x", O_WRONLY | O_TRUNC));
	TRY("file.write creat", "/data/write/x", opens("/data/write/x", O_CREAT | O_RDWR));
	TRY("file.write truncate", "/data/write/x", truncate("/data/write/x", 1));
	TRY("file.read waits", "/data/tree/pipe", waits("/data/tree/pipe"));
	TRY("dir.list", "/data/list", opens("/data/list", O_RDONLY | O_DIRECTORY));
	TRY("file.create", "/data/create/x", opens("/data/create/x", O_CREAT | O_WRONLY));
	TRY("file.create mkdir", "/data/create/d", mkdir("/data/create/d", 0755));
	TRY("file.create mknod", "/data/create/n", mknod("/data/create/n", S_IFIFO | 0644, 0));
	TRY("file.create there", "/data/create/there", opens("/data/create/there", O_CREAT | O_WRONLY));
	TRY("file.create tmpfile", "/data/create/t", opens("/data/create", O_TMPFILE | O_WRONLY));
	TRY("file.create rename over", "/data/create/there", rename("/data/tree/over", "/data/create/there"));
	TRY("file.create exchange", "/data/create/there", exchanges("/data/tree/other", "/data/create/there"));
	TRY("file.link", "/data/link/l", link("/data/link/x", "/data/link/l"));
	TRY("file.link symlink", "/data/link/s", symlink("x", "/data/link/s"));
	TRY("file.rename", "/data/rename/x", rename("/data/rename/x", "/data/y"));
	TRY("file.rename exchange", "/data/rename/x", exchanges("/data/y", "/data/rename/x"));
	TRY("file.attr chmod", "/data/attr/x", chmod("/data/attr/x", 0600));
	TRY("file.attr chown", "/data/attr/x", chown("/data/attr/x", 1, 1));
	TRY("file.attr setxattr", "/data/attr/x", setxattr("/data/attr/x", "trusted.x", "x", 1, 0));
	TRY("file.attr removexattr", "/data/attr/x", removexattr("/data/attr/x", "trusted.x"));
	TRY("proc.exec", "/data/exec/busybox", runs("/data/exec/busybox"));
	TRY("proc.exec script", "/data/script", runs("/data/script"));
	TRY("proc.exec interpreter", "/data/exec/script", runs("/data/exec/script"));
	TRY("proc.exec memfd", NULL, runs_memfd("/bin/busybox"));
	TRY("file.map_exec", "/data/map/x", maps("/data/map/x"));
	TRY("file.map_exec anonymous", NULL, maps_nothing());
	TRY("file.map_exec mprotect", "/data/map/x", turns_executable("/data/map/x"));
}

static void bare(void)
{
	TRY("net.connect", NULL, on_socket(SOCK_DGRAM, connect));
	TRY("net.connect unix", NULL, connects_unix());
	TRY("net.send", NULL, on_socket(SOCK_DGRAM, sends));
	TRY("net.send message", NULL, on_socket(SOCK_DGRAM, sends_message));
	TRY("net.send write", NULL, writes_to_peer());
	TRY("net.send sendfile", NULL, sends_file());
	TRY("net.send splice", NULL, splices());
	TRY("net.bind", NULL, on_socket(SOCK_STREAM, bind));
	TRY("net.listen", NULL, on_socket(SOCK_STREAM, listens));
	TRY("proc.signal", NULL, kill(getppid(), 0));
	TRY("proc.ptrace", NULL, attaches());
	TRY("proc.ptrace traceme", NULL, traces_parent());
	TRY("sys.bpf", NULL, makes_map());
	TRY("sys.io_uring", NULL, makes_ring());
	TRY("sys.setuid", NULL, setuid(1));
	TRY("sys.setuid gid", NULL, setgid(1));
	TRY("sys.setuid groups", NULL, syscall(SYS_setgroups, 0, NULL));
	TRY("sys.mount", NULL, mount("none", "/data/mount", "tmpfs", 0, NULL));
	// Whoever looks at the mount just then, as the daemon does, makes it busy for a moment.
	TRY("sys.mount umount", NULL, retry_busy("/data/mounted"));
	TRY("sys.mount move", NULL, moves_mount());
	TRY("sys.namespace unshare", NULL, unshare(CLONE_NEWNS));
	TRY("sys.namespace setns", NULL, joins_namespace());
	TRY("sys.namespace chroot", NULL, chroot("/data"));
}

static void errnos(void)
{
	TRY("errno open", NULL, opens("/data/errno/x", O_RDONLY));
	TRY("errno write", NULL, opens("/data/errno/x", O_WRONLY));
	TRY("errno ring", NULL, ring_opens("/data/errno/x", O_RDONLY));
	TRY("errno ring again", NULL, ring_opens("/data/errno/x", O_WRONLY));
	TRY("errno exec", NULL, runs("/data/errno/busybox"));
	TRY("errno connect", NULL, on_socket(SOCK_DGRAM, connect));
	TRY("errno of the first", NULL, rename("/data/errno/x", "/data/errno/y"));
	TRY("errno unlink", NULL, unlink("/data/errno/z"));
	TRY("errno of the kernel", NULL, unshare(CLONE_NEWNS));
}

// Runs a command that inherits a connection as descriptor 7.
static int with_connection(char **command)
{
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in to = address(7778);
	fcntl(listener, F_SETFD, FD_CLOEXEC);
	if (bind(listener, (struct sockaddr *)&to, sizeof to) || listen(listener, 1) ||
	    connect(fd, (struct sockaddr *)&to, sizeof to) || dup2(fd, 7) != 7)
		return 1;
	close(fd);
	execvp(*command, command);
	return 1;
}

static void sockets(void)
{
	TRY("unix stream", NULL, connected("/data/run/denied.sock"));
	TRY("unix packets", NULL, connected("/data/run/denied.seq"));
	TRY("unix mounted", NULL, connects_by_mount("/data/run", "/data/tree", "/data/tree/denied.sock"));
	TRY("unix chroot", NULL, connects_in_chroot("/data/run", "/denied.sock"));
	TRY("unix link", NULL, connects_by_link("run/denied.sock", "/data/way"));
	TRY("unix second name", NULL, connects_by_second_name("/data/run/denied.sock", "/data/run/second"));
	TRY("unix ring", NULL, ring_connects("/data/run/denied.sock"));
	TRY("unix ring datagram", NULL, ring_connects("/data/run/denied.log"));
	TRY("unix abstract", NULL, connected("@rgt-denied/1"));
	TRY("unix datagram", NULL, sends_to("/data/run/denied.log", 0));
	TRY("unix message", NULL, sends_to("/data/run/denied.log", 1));
	TRY("unix datagram connect", NULL, connected("/data/run/denied.log"));
	TRY("unix send", NULL, send(connected("/data/run/mute.sock"), "x", 1, 0));
	TRY("unix send packet", NULL, send(connected("/data/run/mute.seq"), "x", 1, 0));
	TRY("unix write", NULL, write(connected("/data/run/mute.sock"), "x", 1));
	TRY("unix write datagram", NULL, write(connected("/data/run/mute.log"), "x", 1));
	TRY("unix outside", NULL, connected("/data/outside.sock"));
	TRY("unix rest", NULL, connected("/data/inside/rest.sock"));
	TRY("unix open", NULL, send(connected("/data/run/open.sock"), "x", 1, 0));
	TRY("unix open abstract", NULL, send(connected("@rgt-open"), "x", 1, 0));
	TRY("unix open datagram", NULL, sends_to("/data/run/open.log", 0));
	TRY("unix open write", NULL, write(connected("/data/run/open.log"), "x", 1));
	TRY("unix pair", NULL, writes_to_peer());
	TRY("unix datagram pair", NULL, writes_between_datagrams());
	TRY("unix answer", NULL, answers("/data/run/own.sock"));
	TRY("unix nobody", NULL, connected("/data/run/denied.none"));
}

/* A process of its own group, for others to signal; it does not stay long. */
static int victim(void)
{
	int child = fork();
	if (child == 0) {
		alarm(5);
		for (;;)
			pause();
	}
	setpgid(child, child);
	return child;
}

static int signals_thread(int signal)
{
	int child = victim();
	return syscall(SYS_tgkill, child, child, signal);
}

static int signals_by_pidfd(int signal)
{
	return syscall(SYS_pidfd_send_signal, syscall(SYS_pidfd_open, victim(), 0), signal, NULL, 0);
}

static int queues(int signal) { return sigqueue(victim(), signal, (union sigval){ 0 }); }

static int will_signal(int target)
{
	int pair[2];
	return socketpair(AF_UNIX, SOCK_STREAM, 0, pair) ? -1 : fcntl(pair[0], F_SETOWN, target);
}

#define NOBODY 4000000

static void signal_numbers(void)
{
	TRY("signal KILL", NULL, kill(victim(), SIGKILL));
	TRY("signal KILL group", NULL, kill(-victim(), SIGKILL));
	TRY("signal KILL thread", NULL, signals_thread(SIGKILL));
	TRY("signal KILL pidfd", NULL, signals_by_pidfd(SIGKILL));
	TRY("signal KILL queued", NULL, queues(SIGKILL));
	TRY("signal real-time", NULL, kill(victim(), 34));
	TRY("signal 64", NULL, kill(victim(), 64));
	TRY("signal HUP", NULL, kill(victim(), SIGHUP));
	TRY("signal stranger", NULL, kill(1, SIGURG));
	TRY("signal owner", NULL, will_signal(1));
	TRY("signal TERM", NULL, kill(victim(), SIGTERM));
	TRY("signal TERM pidfd", NULL, signals_by_pidfd(SIGTERM));
	TRY("signal 0", NULL, kill(victim(), 0));
	TRY("signal 0 stranger", NULL, kill(1, 0));
	TRY("signal nobody", NULL, kill(NOBODY, SIGKILL));
}

static int opens_raw(void) { return socket(AF_INET, SOCK_RAW, 1 /* ICMP */); }

/* There it has every capability. */
static int opens_raw_in_namespace(void)
{
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
		_exit(254);
	return opens_raw();
}

static int binds_below(void)
{
	struct sockaddr_in here = address(80);
	return bind(socket(AF_INET, SOCK_DGRAM, 0), (struct sockaddr *)&here, sizeof here);
}

static int is_nice(void) { return setpriority(PRIO_PROCESS, 0, -5); }

static int opens_raw_without(void)
{
	return setuid(1) ? -1 : opens_raw();
}

static void capabilities(void)
{
	TRY("capability socket", NULL, opens_raw());
	TRY("capability namespace", NULL, opens_raw_in_namespace());
	TRY("capability not held", NULL, opens_raw_without());
	TRY("capability chown", NULL, chown("/data/others/x", 1, 1));
	TRY("capability bind", NULL, binds_below());
	TRY("capability nice", NULL, is_nice());
	TRY("capability open", NULL, opens("/data/others/x", O_RDONLY));
	TRY("capability ring", NULL, ring_opens("/data/others/x", O_RDONLY));
	TRY("capability chmod", NULL, chmod("/data/others/x", 0600));
	TRY("capability setuid", NULL, setuid(1));
}

int main(int argc, char **argv)
{
	const char *part = argc > 1 ? argv[1] : "", *path = argc > 2 ? argv[2] : "";
	if (strcmp(part, "hands") == 0 && argc > 3)
		return hands(path, atoi(argv[3]));
	if (strcmp(part, "connected") == 0 && argc > 2)
		return with_connection(argv + 2);
	if (strcmp(part, "takes") == 0)
		return takes(path);
	if (strcmp(part, "listens") == 0)
		return listens_at(argv + 2);
	if (argc > 2 && strcmp(part, "from_memory") == 0) {
		from_memory(argv + 1);
		return 1;
	}
	if (argc > 2 && strcmp(part, "child") == 0) {
		int child = fork(), status;
		if (child == 0)
			return main(argc - 1, argv + 1);
		waitpid(child, &status, 0);
		return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
	}
	/* Its second argument is what the program becomes, the rest is that one's. */
	becoming = argc > 2 ? argv + 2 : argv;
	int status = step(part, path);
	if (status >= 0)
		return status;
	if (strcmp(part, "places") == 0)
		places();
	else if (strcmp(part, "bare") == 0)
		bare();
	else if (strcmp(part, "errnos") == 0)
		errnos();
	else if (strcmp(part, "sockets") == 0)
		sockets();
	else if (strcmp(part, "signals") == 0)
		signal_numbers();
	else if (strcmp(part, "capabilities") == 0)
		capabilities();
	else
		return 2;
	return 7;
}
