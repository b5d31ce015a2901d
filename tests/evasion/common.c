// What techniques share.
#include "evade.h"
#include <stddef.h>
#include <linux/io_uring.h>
#include <pthread.h>

static const char *joined(const char *dir, const char *name) {
    static char paths[16][4096];
    static unsigned next;
    char *path = paths[next++ % 16];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

const char *in(const char *name) { return joined(protected_dir, name); }
const char *scratch(const char *name) { return joined(scratch_dir, name); }

const char *low(const char *text) {
    static char *page;
    static size_t used;
    if (!page) {
        page = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
        if (page == MAP_FAILED) exit(3);
    }
    char *copy = page + used;
    used += strlen(text) + 1;
    return strcpy(copy, text);
}

void got(const void *bytes, size_t size) {
    int fd = open(scratch("got"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd >= 0) write(fd, bytes, size);
    close(fd);
}

void got_from(int fd) {
    char bytes[4096];
    ssize_t size = fd < 0 ? -1 : read(fd, bytes, sizeof bytes);
    if (size > 0) got(bytes, size);
}

void claim(int holds) {
    if (holds) got("claimed", 7);
}

int make_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0) return -1;
    write(fd, text, strlen(text));
    return close(fd);
}

static void *thread_main(void *run) {
    ((void (*)(void))run)();
    return NULL;
}

void in_thread(void (*run)(void)) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, thread_main, (void *)run)) exit(3);
    pthread_join(thread, NULL);
}

void in_child(void (*run)(void)) {
    pid_t child = fork();
    if (child == 0) {
        run();
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

void private_mounts(void) {
    NEED(unshare(CLONE_NEWNS));
    NEED(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
}

void private_user_mounts(void) {
    char map[64];
    uid_t uid = getuid();
    gid_t gid = getgid();
    NEED(unshare(CLONE_NEWUSER | CLONE_NEWNS));
    NEED(make_file("/proc/self/setgroups", "deny"));
    snprintf(map, sizeof map, "0 %d 1", uid);
    NEED(make_file("/proc/self/uid_map", map));
    snprintf(map, sizeof map, "0 %d 1", gid);
    NEED(make_file("/proc/self/gid_map", map));
    NEED(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
}

void own_cgroup(char *path, size_t size, const char *file) {
    char line[256] = "";
    FILE *of = fopen("/proc/self/cgroup", "r");
    while (of && fgets(line, sizeof line, of) && strncmp(line, "0::", 3)) {}
    line[strcspn(line, "\n")] = 0;
    snprintf(path, size, "/sys/fs/cgroup%s/%s", line + 3, file);
}

void bind_dir(const char *from, const char *to) {
    mkdir(to, 0755);
    NEED(mount(from, to, NULL, MS_BIND, NULL));
}

socklen_t broker_name(struct sockaddr_un *name, const char *text) {
    snprintf(name->sun_path, sizeof name->sun_path, "%s", text);
    if (*text == '@') name->sun_path[0] = 0;
    return offsetof(struct sockaddr_un, sun_path) + strlen(text) + (*text != '@');
}

int receive(int from) {
    char room[CMSG_SPACE(sizeof(int))] = {0}, byte;
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    if (recvmsg(from, &message, 0) != 1 || !CMSG_FIRSTHDR(&message)) return -1;
    return *(int *)CMSG_DATA(CMSG_FIRSTHDR(&message));
}

int handed_over(char how, const char *path) {
    char ask[4200];
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    socklen_t size = broker_name(&name, "@evade-giver");
    int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    NEED(connect(fd, (void *)&name, size));
    snprintf(ask, sizeof ask, "%c%s", how, path);
    NEED(send(fd, ask, strlen(ask) + 1, 0));
    return receive(fd);
}

long gate32(long number, long a, long b, long c, long d) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d)
                     : "memory", "r8", "r9", "r10", "r11");
    return (int)result;
}

static int submit(unsigned setup, int op, int fd, const void *addr, uint32_t len, uint64_t off, uint32_t flags) {
    struct io_uring_params params = {.flags = setup, .sq_thread_idle = 1000};
    int ring_fd = syscall(SYS_io_uring_setup, 4, &params);
    if (ring_fd < 0) return -errno;
    size_t size = params.sq_off.array + params.sq_entries * sizeof(unsigned);
    char *sq = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring_fd, IORING_OFF_SQ_RING);
    char *cq = mmap(0, params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe),
                    PROT_READ | PROT_WRITE, MAP_SHARED, ring_fd, IORING_OFF_CQ_RING);
    struct io_uring_sqe *sqe = mmap(0, params.sq_entries * sizeof *sqe, PROT_READ | PROT_WRITE,
                                    MAP_SHARED, ring_fd, IORING_OFF_SQES);
    if (sq == MAP_FAILED || cq == MAP_FAILED || (void *)sqe == MAP_FAILED) return -errno;
    *sqe = (struct io_uring_sqe){
        .opcode = op, .fd = fd, .addr = (uintptr_t)addr, .len = len, .off = off, .open_flags = flags};
    ((unsigned *)(sq + params.sq_off.array))[0] = 0;
    __atomic_store_n((unsigned *)(sq + params.sq_off.tail), 1, __ATOMIC_RELEASE);
    unsigned enter = IORING_ENTER_GETEVENTS | (setup & IORING_SETUP_SQPOLL ? IORING_ENTER_SQ_WAKEUP : 0);
    if (syscall(SYS_io_uring_enter, ring_fd, 1, 1, enter, NULL, 0) < 0) return -errno;
    unsigned *tail = (unsigned *)(cq + params.cq_off.tail);
    for (int wait = 0; __atomic_load_n(tail, __ATOMIC_ACQUIRE) == 0; wait++) {
        if (wait > 2000) return -ETIME;
        usleep(1000);
    }
    return ((struct io_uring_cqe *)(cq + params.cq_off.cqes))[0].res;
}

int ring(int op, int fd, const void *addr, uint32_t len, uint64_t off, uint32_t flags) {
    return submit(0, op, fd, addr, len, off, flags);
}

int ring_polled(int op, int fd, const void *addr, uint32_t len, uint64_t off, uint32_t flags) {
    return submit(IORING_SETUP_SQPOLL, op, fd, addr, len, off, flags);
}
