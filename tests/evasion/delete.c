// Deleting or emptying a file of a directory whose files must not be deleted.
#include "evade.h"
#include <linux/io_uring.h>

static void unlink_(void) { unlink(in("victim")); }
static void unlinkat_(void) { unlinkat(AT_FDCWD, in("victim"), 0); }
static void dirfd_(void) { unlinkat(open(protected_dir, O_PATH | O_DIRECTORY), "victim", 0); }
static void rmdir_(void) { rmdir(in("sub")); }
static void removedir(void) { unlinkat(AT_FDCWD, in("sub"), AT_REMOVEDIR); }
static void rename_away(void) { rename(in("victim"), scratch("away")); }
static void rename_within(void) { rename(in("victim"), in("elsewhere")); }
static void rename_parent(void) { rename(protected_dir, scratch("taken")); }
static void rename_over(void) {
    NEED(make_file(scratch("other"), "other"));
    rename(scratch("other"), in("victim"));
}
static void exchange(void) {
    NEED(make_file(scratch("other"), "other"));
    syscall(SYS_renameat2, AT_FDCWD, scratch("other"), AT_FDCWD, in("victim"), 2);
}
static void whiteout(void) { syscall(SYS_renameat2, AT_FDCWD, in("victim"), AT_FDCWD, scratch("away"), 4); }

static void truncate_(void) { truncate(in("victim"), 0); }
static void truncate_part(void) { truncate(in("victim"), 1); }
static void open_trunc(void) { open(in("victim"), O_WRONLY | O_TRUNC); }
static void open_trunc_reading(void) { open(in("victim"), O_RDONLY | O_TRUNC); }
static void creat_(void) { creat(in("victim"), 0600); }
static void ftruncate_(void) { ftruncate(open(in("victim"), O_WRONLY), 0); }
static void path_descriptor(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", open(in("victim"), O_PATH));
    truncate(path, 0);
}
static void link_truncate(void) {
    NEED(link(in("victim"), scratch("linked")));
    truncate(scratch("linked"), 0);
}

static void ring_unlink(void) { ring(IORING_OP_UNLINKAT, AT_FDCWD, in("victim"), 0, 0, 0); }
static void ring_unlink_polled(void) { ring_polled(IORING_OP_UNLINKAT, AT_FDCWD, in("victim"), 0, 0, 0); }
static void ring_rename(void) {
    ring(IORING_OP_RENAMEAT, AT_FDCWD, in("victim"), AT_FDCWD, (uintptr_t)scratch("away"), 0);
}
static void ring_trunc(void) { ring(IORING_OP_OPENAT, AT_FDCWD, in("victim"), 0, 0, O_WRONLY | O_TRUNC); }

static void proc_root(void) {
    char path[4200];
    snprintf(path, sizeof path, "/proc/self/root%s", in("victim"));
    unlink(path);
}
static void proc_cwd(void) {
    NEED(chdir(protected_dir));
    unlink("/proc/self/cwd/victim");
}
static void proc_fd(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d/victim", open(protected_dir, O_PATH));
    unlink(path);
}
static void symlinked_directory(void) {
    NEED(symlink(protected_dir, scratch("way")));
    unlink(scratch("way/victim"));
}
static void symlink_trunc(void) {
    NEED(symlink(in("victim"), scratch("way")));
    truncate(scratch("way"), 0);
}
static void dots(void) {
    char path[4200];
    snprintf(path, sizeof path, "%s/../../../../../../../..//.%s", scratch_dir, in("sub/../victim"));
    unlink(path);
}
static void deep(void) {
    char path[256] = "";
    for (int n = 0; n < 40; n++) {
        NEED(mkdir("d", 0755));
        NEED(chdir("d"));
    }
    for (int n = 0; n < 60; n++) strcat(path, "../");
    NEED(chdir(path));
    unlink(in("victim") + 1);
}

static void bind_mount(void) {
    bind_dir(protected_dir, scratch("m"));
    unlink(scratch("m/victim"));
    umount2(scratch("m"), MNT_DETACH);
}
static void bind_namespace(void) {
    private_mounts();
    bind_dir(protected_dir, scratch("m"));
    unlink(scratch("m/victim"));
}
static void bind_user_namespace(void) {
    private_user_mounts();
    bind_dir(protected_dir, scratch("m"));
    unlink(scratch("m/victim"));
}
static void bind_file(void) {
    private_mounts();
    NEED(make_file(scratch("f"), ""));
    NEED(mount(in("victim"), scratch("f"), NULL, MS_BIND, NULL));
    truncate(scratch("f"), 0);
}
static void bind_detached(void) {
    private_mounts();
    bind_dir(protected_dir, scratch("m"));
    int fd = open(scratch("m"), O_PATH);
    NEED(umount2(scratch("m"), MNT_DETACH));
    unlinkat(fd, "victim", 0);
}
static void tree_clone(void) {
    int fd = syscall(SYS_open_tree, AT_FDCWD, protected_dir, 1);
    NEED(fd);
    unlinkat(fd, "victim", 0);
}
static void chroot_(void) {
    NEED(chroot(protected_dir));
    unlink("/victim");
}
static void chroot_user_namespace(void) {
    private_user_mounts();
    NEED(chroot(protected_dir));
    unlink("/victim");
}
static void overlay_over_it(void) {
    char options[8192];
    NEED(mkdir(scratch("low"), 0755) | mkdir(scratch("work"), 0755) | mkdir(scratch("m"), 0755));
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s", scratch("low"), protected_dir,
             scratch("work"));
    NEED(mount("overlay", scratch("m"), "overlay", 0, options));
    unlink(scratch("m/victim"));
}
static void overlay_upper(void) {
    private_mounts();
    overlay_over_it();
}
static void overlay_user_namespace(void) {
    private_user_mounts();
    overlay_over_it();
}
static void covered(void) {
    // Another filesystem over the directory: the old one is still there through a descriptor.
    private_mounts();
    int fd = open(protected_dir, O_PATH);
    NEED(mount("tmpfs", protected_dir, "tmpfs", 0, NULL));
    unlinkat(fd, "victim", 0);
}
static void by_handle(void) {
    struct { struct file_handle head; char bytes[128]; } handle = {.head.handle_bytes = 128};
    int mount_id;
    NEED(name_to_handle_at(AT_FDCWD, in("victim"), &handle.head, &mount_id, 0));
    open_by_handle_at(AT_FDCWD, &handle.head, O_WRONLY | O_TRUNC);
}

static void gate_unlink(void) { gate32(10, (long)low(in("victim")), 0, 0, 0); }
static void gate_rename(void) { gate32(38, (long)low(in("victim")), (long)low(scratch("away")), 0, 0); }
static void gate_truncate(void) { gate32(92, (long)low(in("victim")), 0, 0, 0); }
static void thread(void) { in_thread(unlink_); }
static void child(void) { in_child(unlink_); }
static void program(void) {
    char *words[] = {"rm", "-f", (char *)in("victim"), NULL};
    execv("/bin/rm", words);
}

const struct technique delete_techniques[] = {
    {"unlink", unlink_, HARMED, 1},
    {"unlinkat", unlinkat_, HARMED},
    {"unlinkat_dirfd", dirfd_, HARMED},
    {"rmdir", rmdir_, HARMED},
    {"unlinkat_removedir", removedir, HARMED},
    {"rename_away", rename_away, HARMED, 1},
    {"rename_within", rename_within, HARMED},
    {"rename_parent", rename_parent, HARMED},
    {"rename_over", rename_over, HARMED},
    {"rename_exchange", exchange, HARMED},
    {"rename_whiteout", whiteout, HARMED},
    {"truncate", truncate_, HARMED},
    {"truncate_part", truncate_part, HARMED},
    {"open_trunc", open_trunc, HARMED, 1},
    {"open_trunc_reading", open_trunc_reading, HARMED},
    {"creat", creat_, HARMED},
    {"ftruncate", ftruncate_, HARMED},
    {"path_descriptor_truncate", path_descriptor, HARMED},
    {"hard_link_truncate", link_truncate, HARMED},
    {"ring_unlink", ring_unlink, HARMED, 1},
    {"ring_unlink_polled", ring_unlink_polled, HARMED},
    {"ring_rename", ring_rename, HARMED},
    {"ring_open_trunc", ring_trunc, HARMED},
    {"proc_root", proc_root, HARMED},
    {"proc_cwd", proc_cwd, HARMED},
    {"proc_fd", proc_fd, HARMED},
    {"symlinked_directory", symlinked_directory, HARMED},
    {"symlink_truncate", symlink_trunc, HARMED},
    {"dots", dots, HARMED},
    {"deep_directory", deep, HARMED},
    {"bind_mount", bind_mount, HARMED},
    {"bind_namespace", bind_namespace, HARMED, 1},
    {"bind_user_namespace", bind_user_namespace, HARMED},
    {"bind_file", bind_file, HARMED},
    {"bind_detached", bind_detached, HARMED},
    {"open_tree_clone", tree_clone, HARMED},
    {"chroot", chroot_, HARMED},
    {"chroot_user_namespace", chroot_user_namespace, HARMED},
    {"overlay_upper", overlay_upper, HARMED},
    {"overlay_user_namespace", overlay_user_namespace, HARMED},
    {"covered_by_a_mount", covered, HARMED},
    {"open_by_handle", by_handle, HARMED},
    {"gate32_unlink", gate_unlink, HARMED},
    {"gate32_rename", gate_rename, HARMED},
    {"gate32_truncate", gate_truncate, HARMED},
    {"thread", thread, HARMED},
    {"child", child, HARMED},
    {"program", program, HARMED},
    {0},
};
