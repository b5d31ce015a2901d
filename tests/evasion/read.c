// Reading a secret.
#include "evade.h"
#include <dirent.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <sys/sendfile.h>

static void open_(void) { got_from(open(in("victim"), O_RDONLY)); }
static void openat2_(void) {
    struct open_how how = {.flags = O_RDONLY};
    got_from(syscall(SYS_openat2, AT_FDCWD, in("victim"), &how, sizeof how));
}
static void read_write(void) { got_from(open(in("victim"), O_RDWR)); }
static void reopen(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", open(in("victim"), O_PATH));
    got_from(open(path, O_RDONLY));
}
static void dirfd_(void) { got_from(openat(open(protected_dir, O_PATH | O_DIRECTORY), "victim", O_RDONLY)); }
static void list(void) {
    DIR *dir = opendir(protected_dir);
    for (struct dirent *entry; dir && (entry = readdir(dir));) got(entry->d_name, strlen(entry->d_name));
}
static void by_handle(void) {
    struct { struct file_handle head; char bytes[128]; } handle = {.head.handle_bytes = 128};
    int mount_id;
    NEED(name_to_handle_at(AT_FDCWD, in("victim"), &handle.head, &mount_id, 0));
    got_from(open_by_handle_at(AT_FDCWD, &handle.head, O_RDONLY));
}
static void symlink_(void) {
    NEED(symlink(in("victim"), scratch("way")));
    got_from(open(scratch("way"), O_RDONLY));
}
static void symlinked_directory(void) {
    NEED(symlink(protected_dir, scratch("way")));
    got_from(open(scratch("way/victim"), O_RDONLY));
}
static void hard_link(void) {
    link(in("victim"), scratch("linked"));
    got_from(open(scratch("linked"), O_RDONLY));
}
static void link_by_descriptor(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", open(in("victim"), O_PATH));
    linkat(AT_FDCWD, path, AT_FDCWD, scratch("linked"), AT_SYMLINK_FOLLOW);
    got_from(open(scratch("linked"), O_RDONLY));
}
static void moved(void) {
    rename(in("victim"), scratch("moved"));
    got_from(open(scratch("moved"), O_RDONLY));
}
static void moved_parent(void) {
    rename(protected_dir, scratch("taken"));
    got_from(open(scratch("taken/victim"), O_RDONLY));
}
static void exchanged(void) {
    NEED(make_file(scratch("other"), "other"));
    syscall(SYS_renameat2, AT_FDCWD, scratch("other"), AT_FDCWD, in("victim"), 2);
    got_from(open(scratch("other"), O_RDONLY));
}
static void proc_root(void) {
    char path[4200];
    snprintf(path, sizeof path, "/proc/self/root%s", in("victim"));
    got_from(open(path, O_RDONLY));
}
static void proc_cwd(void) {
    NEED(chdir(protected_dir));
    got_from(open("/proc/self/cwd/victim", O_RDONLY));
}
static void bind_namespace(void) {
    private_mounts();
    bind_dir(protected_dir, scratch("m"));
    got_from(open(scratch("m/victim"), O_RDONLY));
}
static void bind_user_namespace(void) {
    private_user_mounts();
    bind_dir(protected_dir, scratch("m"));
    got_from(open(scratch("m/victim"), O_RDONLY));
}
static void tree_clone(void) {
    int fd = syscall(SYS_open_tree, AT_FDCWD, protected_dir, 1);
    NEED(fd);
    got_from(openat(fd, "victim", O_RDONLY));
}
static void chroot_(void) {
    // What it gets must be kept where it can be had after the chroot.
    int out = open(scratch("got"), O_WRONLY | O_CREAT, 0600);
    char bytes[4096];
    NEED(chroot(protected_dir));
    int fd = open("/victim", O_RDONLY);
    ssize_t size = fd < 0 ? -1 : read(fd, bytes, sizeof bytes);
    if (size > 0) write(out, bytes, size);
}
static void overlay_over_it(void) {
    char options[8192];
    NEED(mkdir(scratch("low"), 0755) | mkdir(scratch("m"), 0755));
    snprintf(options, sizeof options, "lowerdir=%s:%s", protected_dir, scratch("low"));
    NEED(mount("overlay", scratch("m"), "overlay", 0, options));
    got_from(open(scratch("m/victim"), O_RDONLY));
}
static void overlay_lower(void) {
    private_mounts();
    overlay_over_it();
}
static void overlay_user_namespace(void) {
    private_user_mounts();
    overlay_over_it();
}
static void ring_open(void) { got_from(ring(IORING_OP_OPENAT, AT_FDCWD, in("victim"), 0, 0, O_RDONLY)); }
static void ring_openat2(void) {
    struct open_how how = {.flags = O_RDONLY};
    got_from(ring(IORING_OP_OPENAT2, AT_FDCWD, in("victim"), sizeof how, (uintptr_t)&how, 0));
}
static void ring_open_polled(void) {
    got_from(ring_polled(IORING_OP_OPENAT, AT_FDCWD, in("victim"), 0, 0, O_RDONLY));
}
static void mmap_(void) {
    int fd = open(in("victim"), O_RDONLY);
    char *bytes = mmap(0, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes != MAP_FAILED) got(bytes, strnlen(bytes, 4096));
}
static void sendfile_(void) {
    int out = open(scratch("got"), O_WRONLY | O_CREAT, 0600);
    sendfile(out, open(in("victim"), O_RDONLY), NULL, 4096);
}
static void copied_to_memory(void) {
    int memory = memfd_create("copy", 0);
    copy_file_range(open(in("victim"), O_RDONLY), NULL, memory, NULL, 4096, 0);
    sendfile(memory, open(in("victim"), O_RDONLY), NULL, 4096);
    lseek(memory, 0, SEEK_SET);
    got_from(memory);
}
static void gate_open(void) { got_from(gate32(5, (long)low(in("victim")), O_RDONLY, 0, 0)); }
static void thread(void) { in_thread(open_); }
static void program(void) {
    int out = open(scratch("got"), O_WRONLY | O_CREAT, 0600);
    dup2(out, 1);
    char *words[] = {"cat", (char *)in("victim"), NULL};
    execv("/bin/cat", words);
}
static void shell_input(void) {
    // A shell's error quotes what it was told to run.
    int out = open(scratch("got"), O_WRONLY | O_CREAT, 0600);
    dup2(out, 2);
    char *words[] = {"sh", (char *)in("victim"), NULL};
    execv("/bin/sh", words);
}
static void script_of_interpreter(void) {
    char line[4200];
    int out = open(scratch("got"), O_WRONLY | O_CREAT, 0600);
    snprintf(line, sizeof line, "#!/bin/cat\n");
    NEED(make_file(scratch("script"), line));
    NEED(chmod(scratch("script"), 0755));
    dup2(out, 1);
    char *words[] = {"script", (char *)in("victim"), NULL};
    execv(scratch("script"), words);
}
static void passed(void) {
    // The child opens, the parent only receives the descriptor.
    int pair[2];
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    char room[CMSG_SPACE(sizeof(int))] = {0}, byte = 0;
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    if (fork() == 0) {
        int fd = open(in("victim"), O_RDONLY);
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        *head = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
        memcpy(CMSG_DATA(head), &fd, sizeof fd);
        sendmsg(pair[1], &message, 0);
        _exit(0);
    }
    close(pair[1]);
    got_from(receive(pair[0]));
    wait(NULL);
}

static void handed(void) { got_from(handed_over('r', in("victim"))); }
static void handed_directory(void) { got_from(openat(handed_over('r', protected_dir), "victim", O_RDONLY)); }
static void handed_to_a_ring(void) {
    // Received by a ring, not by a call.
    char ask[4200], room[CMSG_SPACE(sizeof(int))] = {0}, byte;
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    socklen_t size = broker_name(&name, "@evade-giver");
    int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    NEED(connect(fd, (void *)&name, size));
    snprintf(ask, sizeof ask, "r%s", in("victim"));
    NEED(send(fd, ask, strlen(ask) + 1, 0));
    if (ring(IORING_OP_RECVMSG, fd, &message, 1, 0, 0) == 1 && CMSG_FIRSTHDR(&message))
        got_from(*(int *)CMSG_DATA(CMSG_FIRSTHDR(&message)));
}

const struct technique read_techniques[] = {
    {"open", open_, LEAKED, 1},
    {"openat2", openat2_, LEAKED},
    {"open_read_write", read_write, LEAKED},
    {"path_descriptor_reopened", reopen, LEAKED},
    {"openat_dirfd", dirfd_, LEAKED},
    {"list", list, LEAKED},
    {"open_by_handle", by_handle, LEAKED},
    {"symlink", symlink_, LEAKED},
    {"symlinked_directory", symlinked_directory, LEAKED},
    {"hard_link", hard_link, LEAKED, 1},
    {"link_by_descriptor", link_by_descriptor, LEAKED},
    {"moved", moved, LEAKED},
    {"moved_parent", moved_parent, LEAKED},
    {"exchanged", exchanged, LEAKED},
    {"proc_root", proc_root, LEAKED},
    {"proc_cwd", proc_cwd, LEAKED},
    {"bind_namespace", bind_namespace, LEAKED, 1},
    {"bind_user_namespace", bind_user_namespace, LEAKED},
    {"open_tree_clone", tree_clone, LEAKED},
    {"chroot", chroot_, LEAKED},
    {"overlay_lower", overlay_lower, LEAKED},
    {"overlay_user_namespace", overlay_user_namespace, LEAKED},
    {"ring_open", ring_open, LEAKED, 1},
    {"ring_openat2", ring_openat2, LEAKED},
    {"ring_open_polled", ring_open_polled, LEAKED},
    {"mmap", mmap_, LEAKED},
    {"sendfile", sendfile_, LEAKED},
    {"copied_to_memory", copied_to_memory, LEAKED},
    {"gate32_open", gate_open, LEAKED},
    {"thread", thread, LEAKED},
    {"program", program, LEAKED},
    {"shell_input", shell_input, LEAKED},
    {"script_of_an_interpreter", script_of_interpreter, LEAKED},
    {"descriptor_passed", passed, LEAKED},
    {"descriptor_handed_over", handed, LEAKED, 1},
    {"directory_handed_over", handed_directory, LEAKED},
    {"handed_to_a_ring", handed_to_a_ring, LEAKED},
    {0},
};
