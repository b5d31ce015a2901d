// What is no agent: a server on every technique's ports, and a process that each may reach for.
// Whatever reaches them leaves /e/heard.USER.TECHNIQUE.
#include "evade.h"
#include <grp.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <sys/prctl.h>

enum { MOST = 512 };
static struct pollfd sockets[MOST];
static char heard_on[MOST][64];
static int sockets_in_use;
static pid_t targets[MOST];
static char target_of[MOST][64];
static int targets_in_use;

static void mark(const char *name) {
    char path[256];
    snprintf(path, sizeof path, "/e/heard.%d.%s", user, name);
    close(open(path, O_WRONLY | O_CREAT, 0644));
}

static void add(int fd, const void *name, socklen_t size, int stream, const char *technique) {
    if (fd < 0 || bind(fd, name, size) || (stream && listen(fd, 8))) {
        fprintf(stderr, "%s: cannot listen: %s\n", technique, strerror(errno));
        return;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    snprintf(heard_on[sockets_in_use], sizeof heard_on[0], "%s", technique);
    sockets[sockets_in_use++] = (struct pollfd){fd, POLLIN, 0};
}

void listen_for(const struct family *family, const struct technique *technique) {
    (void)family;
    // Both families of addresses.
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = in6addr_any};
    struct sockaddr_vm near = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    snprintf(local.sun_path, sizeof local.sun_path, "%s", unix_path());
    int on = 1, stream = socket(AF_INET6, SOCK_STREAM, 0);
    setsockopt(stream, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    add(stream, &any, sizeof any, 1, technique->name);
    add(socket(AF_INET6, SOCK_DGRAM, 0), &any, sizeof any, 0, technique->name);
    unlink(local.sun_path);
    add(socket(AF_UNIX, SOCK_STREAM, 0), &local, sizeof local, 1, technique->name);
    if (!strcmp(technique->name, "vsock")) add(socket(AF_VSOCK, SOCK_STREAM, 0), &near, sizeof near, 1, technique->name);
    chmod(local.sun_path, 0777);
}

static volatile long word;

// Services that run programs for whoever asks have such names.
static const char *const brokers[] = {"/e/docker.sock", "/e/systemd/private", "/e/tmux-0/default", "@/tmp/dbus-evade"};

void listen_as_brokers(void) {
    for (unsigned n = 0; n < sizeof brokers / sizeof *brokers; n++) {
        struct sockaddr_un name = {.sun_family = AF_UNIX};
        socklen_t size = broker_name(&name, brokers[n]);
        char dir[64];
        snprintf(dir, sizeof dir, "%s", brokers[n]);
        if (*dir == '/') {
            *strrchr(dir, '/') = 0;
            mkdir(dir, 0755);
            unlink(name.sun_path);
        }
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        NEED(bind(fd, (void *)&name, size));
        NEED(listen(fd, 16));
        if (*dir == '/') NEED(chmod(brokers[n], 0777));
    }
}

void make_target(const struct family *family, const struct technique *technique) {
    char path[256], text[64];
    (void)family;
    int ready[2];
    NEED(pipe(ready));
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setpgid(0, 0);
        snprintf(path, sizeof path, "/e/target.%d", getpid());
        snprintf(text, sizeof text, "%lx\n", (unsigned long)&word);
        NEED(make_file(path, text));
        NEED(setgroups(0, NULL));
        NEED(setresgid(user, user, user));
        NEED(setresuid(user, user, user));
        prctl(PR_SET_DUMPABLE, 1);
        prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
        // Memory that bears no name, and the pipe that stays open.
        int bare = memfd_create("target", 0);
        NEED(ftruncate(bare, 4096));
        if (mmap(NULL, 4096, PROT_READ, MAP_SHARED, bare, 0) == MAP_FAILED) _exit(3);
        write(ready[1], "x", 1);
        while (!word) usleep(20000);
        _exit(7);
    }
    read(ready[0], text, 1);
    close(ready[0]);
    close(ready[1]);
    snprintf(path, sizeof path, "/e/pid.%d.%s", user, technique->name);
    snprintf(text, sizeof text, "%d\n", pid);
    NEED(make_file(path, text));
    snprintf(target_of[targets_in_use], sizeof target_of[0], "%s", technique->name);
    targets[targets_in_use++] = pid;
}

// Opens what it is asked for, and hands it over: one byte that says how, then the path.
static int giver;

static void give(int to) {
    char asked[4200] = "", room[CMSG_SPACE(sizeof(int))] = {0};
    if (recv(to, asked, sizeof asked - 1, 0) < 2) return;
    int fd = open(asked + 1, *asked == 'w' ? O_RDWR : O_RDONLY);
    struct iovec data = {asked, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    *head = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
    memcpy(CMSG_DATA(head), &fd, sizeof fd);
    if (fd >= 0) sendmsg(to, &message, 0);
    close(fd);
}

void listen_as_giver(void) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    socklen_t size = broker_name(&name, "@evade-giver");
    giver = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    NEED(bind(giver, (void *)&name, size));
    NEED(listen(giver, 8));
    NEED(fcntl(giver, F_SETFL, O_NONBLOCK));
}

static volatile sig_atomic_t done;
static void end(int signal) { done = signal; }

void serve(void) {
    signal(SIGTERM, end);
    close(open("/e/serving", O_WRONLY | O_CREAT, 0644));
    while (!done) {
        if (poll(sockets, sockets_in_use, 20) > 0) {
            for (int n = 0; n < sockets_in_use; n++) {
                if (!(sockets[n].revents & POLLIN)) continue;
                char bytes[64];
                int fd = accept(sockets[n].fd, NULL, NULL);
                if (fd >= 0 || recv(sockets[n].fd, bytes, sizeof bytes, 0) > 0) mark(heard_on[n]);
                close(fd);
            }
        }
        int asking = accept(giver, NULL, NULL);
        if (asking >= 0) give(asking);
        close(asking);
        int status;
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0;)
            for (int n = 0; n < targets_in_use; n++)
                if (targets[n] == pid) mark(target_of[n]);
    }
    for (int n = 0; n < targets_in_use; n++) kill(targets[n], SIGKILL);
}
