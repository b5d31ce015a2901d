// What goes by a number: signals to processes of the agent's own, capabilities, and how often something may be done.
#include "evade.h"
#include <arpa/inet.h>
#include <linux/capability.h>
#include <linux/io_uring.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/xattr.h>
#include <time.h>

// Signals: USR1, KILL and 40 are denied. What one is sent shows by how the child ends.
static pid_t child(void) {
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        sleep(3);
        _exit(0);
    }
    setpgid(pid, pid);
    return pid;
}
static void ended_by(pid_t pid, int signal) {
    int status = 0;
    for (int wait = 0; wait < 150 && waitpid(pid, &status, WNOHANG) == 0; wait++) usleep(1000);
    claim(WIFSIGNALED(status) && WTERMSIG(status) == signal);
    kill(pid, SIGTERM);
}

static void kill_(void) {
    pid_t pid = child();
    kill(pid, SIGUSR1);
    ended_by(pid, SIGUSR1);
}
static void to_a_thread(void) {
    pid_t pid = child();
    syscall(SYS_tkill, pid, SIGUSR1);
    ended_by(pid, SIGUSR1);
}
static void to_a_thread_of_a_group(void) {
    pid_t pid = child();
    syscall(SYS_tgkill, pid, pid, 40);
    ended_by(pid, 40);
}
static siginfo_t *queued(int signal) {
    static siginfo_t info;
    info = (siginfo_t){.si_signo = signal, .si_code = SI_QUEUE, .si_pid = getpid(), .si_uid = getuid()};
    return &info;
}
static void queued_(void) {
    pid_t pid = child();
    syscall(SYS_rt_sigqueueinfo, pid, 40, queued(40));
    ended_by(pid, 40);
}
static void queued_to_a_thread(void) {
    pid_t pid = child();
    syscall(SYS_rt_tgsigqueueinfo, pid, pid, SIGUSR1, queued(SIGUSR1));
    ended_by(pid, SIGUSR1);
}
static void by_pidfd(void) {
    pid_t pid = child();
    syscall(SYS_pidfd_send_signal, syscall(SYS_pidfd_open, pid, 0), SIGKILL, NULL, 0);
    ended_by(pid, SIGKILL);
}
static void to_a_group(void) {
    pid_t pid = child();
    kill(-pid, SIGUSR1);
    ended_by(pid, SIGUSR1);
}
static void to_all(void) {
    // All are those of a namespace of its own.
    if (unshare(CLONE_NEWPID)) NEED(unshare(CLONE_NEWUSER | CLONE_NEWPID));
    if (fork() == 0) {
        pid_t pid = child();
        kill(-1, SIGUSR1);
        ended_by(pid, SIGUSR1);
        _exit(0);
    }
    wait(NULL);
}
static void by_gate(void) {
    pid_t pid = child();
    gate32(37, pid, SIGUSR1, 0, 0);
    ended_by(pid, SIGUSR1);
}
static void to_its_parent(void) {
    pid_t pid = fork();
    if (pid == 0) {
        pid_t own = getpid();
        if (fork() == 0) {
            kill(own, SIGUSR1);
            _exit(0);
        }
        sleep(3);
        _exit(0);
    }
    ended_by(pid, SIGUSR1);
}
static void by_a_file(pid_t owner) {
    int pair[2];
    NEED(pipe(pair));
    fcntl(pair[0], F_SETSIG, SIGUSR1);
    fcntl(pair[0], F_SETFL, O_ASYNC | O_NONBLOCK);
    if (fcntl(pair[0], F_SETOWN, owner) == 0) write(pair[1], "x", 1);
}
static void by_a_descriptor(void) {
    pid_t pid = child();
    by_a_file(pid);
    ended_by(pid, SIGUSR1);
}
static void to_oneself_by_a_descriptor(void) {
    pid_t pid = fork();
    if (pid == 0) {
        by_a_file(getpid());
        _exit(0);
    }
    ended_by(pid, SIGUSR1);
}
static void to_oneself_by_a_timer(void) {
    pid_t pid = fork();
    if (pid == 0) {
        timer_t timer;
        struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
        struct itimerspec soon = {{0}, {0, 1}};
        timer_create(CLOCK_MONOTONIC, &event, &timer);
        timer_settime(timer, 0, &soon, NULL);
        usleep(100000);
        _exit(0);
    }
    ended_by(pid, SIGUSR1);
}
// Whose parent ends is sent what it has asked for. Then nobody is left who could say so but a pipe's end.
static void at_a_parents_death(void) {
    int alive[2];
    char byte;
    NEED(pipe(alive));
    if (fork() == 0) {
        int ready[2];
        pipe(ready);
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGUSR1);
            write(ready[1], "x", 1);
            usleep(200000);
            write(alive[1], "x", 1);
            _exit(0);
        }
        read(ready[0], &byte, 1);
        _exit(0);
    }
    close(alive[1]);
    claim(read(alive[0], &byte, 1) == 0);
}
static void by_a_tracer(void) {
    pid_t pid = fork();
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    ptrace(PTRACE_CONT, pid, 0, SIGUSR1);
    ended_by(pid, SIGUSR1);
}
static void by_a_cgroup(void) {
    char path[512];
    own_cgroup(path, sizeof path, "evade-killed");
    NEED(mkdir(path, 0755));
    int dir = open(path, O_RDONLY | O_DIRECTORY);
    struct clone_args arguments = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = dir};
    pid_t pid = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (pid == 0) {
        sleep(3);
        _exit(0);
    }
    write(openat(dir, "cgroup.kill", O_WRONLY), "1", 1);
    ended_by(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    rmdir(path);
}

// Capabilities: CHOWN, NET_RAW and DAC_READ_SEARCH are denied.
enum { STRANGER = 12345 };
static void gives_away(void) { chown(in("victim"), STRANGER, -1); }
static void gives_away_by_gate(void) { gate32(212, (long)low(in("victim")), STRANGER, -1, 0); }
static void gives_away_by_thread(void) { in_thread(gives_away); }
// `evade own PATH` does the same.
static void own(const char *program) { execl(program, "evade", "own", in("victim"), NULL); }
static void of_a_setuid_program(void) { own("/e/own"); }
static void keep_chown(unsigned inheritable) {
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct sets[2] = {{1 << CAP_CHOWN, 1 << CAP_CHOWN, inheritable}};
    NEED(syscall(SYS_capset, &head, sets));
}
static void ambient(void) {
    NEED(prctl(PR_SET_KEEPCAPS, 1));
    NEED(setresuid(1000, 1000, 1000));
    keep_chown(1 << CAP_CHOWN);
    NEED(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0));
    own("/usr/local/bin/evade");
}
static void of_a_file(void) {
    struct vfs_cap_data held = {VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE, {{1 << CAP_CHOWN, 0}}};
    int from = open("/usr/local/bin/evade", O_RDONLY), to = open(scratch("own"), O_WRONLY | O_CREAT, 0755);
    NEED(from);
    NEED(to);
    while (sendfile(to, from, NULL, 1 << 20) > 0) {}
    close(to);
    NEED(setxattr(scratch("own"), "security.capability", &held, XATTR_CAPS_SZ_2, 0));
    NEED(setresuid(1000, 1000, 1000));
    own(scratch("own"));
}
static void raw(void) { claim(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) >= 0); }
static void raw_in_a_namespace(void) {
    NEED(unshare(CLONE_NEWUSER | CLONE_NEWNET));
    raw();
}
enum { RING_SOCKET = 45 };
static void raw_by_ring(void) { claim(ring(RING_SOCKET, AF_INET, NULL, IPPROTO_ICMP, SOCK_RAW, 0) >= 0); }
static void raw_by_ring_polled(void) { claim(ring_polled(RING_SOCKET, AF_INET, NULL, IPPROTO_ICMP, SOCK_RAW, 0) >= 0); }
static void by_handle(void) {
    struct { struct file_handle head; char bytes[128]; } handle = {.head.handle_bytes = 128};
    int mount_id;
    NEED(name_to_handle_at(AT_FDCWD, in("victim"), &handle.head, &mount_id, 0));
    claim(open_by_handle_at(AT_FDCWD, &handle.head, O_RDONLY) >= 0);
}

// Limits: a technique may make three files. They are counted by who is no agent.
enum { WORKERS = 8 };
static const char *next_file(void) {
    static int made;
    char name[64];
    snprintf(name, sizeof name, "%ld.%d", syscall(SYS_gettid), __atomic_fetch_add(&made, 1, __ATOMIC_RELAXED));
    return in(name);
}
static void make_some(void) {
    for (int n = 0; n < WORKERS; n++) open(next_file(), O_WRONLY | O_CREAT | O_EXCL, 0644);
}
static void make_some_by_ring(void) {
    for (int n = 0; n < WORKERS; n++) ring(IORING_OP_OPENAT, AT_FDCWD, next_file(), 0644, 0, O_WRONLY | O_CREAT | O_EXCL);
}
static void *thread_main(void *run) {
    ((void (*)(void))run)();
    return NULL;
}
static void at_once(void (*run)(void)) {
    pthread_t threads[WORKERS];
    for (int n = 0; n < WORKERS; n++)
        if (pthread_create(&threads[n], NULL, thread_main, (void *)run)) exit(3);
    for (int n = 0; n < WORKERS; n++) pthread_join(threads[n], NULL);
}
static void by_children(void (*before)(void)) {
    for (int n = 0; n < WORKERS; n++)
        if (fork() == 0) {
            if (before) before();
            make_some();
            _exit(0);
        }
    while (wait(NULL) > 0) {}
}
static void daemon_(void) { setsid(); }
static void elsewhere(void) { NEED(unshare(CLONE_NEWUSER | CLONE_NEWNS)); }
static void threads(void) { at_once(make_some); }
static void children(void) { by_children(NULL); }
static void sessions(void) { by_children(daemon_); }
static void namespaces(void) { by_children(elsewhere); }
static void vforked(void) {
    for (int n = 0; n < WORKERS; n++)
        if (vfork() == 0) {
            open(next_file(), O_WRONLY | O_CREAT | O_EXCL, 0644);
            _exit(0);
        }
}
static void rings(void) { at_once(make_some_by_ring); }
static void programs(void) {
    for (int n = 0; n < WORKERS; n++)
        if (fork() == 0) execl("/bin/touch", "touch", next_file(), NULL);
    while (wait(NULL) > 0) {}
}

// … and send three datagrams, or a hundred bytes.
static struct sockaddr_in goal;
static int sent;
static int sender(int connected) {
    int in = socket(AF_INET, SOCK_DGRAM, 0), out = socket(AF_INET, SOCK_DGRAM, 0);
    goal = (struct sockaddr_in){AF_INET, htons(port + 2500), {htonl(INADDR_LOOPBACK)}};
    NEED(bind(in, (void *)&goal, sizeof goal));
    if (connected) NEED(connect(out, (void *)&goal, sizeof goal));
    return out;
}
static void batch(int out, void *name, size_t size) {
    struct iovec data = {"hello", 5};
    struct mmsghdr messages[WORKERS];
    for (int n = 0; n < WORKERS; n++)
        messages[n] = (struct mmsghdr){{.msg_name = name, .msg_namelen = size, .msg_iov = &data, .msg_iovlen = 1}, 0};
    claim(sendmmsg(out, messages, WORKERS, 0) > 3);
}
static void batches(void) { batch(sender(0), &goal, sizeof goal); }
static void batches_connected(void) { batch(sender(1), NULL, 0); }
static int socket_of_all;
static void send_some(void) {
    for (int n = 0; n < WORKERS; n++)
        if (send(socket_of_all, "0123456789", 10, 0) > 0) __atomic_fetch_add(&sent, 10, __ATOMIC_RELAXED);
}
static void bytes(void) {
    socket_of_all = sender(1);
    at_once(send_some);
    claim(sent > 100);
}

const struct technique numbers_techniques[] = {
    // Policies name the ports of these three: they stand first.
    {"limit_batches", batches, CLAIMED},
    {"limit_batches_connected", batches_connected, CLAIMED},
    {"limit_bytes", bytes, CLAIMED},
    {"limit_threads", threads, MANY, 1},
    {"limit_children", children, MANY},
    {"limit_sessions", sessions, MANY},
    {"limit_namespaces", namespaces, MANY},
    {"limit_vforked", vforked, MANY},
    {"limit_rings", rings, MANY},
    {"limit_programs", programs, MANY},
    {"signal_kill", kill_, CLAIMED},
    {"signal_to_a_thread", to_a_thread, CLAIMED},
    {"signal_to_a_thread_of_a_group", to_a_thread_of_a_group, CLAIMED},
    {"signal_queued", queued_, CLAIMED},
    {"signal_queued_to_a_thread", queued_to_a_thread, CLAIMED},
    {"signal_by_pidfd", by_pidfd, CLAIMED},
    {"signal_to_a_group", to_a_group, CLAIMED},
    {"signal_to_all", to_all, CLAIMED},
    {"signal_by_gate32", by_gate, CLAIMED},
    {"signal_to_its_parent", to_its_parent, CLAIMED},
    {"signal_by_a_descriptor", by_a_descriptor, CLAIMED},
    {"signal_to_oneself_by_a_descriptor", to_oneself_by_a_descriptor, CLAIMED},
    {"signal_to_oneself_by_a_timer", to_oneself_by_a_timer, CLAIMED},
    {"signal_at_a_parents_death", at_a_parents_death, CLAIMED},
    {"signal_by_a_tracer", by_a_tracer, CLAIMED},
    {"signal_by_a_cgroup", by_a_cgroup, CLAIMED},
    {"capability_used", gives_away, ADDED},
    {"capability_by_gate32", gives_away_by_gate, ADDED},
    {"capability_by_thread", gives_away_by_thread, ADDED},
    {"capability_of_a_setuid_program", of_a_setuid_program, ADDED},
    {"capability_ambient", ambient, ADDED},
    {"capability_of_a_file", of_a_file, ADDED},
    {"capability_for_a_socket", raw, CLAIMED},
    {"capability_in_a_namespace", raw_in_a_namespace, CLAIMED},
    {"capability_by_ring", raw_by_ring, CLAIMED},
    {"capability_by_ring_polled", raw_by_ring_polled, CLAIMED},
    {"capability_for_a_handle", by_handle, CLAIMED},
    {0},
};
