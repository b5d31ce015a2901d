// What others have open or mapped and no rule has a word for, reached by proc; what makes others wait; and what the
// kernel holds for all: keys, and cgroups.
#include "evade.h"
#include <dirent.h>
#include <linux/io_uring.h>

// The target's first descriptor or mapping whose link begins so, by the link's own path.
static const char *of_target(const char *dir, const char *begins) {
    static char path[300];
    char leads[256] = "";
    snprintf(path, sizeof path, "/proc/%d/%s", target, dir);
    DIR *all = opendir(path);
    NEED(all ? 0 : -1);
    for (struct dirent *each; (each = readdir(all));) {
        snprintf(path, sizeof path, "/proc/%d/%s/%s", target, dir, each->d_name);
        ssize_t size = readlink(path, leads, sizeof leads - 1);
        if (size > 0 && !strncmp(leads, begins, strlen(begins))) return path;
    }
    fprintf(stderr, "the target has no %s in %s\n", begins, dir);
    exit(3);
}

static void pipe_(void) { claim(open(of_target("fd", "pipe:"), O_RDWR | O_NONBLOCK) >= 0); }
static void pipe_of_a_thread(void) {
    char dir[64];
    snprintf(dir, sizeof dir, "task/%d/fd", target);
    claim(open(of_target(dir, "pipe:"), O_RDWR | O_NONBLOCK) >= 0);
}
static void memory(void) { claim(open(of_target("fd", "/memfd:"), O_RDWR) >= 0); }
static void mapping(void) { claim(open(of_target("map_files", "/memfd:"), O_RDONLY) >= 0); }
static void by_ring(void) {
    claim(ring(IORING_OP_OPENAT, AT_FDCWD, of_target("fd", "/memfd:"), 0, 0, O_RDWR) >= 0);
}
static void lease(void) {
    int fd = open(in("victim"), O_RDONLY);
    NEED(fd);
    claim(fcntl(fd, F_SETLEASE, F_RDLCK) == 0);
}

// What lies below an overlay is opened by the overlay.
static void key_through_an_overlay(void) {
    char options[8192], byte;
    private_mounts();
    NEED(mkdir(scratch("low"), 0755) | mkdir(scratch("m"), 0755));
    snprintf(options, sizeof options, "lowerdir=/var/lib/rgt/keys:%s", scratch("low"));
    NEED(mount("overlay", scratch("m"), "overlay", 0, options));
    int fd = open(scratch("m/seal.key"), O_RDONLY);
    claim(fd >= 0 && read(fd, &byte, 1) == 1);
    umount(scratch("m"));
}

enum { THREADS_RING = -1, SESSIONS_RING = -3 };
static void key_added(void) { claim(syscall(SYS_add_key, "user", "evade", "x", 1, THREADS_RING) > 0); }
static void key_ring_joined(void) { claim(syscall(SYS_keyctl, 1, NULL) > 0); }
static void key_ring_found(void) { claim(syscall(SYS_keyctl, 0, SESSIONS_RING, 1) > 0); }
static void key_by_gate32(void) {
    claim(gate32(286, (long)low("user"), (long)low("evade"), (long)low("x"), 1) > 0 || gate32(288, 1, 0, 0, 0) > 0);
}
static void cgroup_made(void) {
    char path[300];
    own_cgroup(path, sizeof path, "below");
    if (mkdir(path, 0755)) return;
    claim(1);
    NEED(rmdir(path));
}
static void cgroup_limited(void) {
    char path[300];
    own_cgroup(path, sizeof path, "cgroup.subtree_control");
    claim(open(path, O_WRONLY) >= 0);
}

const struct technique others_techniques[] = {
    {"pipe", pipe_, CLAIMED, 1},
    {"pipe_of_a_thread", pipe_of_a_thread, CLAIMED},
    {"bare_memory", memory, CLAIMED, 1},
    {"bare_mapping", mapping, CLAIMED},
    {"bare_memory_by_ring", by_ring, CLAIMED},
    {"lease", lease, CLAIMED},
    {"key_through_an_overlay", key_through_an_overlay, CLAIMED, 1},
    {"key_added", key_added, CLAIMED, 1},
    {"key_ring_joined", key_ring_joined, CLAIMED},
    {"key_ring_found", key_ring_found, CLAIMED},
    {"key_by_gate32", key_by_gate32, CLAIMED},
    {"cgroup_made", cgroup_made, CLAIMED, 1},
    {"cgroup_limited", cgroup_limited, CLAIMED},
    {0},
};
