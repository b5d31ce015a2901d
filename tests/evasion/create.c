// Making or changing something in a directory that is not to be written to.
#include "evade.h"
#include <linux/falloc.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <sys/xattr.h>

static void put(int fd) { write(fd, "changed", 7); }

static void o_creat(void) { open(in("new"), O_WRONLY | O_CREAT, 0644); }
static void o_excl(void) { open(in("new"), O_RDONLY | O_CREAT | O_EXCL, 0644); }
static void openat2_(void) {
    struct open_how how = {.flags = O_WRONLY | O_CREAT, .mode = 0644};
    syscall(SYS_openat2, AT_FDCWD, in("new"), &how, sizeof how);
}
static void mknod_(void) { mknod(in("new"), S_IFREG | 0644, 0); }
static void fifo(void) { mkfifo(in("new"), 0644); }
static void mkdir_(void) { mkdir(in("new"), 0755); }
static void symlink_(void) { symlink("/etc", in("new")); }
static void socket_(void) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof name.sun_path, "%s", in("new"));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    NEED(fd);
    syscall(SYS_bind, fd, &name, sizeof name);
}
static void link_into(void) {
    NEED(make_file(scratch("other"), "other"));
    link(scratch("other"), in("new"));
}
static void rename_into(void) {
    NEED(make_file(scratch("other"), "other"));
    rename(scratch("other"), in("new"));
}
static void directory_into(void) {
    NEED(mkdir(scratch("made"), 0755));
    rename(scratch("made"), in("new"));
}
static void unnamed_inside(void) {
    char path[64];
    int fd = open(protected_dir, O_WRONLY | O_TMPFILE, 0644);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    linkat(AT_FDCWD, path, AT_FDCWD, in("new"), AT_SYMLINK_FOLLOW);
}
static void unnamed_outside(void) {
    char path[64];
    int fd = open(scratch_dir, O_WRONLY | O_TMPFILE, 0644);
    NEED(fd);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    linkat(AT_FDCWD, path, AT_FDCWD, in("new"), AT_SYMLINK_FOLLOW);
}
static void write_(void) { put(open(in("victim"), O_WRONLY)); }
static void append(void) { put(open(in("victim"), O_WRONLY | O_APPEND)); }
static void read_write(void) { put(open(in("victim"), O_RDWR)); }
static void shared_map(void) {
    char *bytes = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, open(in("victim"), O_RDWR), 0);
    if (bytes != MAP_FAILED) memcpy(bytes, "changed", 7);
}
static void reopen(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", open(in("victim"), O_RDONLY));
    put(open(path, O_WRONLY));
}
static void punch(void) {
    fallocate(open(in("victim"), O_WRONLY), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 3);
}
static void linked_out(void) {
    link(in("victim"), scratch("linked"));
    put(open(scratch("linked"), O_WRONLY));
}
static void moved_out(void) {
    rename(in("victim"), scratch("moved"));
    put(open(scratch("moved"), O_WRONLY));
    rename(scratch("moved"), in("victim"));
}
static void chmod_(void) { chmod(in("victim"), 0777); }
static void fchmod_(void) { fchmod(open(in("victim"), O_RDONLY), 0777); }
static void proc_chmod(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", open(in("victim"), O_PATH));
    chmod(path, 0777);
}
static void times(void) {
    struct timespec at[2] = {{1, 0}, {1, 0}};
    utimensat(AT_FDCWD, in("victim"), at, 0);
}
static void times_by_descriptor(void) {
    struct timespec at[2] = {{1, 0}, {1, 0}};
    futimens(open(in("victim"), O_RDONLY), at);
}
static void times_by_gate(void) {
    // utimes: the same fields, half as wide.
    static const uint32_t at[4] = {1, 0, 1, 0};
    char *low_at = (char *)low("0123456789abcdef");
    memcpy(low_at, at, sizeof at);
    gate32(271, (long)low(in("victim")), (long)low_at, 0, 0);
}
// Other flags than none: that it is not to be dumped, which any owner may say.
static void flags_(void) {
    int flags = FS_NODUMP_FL;
    ioctl(open(in("victim"), O_RDONLY), FS_IOC_SETFLAGS, &flags);
}
static void extended_flags(void) {
    struct fsxattr flags = {.fsx_xflags = FS_XFLAG_NODUMP};
    ioctl(open(in("victim"), O_RDONLY), FS_IOC_FSSETXATTR, &flags);
}
static void flags_by_gate(void) {
    char *low_flags = (char *)low("....");
    memcpy(low_flags, &(int){FS_NODUMP_FL}, sizeof(int));
    gate32(54, open(in("victim"), O_RDONLY), 0x40046602 /* FS_IOC32_SETFLAGS */, (long)low_flags, 0);
}
// These two the policy lets move and delete: what is denied is that something comes to stand where they were.
static void exchange_made(void) {
    NEED(make_file(scratch("other"), "other"));
    syscall(SYS_renameat2, AT_FDCWD, in("victim"), AT_FDCWD, scratch("other"), RENAME_EXCHANGE);
}
static void exchange_made_by_ring(void) {
    NEED(make_file(scratch("other"), "other"));
    ring(IORING_OP_RENAMEAT, AT_FDCWD, in("victim"), AT_FDCWD, (uintptr_t)scratch("other"), RENAME_EXCHANGE);
}
static void whiteout_made(void) {
    syscall(SYS_renameat2, AT_FDCWD, in("victim"), AT_FDCWD, scratch("away"), RENAME_WHITEOUT);
}
static void whiteout_made_by_ring(void) {
    ring(IORING_OP_RENAMEAT, AT_FDCWD, in("victim"), AT_FDCWD, (uintptr_t)scratch("away"), RENAME_WHITEOUT);
}
static void by_handle(void) {
    struct { struct file_handle head; char bytes[128]; } handle = {.head.handle_bytes = 128};
    int mount_id;
    NEED(name_to_handle_at(AT_FDCWD, in("victim"), &handle.head, &mount_id, 0));
    put(open_by_handle_at(AT_FDCWD, &handle.head, O_WRONLY));
}
static void ring_create(void) { ring(IORING_OP_OPENAT, AT_FDCWD, in("new"), 0644, 0, O_WRONLY | O_CREAT); }
static void ring_mkdir(void) { ring(IORING_OP_MKDIRAT, AT_FDCWD, in("new"), 0755, 0, 0); }
static void ring_symlink(void) {
    ring(IORING_OP_SYMLINKAT, AT_FDCWD, "/etc", 0, (uintptr_t)in("new"), 0);
}
static void ring_link(void) {
    NEED(make_file(scratch("other"), "other"));
    ring(IORING_OP_LINKAT, AT_FDCWD, scratch("other"), AT_FDCWD, (uintptr_t)in("new"), 0);
}
static void bind_namespace(void) {
    private_mounts();
    bind_dir(protected_dir, scratch("m"));
    open(scratch("m/new"), O_WRONLY | O_CREAT, 0644);
}
static void bind_user_namespace(void) {
    private_user_mounts();
    bind_dir(protected_dir, scratch("m"));
    open(scratch("m/new"), O_WRONLY | O_CREAT, 0644);
}
static void tree_clone(void) {
    int fd = syscall(SYS_open_tree, AT_FDCWD, protected_dir, 1);
    NEED(fd);
    openat(fd, "new", O_WRONLY | O_CREAT, 0644);
}
static void chroot_(void) {
    NEED(chroot(protected_dir));
    mkdir("/new", 0755);
}
static void overlay_over_it(void) {
    char options[8192];
    NEED(mkdir(scratch("low"), 0755) | mkdir(scratch("work"), 0755) | mkdir(scratch("m"), 0755));
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s", scratch("low"), protected_dir,
             scratch("work"));
    NEED(mount("overlay", scratch("m"), "overlay", 0, options));
    mkdir(scratch("m/new"), 0755);
}
static void overlay_upper(void) {
    private_mounts();
    overlay_over_it();
}
static void overlay_user_namespace(void) {
    private_user_mounts();
    overlay_over_it();
}
static void symlinked_directory(void) {
    NEED(symlink(protected_dir, scratch("way")));
    open(scratch("way/new"), O_WRONLY | O_CREAT, 0644);
}
static void dangling_symlink(void) {
    NEED(symlink(in("new"), scratch("way")));
    open(scratch("way"), O_WRONLY | O_CREAT, 0644);
}
static void proc_cwd(void) {
    NEED(chdir(protected_dir));
    mkdir("/proc/self/cwd/new", 0755);
}
static void gate_create(void) { gate32(5, (long)low(in("new")), O_WRONLY | O_CREAT, 0644, 0); }
static void gate_mkdir(void) { gate32(39, (long)low(in("new")), 0755, 0, 0); }
static void program(void) {
    char *words[] = {"touch", (char *)in("new"), NULL};
    execv("/bin/touch", words);
}

static void handed(void) { put(handed_over('w', in("victim"))); }

const struct technique create_techniques[] = {
    {"o_creat", o_creat, ADDED, 1},
    {"o_creat_o_excl", o_excl, ADDED},
    {"openat2", openat2_, ADDED},
    {"mknod", mknod_, ADDED},
    {"mkfifo", fifo, ADDED},
    {"mkdir", mkdir_, ADDED, 1},
    {"symlink", symlink_, ADDED},
    {"socket", socket_, ADDED},
    {"link_into", link_into, ADDED},
    {"rename_into", rename_into, ADDED, 1},
    {"directory_into", directory_into, ADDED},
    {"unnamed_inside", unnamed_inside, ADDED},
    {"unnamed_outside", unnamed_outside, ADDED},
    {"write", write_, ADDED},
    {"append", append, ADDED},
    {"read_write", read_write, ADDED},
    {"shared_map", shared_map, ADDED},
    {"reopened", reopen, ADDED},
    {"punch_hole", punch, ADDED},
    {"linked_out", linked_out, ADDED},
    {"moved_out", moved_out, ADDED},
    {"chmod", chmod_, ADDED},
    {"fchmod", fchmod_, ADDED},
    {"chmod_by_descriptor", proc_chmod, ADDED},
    {"times", times, ADDED, 1},
    {"times_by_descriptor", times_by_descriptor, ADDED},
    {"times_by_gate32", times_by_gate, ADDED},
    {"flags", flags_, ADDED},
    {"extended_flags", extended_flags, ADDED},
    {"flags_by_gate32", flags_by_gate, ADDED},
    {"exchange_made", exchange_made, ADDED},
    {"exchange_made_by_ring", exchange_made_by_ring, ADDED},
    {"whiteout_made", whiteout_made, ADDED},
    {"whiteout_made_by_ring", whiteout_made_by_ring, ADDED},
    {"open_by_handle", by_handle, ADDED},
    {"ring_create", ring_create, ADDED, 1},
    {"ring_mkdir", ring_mkdir, ADDED},
    {"ring_symlink", ring_symlink, ADDED},
    {"ring_link", ring_link, ADDED},
    {"bind_namespace", bind_namespace, ADDED},
    {"bind_user_namespace", bind_user_namespace, ADDED},
    {"open_tree_clone", tree_clone, ADDED},
    {"chroot", chroot_, ADDED},
    {"overlay_upper", overlay_upper, ADDED},
    {"overlay_user_namespace", overlay_user_namespace, ADDED},
    {"symlinked_directory", symlinked_directory, ADDED},
    {"dangling_symlink", dangling_symlink, ADDED},
    {"proc_cwd", proc_cwd, ADDED},
    {"gate32_create", gate_create, ADDED},
    {"gate32_mkdir", gate_mkdir, ADDED},
    {"program", program, ADDED},
    {"descriptor_handed_over", handed, ADDED, 1},
    {0},
};
