// Running what the agent has written itself: `tool` and `script` are there from before, everything else it made.
#include "evade.h"
#include <sys/sendfile.h>

extern char **environ;
static char *words[] = {"tool", NULL};

static int program(void) {
    int from = open("/usr/local/bin/evade-tool", O_RDONLY);
    NEED(from);
    return from;
}
static void fill(int out) {
    int from = program();
    while (sendfile(out, from, NULL, 1 << 20) > 0) {}
    close(from);
}
static const char *copy(const char *name) {
    int fd = open(scratch(name), O_WRONLY | O_CREAT, 0755);
    NEED(fd);
    fill(fd);
    NEED(close(fd));
    return scratch(name);
}
static void run(const char *path) { execve(path, words, environ); }

static void copied(void) { run(copy("own")); }
static void renamed(void) {
    copy("before");
    NEED(rename(scratch("before"), scratch("after")));
    run(scratch("after"));
}
static void renamed_over(void) {
    copy("own");
    NEED(rename(scratch("own"), in("tool")));
    run(in("tool"));
}
static void hard_link(void) {
    copy("own");
    NEED(link(scratch("own"), scratch("other")));
    NEED(unlink(scratch("own")));
    run(scratch("other"));
}
static void symlink_(void) {
    NEED(symlink(copy("own"), scratch("way")));
    run(scratch("way"));
}
static void by_a_child(void) {
    if (fork() == 0) {
        copy("own");
        _exit(0);
    }
    wait(NULL);
    run(scratch("own"));
}
static void memory(void) {
    int fd = memfd_create("own", MFD_CLOEXEC);
    fill(fd);
    fexecve(fd, words, environ);
}
static void tmpfile_linked(void) {
    char path[64];
    int fd = open(scratch_dir, O_TMPFILE | O_RDWR, 0755);
    NEED(fd);
    fill(fd);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    NEED(linkat(AT_FDCWD, path, AT_FDCWD, scratch("linked"), AT_SYMLINK_FOLLOW));
    close(fd);
    run(scratch("linked"));
}
static void unlinked(void) {
    copy("own");
    int fd = open(scratch("own"), O_PATH | O_CLOEXEC);
    NEED(unlink(scratch("own")));
    syscall(SYS_execveat, fd, "", words, environ, AT_EMPTY_PATH);
}
// What is there from before, with some of it written anew.
static void in_place(void) {
    char byte;
    int fd = open(in("tool"), O_RDWR);
    NEED(fd);
    NEED(pread(fd, &byte, 1, 0));
    NEED(pwrite(fd, &byte, 1, 0));
    close(fd);
    run(in("tool"));
}
static void mapped(void) {
    int fd = open(in("tool"), O_RDWR);
    NEED(fd);
    volatile char *bytes = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED) exit(3);
    bytes[0] = bytes[0];
    munmap((void *)bytes, 4096);
    close(fd);
    run(in("tool"));
}
static void reopened(void) {
    char path[64], byte;
    int here = open(in("tool"), O_RDONLY);
    snprintf(path, sizeof path, "/proc/self/fd/%d", here);
    int fd = open(path, O_RDWR);
    NEED(fd);
    NEED(pread(fd, &byte, 1, 0));
    NEED(pwrite(fd, &byte, 1, 0));
    close(fd);
    run(in("tool"));
}
static void cut(void) {
    struct stat at;
    NEED(stat(in("tool"), &at));
    NEED(truncate(in("tool"), at.st_size));
    run(in("tool"));
}
static void by_ring(void) {
    int fd = ring(18 /* IORING_OP_OPENAT */, AT_FDCWD, scratch("own"), 0755, 0, O_WRONLY | O_CREAT);
    if (fd < 0) exit(3);
    fill(fd);
    close(fd);
    run(scratch("own"));
}
static void script(void) {
    NEED(make_file(scratch("script"), "#!/bin/sh\nprintf ran >\"$EVADE_OUT\"\n"));
    NEED(chmod(scratch("script"), 0755));
    run(scratch("script"));
}
static void interpreter(void) {
    char line[4200];
    snprintf(line, sizeof line, "#!%s\n", copy("own"));
    NEED(make_file(scratch("script"), line));
    NEED(chmod(scratch("script"), 0755));
    run(scratch("script"));
}
static void by_loader(void) {
    char *loader[] = {"ld.so", (char *)copy("own"), NULL};
    execve("/lib64/ld-linux-x86-64.so.2", loader, environ);
}
static void preloaded(void) {
    char *shown[] = {"ld.so", "--list", "/usr/local/bin/evade-tool", NULL};
    int from = open("/usr/local/lib/evade-tool.so", O_RDONLY), to = open(scratch("own.so"), O_WRONLY | O_CREAT, 0755);
    NEED(from);
    NEED(to);
    while (sendfile(to, from, NULL, 1 << 20) > 0) {}
    close(to);
    setenv("LD_PRELOAD", scratch("own.so"), 1);
    // A program that does nothing by itself.
    shown[0] = "quiet";
    shown[1] = NULL;
    execve("/usr/local/bin/evade-tool", shown, environ);
}
static void code_mapped(void) {
    int fd = open(copy("own"), O_RDONLY);
    claim(mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) != MAP_FAILED);
}
static void code_mapped_later(void) {
    void *code = mmap(0, 4096, PROT_READ, MAP_PRIVATE, open(copy("own"), O_RDONLY), 0);
    claim(code != MAP_FAILED && mprotect(code, 4096, PROT_READ | PROT_EXEC) == 0);
}
static void bind_namespace(void) {
    copy("own");
    private_mounts();
    bind_dir(scratch_dir, scratch("m"));
    run(scratch("m/own"));
}
// A mount of its own: what lies there nobody can tell.
static void own_mount(void) {
    private_mounts();
    NEED(mkdir(scratch("m"), 0755));
    NEED(mount("none", scratch("m"), "tmpfs", 0, ""));
    run(copy("m/own"));
}
static void own_overlay(void) {
    char options[16384];
    private_mounts();
    NEED(mkdir(scratch("low"), 0755) | mkdir(scratch("up"), 0755) | mkdir(scratch("work"), 0755) | mkdir(scratch("m"), 0755));
    copy("low/own");
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s", scratch("low"), scratch("up"), scratch("work"));
    NEED(mount("overlay", scratch("m"), "overlay", 0, options));
    run(scratch("m/own"));
}

const struct technique written_techniques[] = {
    {"copied", copied, RAN, 1},
    {"renamed", renamed, RAN},
    {"renamed_over", renamed_over, RAN, 1},
    {"hard_link", hard_link, RAN},
    {"symlink", symlink_, RAN},
    {"by_a_child", by_a_child, RAN, 1},
    {"memory", memory, RAN, 1},
    {"tmpfile_linked", tmpfile_linked, RAN, 1},
    {"unlinked", unlinked, RAN},
    {"in_place", in_place, RAN},
    {"mapped", mapped, RAN, 1},
    {"reopened", reopened, RAN},
    {"cut", cut, RAN, 1},
    {"by_ring", by_ring, RAN},
    {"script", script, RAN, 1},
    {"interpreter", interpreter, RAN},
    {"by_loader", by_loader, RAN, 1},
    {"preloaded", preloaded, RAN, 1},
    {"code_mapped", code_mapped, CLAIMED},
    {"code_mapped_later", code_mapped_later, CLAIMED, 1},
    {"bind_namespace", bind_namespace, RAN},
    {"own_mount", own_mount, RAN},
    {"own_overlay", own_overlay, RAN},
    {0},
};
