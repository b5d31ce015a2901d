// What single operations cost, by the processor's time-stamp counter. Meant for a VM that counts
// instructions (`cargo xtask bench`): there, one tick is one instruction of the guest, of the kernel and of
// this program together. On a real processor the figures would mean something else.
//
// One line a figure: figure OPERATION PACE COUNT MIN P10 MEDIAN P90

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WARM_UP = 200, COUNT = 2000, LOOPS = 1000000, PAUSE_NS = 5000000 };

static unsigned long overhead;
static char shallow[64], deep[256], victim[64];
static struct sockaddr_in nobody;
static int sock = -1;

static void need(int ok, const char *what) {
    if (!ok) {
        fprintf(stderr, "ops: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

// The fences keep a real processor from moving work out of the timed part; they cost the same everywhere.
static inline unsigned long ticks(void) {
    __builtin_ia32_lfence();
    unsigned long now = __builtin_ia32_rdtsc();
    __builtin_ia32_lfence();
    return now;
}

static int compare(const void *a, const void *b) {
    unsigned long x = *(const unsigned long *)a, y = *(const unsigned long *)b;
    return (x > y) - (x < y);
}

struct op {
    const char *name;
    void (*before)(void); // not timed
    void (*timed)(void);
    void (*after)(void); // not timed
};

static void nothing(void) {}

// Without libc's wrappers where they do more than the call.
static void getppid_(void) { syscall(SYS_getppid); }

static void open_close(const char *path) {
    long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY, 0);
    need(fd >= 0, path);
    syscall(SYS_close, fd);
}

static void open_shallow(void) { open_close(shallow); }
static void open_deep(void) { open_close(deep); }

static void make_victim(void) {
    int fd = open(victim, O_CREAT | O_WRONLY, 0600);
    need(fd >= 0, victim);
    close(fd);
}

static void unlink_(void) { need(syscall(SYS_unlink, victim) == 0, victim); }

static void make_socket(void) {
    sock = socket(AF_INET, SOCK_STREAM, 0);
    need(sock >= 0, "socket");
}

static void connect_(void) {
    int result = connect(sock, (struct sockaddr *)&nobody, sizeof nobody);
    need(result < 0 && errno == ECONNREFUSED, "connect was not refused");
}

static void close_socket(void) { close(sock); }

static void fork_wait(void) {
    long pid = syscall(SYS_fork);
    need(pid >= 0, "fork");
    if (pid == 0)
        syscall(SYS_exit_group, 0);
    int status;
    need(syscall(SYS_wait4, pid, &status, 0, NULL) == pid, "wait");
}

static void exec_wait(void) {
    static char *words[] = {"/ops", "end", NULL};
    long pid = vfork();
    need(pid >= 0, "vfork");
    if (pid == 0) {
        syscall(SYS_execve, words[0], words, NULL);
        _exit(1);
    }
    int status;
    need(syscall(SYS_wait4, pid, &status, 0, NULL) == pid && status == 0, "exec");
}

static unsigned long samples[COUNT];

// With a pause before each, whoever reads what is recorded has caught up and sleeps: the operation pays for
// waking it. Without, the reader is behind, and nobody is woken.
static void measure(const struct op *op, int pause, int report) {
    const struct timespec rest = {0, PAUSE_NS};
    for (int i = -WARM_UP; i < COUNT; i++) {
        op->before();
        if (pause)
            nanosleep(&rest, NULL);
        unsigned long from = ticks();
        op->timed();
        unsigned long to = ticks();
        op->after();
        if (i >= 0)
            samples[i] = to - from - overhead;
    }
    qsort(samples, COUNT, sizeof *samples, compare);
    if (report)
        printf("figure %s %s %d %lu %lu %lu %lu\n", op->name, pause ? "alone" : "burst", COUNT, samples[0],
               samples[COUNT / 10], samples[COUNT / 2], samples[COUNT * 9 / 10]);
}

static void make_paths(void) {
    char *end = stpcpy(deep, "/tmp");
    for (int i = 1; i <= 10; i++) {
        end += sprintf(end, "/d%d", i);
        need(mkdir(deep, 0755) == 0 || errno == EEXIST, deep);
    }
    strcpy(end, "/file");
    // Depth counts names, the last one included: 3 and 12.
    strcpy(shallow, "/tmp/d1/file");
    const char *files[] = {shallow, deep};
    for (int i = 0; i < 2; i++) {
        int fd = open(files[i], O_CREAT | O_WRONLY, 0644);
        need(fd >= 0, files[i]);
        close(fd);
    }
    strcpy(victim, "/tmp/d1/victim");
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "now") == 0) {
        printf("%lu\n", ticks());
        return 0;
    }
    // The program that `exec_wait` runs.
    if (argc > 1)
        return 0;
    // A kernel whose random pool is not ready takes a tenfold longer way through its sockets.
    char byte;
    need(getrandom(&byte, 1, 0) == 1, "getrandom");
    // Others must not run in the timed part: their work is not the operation's cost.
    struct sched_param first = {.sched_priority = 1};
    need(sched_setscheduler(0, SCHED_FIFO, &first) == 0, "sched_setscheduler");

    make_paths();
    nobody.sin_family = AF_INET;
    nobody.sin_port = htons(9);
    nobody.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    // Two instructions a round: shows what a tick is.
    unsigned long rounds = LOOPS, from = ticks();
    __asm__ volatile("1: dec %0\n jnz 1b" : "+r"(rounds));
    printf("calibration %lu %d\n", ticks() - from, 2 * LOOPS);

    const struct op empty = {"empty", nothing, nothing, nothing};
    measure(&empty, 0, 0);
    overhead = samples[COUNT / 2];

    const struct op ops[] = {
        {"getppid", nothing, getppid_, nothing},
        {"open_close_3", nothing, open_shallow, nothing},
        {"open_close_12", nothing, open_deep, nothing},
        {"unlink", make_victim, unlink_, nothing},
        {"connect_refused", make_socket, connect_, close_socket},
        {"fork_wait", nothing, fork_wait, nothing},
        {"exec_wait", nothing, exec_wait, nothing},
    };
    for (int pause = 0; pause < 2; pause++)
        for (unsigned i = 0; i < sizeof ops / sizeof *ops; i++)
            measure(&ops[i], pause, 1);
    return 0;
}
