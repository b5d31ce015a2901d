// Calls that a tracer would make easy. Each is told on standard output, which nobody records:
// "NAME RESULT ARGUMENT", RESULT as the kernel returned it.
#define _GNU_SOURCE
#include <setjmp.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static long result(long returned) { return returned < 0 ? -errno : returned; }
// Straight to the descriptor: a forked child must not repeat what its parent has yet to write.
#define TELL(name, value, argument) dprintf(1, "%s %ld %s\n", name, (long)(value), argument)

// Names stand so far apart that the fault of one brings in no other: the kernel maps 16 pages around it.
enum { NAMES = 200, PAGE = 4096, APART = 32 * PAGE };

// A file of names, mapped and never touched.
static char *cold_names(const char *what) {
    char file[64];
    sprintf(file, "names-%s", what);
    FILE *out = fopen(file, "w");
    for (int n = 0; n < NAMES; n++) {
        fseek(out, (long)n * APART, SEEK_SET);
        fprintf(out, "/hard/%s/%d%c", what, n, 0);
    }
    fflush(out);
    ftruncate(fileno(out), (long)NAMES * APART);
    fclose(out);
    int fd = open(file, O_RDONLY);
    char *names = mmap(0, NAMES * APART, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    madvise(names, NAMES * APART, MADV_RANDOM);
    return names;
}

static void open_all(char *names, const char *what) {
    for (int n = 0; n < NAMES; n++) {
        long got = result(syscall(SYS_openat, AT_FDCWD, names + n * APART, O_RDONLY));
        char name[64];
        sprintf(name, "/hard/%s/%d", what, n);
        TELL("openat", got, name);
    }
}

static void cold(void) {
    char *names = cold_names("cold");
    madvise(names, NAMES * APART, MADV_DONTNEED);
    open_all(names, "cold");
    names = cold_names("dropped");
    volatile char sum = 0;
    for (int n = 0; n < NAMES; n++) sum += names[n * APART];
    madvise(names, NAMES * APART, MADV_DONTNEED);
    open_all(names, "dropped");
    names = cold_names("child");
    if (fork() == 0) { open_all(names, "child"); _exit(0); }
    wait(0);
    // A name that begins on a warm page and ends on a cold one.
    int fd = open("split", O_RDWR | O_CREAT | O_TRUNC, 0600);
    pwrite(fd, "/hard/across", 13, 2 * APART - 6);
    char *split = mmap(0, 4 * APART, PROT_READ, MAP_PRIVATE, fd, 0);
    ftruncate(fd, 4 * APART);
    sum += split[2 * APART - 6];
    madvise(split + 2 * APART, PAGE, MADV_DONTNEED);
    TELL("openat", result(syscall(SYS_openat, AT_FDCWD, split + 2 * APART - 6, O_RDONLY)), "/hard/across");
    // The program's own name on a cold page, in a child as fresh as can be.
    fd = open("program", O_RDWR | O_CREAT | O_TRUNC, 0600);
    dprintf(fd, "/bin/true");
    ftruncate(fd, PAGE);
    char *program = mmap(0, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
    madvise(program, PAGE, MADV_DONTNEED);
    if (fork() == 0) {
        char *argv[] = {program, "cold", 0};
        syscall(SYS_execve, program, argv, argv + 2);
        _exit(1);
    }
    int status;
    wait(&status);
    TELL("execve", status, "/bin/true");
}

static void faults(void) {
    TELL("openat", result(syscall(SYS_openat, AT_FDCWD, 0, O_RDONLY)), "-");
    TELL("openat", result(syscall(SYS_openat, AT_FDCWD, 1, O_RDONLY)), "-");
    TELL("unlink", result(syscall(SYS_unlink, -8L)), "-");
    // Unreadable from its middle on.
    char *two = mmap(0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(two + PAGE, PAGE, PROT_NONE);
    memset(two, 'x', PAGE);
    TELL("openat", result(syscall(SYS_openat, AT_FDCWD, two + PAGE - 10, O_RDONLY)), "-");
    // Ends with the last readable byte.
    memcpy(two + PAGE - 11, "/hard/edge", 11);
    TELL("openat", result(syscall(SYS_openat, AT_FDCWD, two + PAGE - 11, O_RDONLY)), "/hard/edge");
}

static void given(void) {
    syscall(SYS_kill, getpid(), 0);
    syscall(SYS_ptrace, 7 /* PTRACE_CONT */, getppid(), 0, 0);
    syscall(SYS_setresuid, -1, 0, -1);
    syscall(SYS_unshare, 0x4000000 /* CLONE_NEWUTS */);
    syscall(SYS_chmod, "/hard/given", 0640);
    printf("%d %d\n", getpid(), getppid());
}

static void vforks(void) {
    for (int n = 0; n < 20; n++) {
        char name[64];
        sprintf(name, "/hard/vfork/%d", n);
        volatile long opened, execed;
        pid_t pid = vfork();
        if (pid == 0) {
            opened = result(syscall(SYS_openat, AT_FDCWD, name, O_RDONLY));
            char *argv[] = {name, 0};
            execed = result(syscall(SYS_execve, name, argv, argv + 1));
            char *real[] = {"true", name, 0};
            syscall(SYS_execve, "/usr/bin/true", real, real + 2);
            _exit(1);
        }
        int status;
        waitpid(pid, &status, 0);
        TELL("openat", opened, name);
        TELL("execve", execed, name);
        TELL("execve", status, "/usr/bin/true");
    }
}

static void *exec_in_thread(void *unused) {
    TELL("openat", result(syscall(SYS_openat, AT_FDCWD, "/hard/thread/before", O_RDONLY)), "/hard/thread/before");
    char *argv[] = {"sh", "-c", "cat /hard/thread/after", 0};
    syscall(SYS_execve, "/usr/bin/sh", argv, environ);
    _exit(1);
}

static void *idle(void *unused) { for (;;) pause(); }

static void thread_exec(void) {
    pthread_t thread;
    for (int n = 0; n < 4; n++) pthread_create(&thread, 0, idle, 0);
    pthread_create(&thread, 0, exec_in_thread, 0);
    for (;;) pause();
}

// Blocks in its open until it is killed.
static void killed(long milliseconds) {
    mkfifo("killed", 0600);
    pid_t pid = fork();
    if (pid == 0) { syscall(SYS_openat, AT_FDCWD, "killed", O_RDONLY); _exit(0); }
    usleep(milliseconds * 1000);
    TELL("kill", result(syscall(SYS_kill, pid, SIGKILL)), "-");
    int status;
    waitpid(pid, &status, 0);
    unlink("killed");
}

static void slow(long wait_ms) {
    mkfifo("slow", 0600);
    pid_t pid = fork();
    if (pid == 0) {
        TELL("openat", result(syscall(SYS_openat, AT_FDCWD, "slow", O_RDONLY)) > 0 ? 3 : -1, "slow");
        _exit(0);
    }
    usleep(800000);
    close(open("./slow", O_WRONLY));
    waitpid(pid, 0, 0);
    // A listener whose queue is full.
    struct sockaddr_un address = {AF_UNIX, "full"};
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    bind(listener, (void *)&address, sizeof address);
    listen(listener, 0);
    struct timeval limit = {wait_ms / 1000, wait_ms % 1000 * 1000};
    for (int n = 0; n < 2; n++) {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        TELL("connect", result(syscall(SYS_connect, fd, &address, sizeof address)), "full");
    }
}

static long gate(long number, void *a, void *b, void *c) {
    long returned;
    asm volatile("int $0x80" : "=a"(returned)
                 : "a"(number), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
    return (int)returned;
}

static void compat(void) {
    char *low = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (gate(20, 0, 0, 0) != getpid()) { dprintf(1, "none 0 -\n"); return; }
    strcpy(low, "/hard/compat/a");
    TELL("open", gate(5, low, (void *)O_RDONLY, 0), low);
    TELL("openat", gate(295, (void *)-100, low, 0), low);
    TELL("unlink", gate(10, low, 0, 0), low);
    TELL("mkdir", gate(39, low, (void *)0700, 0), low);
    TELL("chmod", gate(15, low, (void *)0700, 0), low);
    char *second = low + 256;
    strcpy(second, "/hard/compat/b");
    TELL("rename", gate(38, low, second, 0), low);
    // connect, by its own number and by the multiplexer.
    struct sockaddr_un *address = (void *)(low + 512);
    address->sun_family = AF_UNIX;
    strcpy(address->sun_path, "/hard/compat/s");
    long fd = socket(AF_UNIX, SOCK_STREAM, 0);
    TELL("connect", gate(362, (void *)fd, address, (void *)sizeof *address), address->sun_path);
    unsigned *args = (void *)(low + 1024);
    args[0] = fd; args[1] = (unsigned)(long)address; args[2] = sizeof *address;
    TELL("connect", gate(102, (void *)3, args, 0), address->sun_path);
    strcpy(second, "/hard/compat/program");
    unsigned *argv = (void *)(low + 2048);
    argv[0] = (unsigned)(long)second; argv[1] = 0;
    TELL("execve", gate(11, second, argv, argv + 1), second);
    strcpy(second, "/usr/bin/true");
    pid_t pid = fork();
    if (pid == 0) { gate(11, second, argv, argv + 1); _exit(1); }
    int status;
    waitpid(pid, &status, 0);
    TELL("execve", status, second);
}

static sigjmp_buf out_of_handler;
static void leap(int number) { (void)number; siglongjmp(out_of_handler, 1); }

/* The same call twice, with another name behind the same pointer: a handler is left by a long jump in between. */
static void rewritten(void) {
    static char name[64] = "rewritten-pipe";
    struct sigaction action = { .sa_handler = leap };
    mkfifo(name, 0600);
    sigaction(SIGALRM, &action, NULL);
    for (volatile int round = 0; round < 2; round++) {
        if (sigsetjmp(out_of_handler, 1) == 0) {
            if (round == 0) ualarm(50000, 0);
            syscall(SYS_openat, (long)AT_FDCWD, name, (long)O_RDONLY, 0L, 0L, 0L);
        }
        strcpy(name, "rewritten-none");
    }
}

int main(int argc, char **argv) {
    if (!strcmp(argv[1], "cold")) cold();
    else if (!strcmp(argv[1], "faults")) faults();
    else if (!strcmp(argv[1], "given")) given();
    else if (!strcmp(argv[1], "vfork")) vforks();
    else if (!strcmp(argv[1], "thread")) thread_exec();
    else if (!strcmp(argv[1], "killed")) killed(atol(argv[2]));
    else if (!strcmp(argv[1], "slow")) slow(atol(argv[2]));
    else if (!strcmp(argv[1], "rewritten")) rewritten();
    else if (!strcmp(argv[1], "compat")) compat();
    return 0;
}
