// Running a forbidden program.
#include "evade.h"
#include <elf.h>
#include <spawn.h>
#include <sys/sendfile.h>

extern char **environ;
static char *words[] = {"tool", NULL};

static void execve_(void) { execve(in("tool"), words, environ); }
static void execveat_(void) { syscall(SYS_execveat, AT_FDCWD, in("tool"), words, environ, 0); }
static void empty_path(void) { syscall(SYS_execveat, open(in("tool"), O_PATH), "", words, environ, AT_EMPTY_PATH); }
static void dirfd_(void) {
    syscall(SYS_execveat, open(protected_dir, O_PATH | O_DIRECTORY), "tool", words, environ, 0);
}
static void proc_fd(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", open(in("tool"), O_PATH));
    execve(path, words, environ);
}
static void proc_root(void) {
    char path[4200];
    snprintf(path, sizeof path, "/proc/self/root%s", in("tool"));
    execve(path, words, environ);
}
static void symlink_(void) {
    NEED(symlink(in("tool"), scratch("way")));
    execve(scratch("way"), words, environ);
}
static void hard_link(void) {
    link(in("tool"), scratch("linked"));
    execve(scratch("linked"), words, environ);
}
static void moved(void) {
    rename(in("tool"), scratch("moved"));
    execve(scratch("moved"), words, environ);
}
static void deleted(void) {
    int fd = open(in("tool"), O_PATH);
    unlink(in("tool"));
    syscall(SYS_execveat, fd, "", words, environ, AT_EMPTY_PATH);
}
static void copied_into(int out) {
    int from = open(in("tool"), O_RDONLY);
    while (sendfile(out, from, NULL, 1 << 20) > 0) {}
}
static void copied_to_memory(void) {
    int memory = memfd_create("copy", MFD_CLOEXEC);
    copied_into(memory);
    fexecve(memory, words, environ);
}
static void copied(void) {
    int fd = open(scratch("copy"), O_WRONLY | O_CREAT, 0755);
    copied_into(fd);
    close(fd);
    execve(scratch("copy"), words, environ);
}
static void by_loader(void) {
    char *loader[] = {"ld.so", (char *)in("tool"), NULL};
    execve("/lib64/ld-linux-x86-64.so.2", loader, environ);
}
static void by_loader_moved(void) {
    NEED(symlink(protected_dir, scratch("way")));
    char *loader[] = {"ld.so", (char *)scratch("way/tool"), NULL};
    execve("/lib64/ld-linux-x86-64.so.2", loader, environ);
}
static void as_interpreter(void) {
    char line[4200];
    snprintf(line, sizeof line, "#!%s\n", in("tool"));
    NEED(make_file(scratch("script"), line));
    NEED(chmod(scratch("script"), 0755));
    execve(scratch("script"), words, environ);
}
// An ELF file of one's own may name any program as what loads it: that one is entered.
static void as_elf_interpreter(void) {
    struct {
        Elf64_Ehdr head;
        Elf64_Phdr parts[2];
        char interpreter[4096];
    } own = {
        .head = {.e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = EV_CURRENT, .e_entry = 0x10000000,
                 .e_phoff = sizeof(Elf64_Ehdr), .e_ehsize = sizeof(Elf64_Ehdr), .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 2},
        .parts = {{.p_type = PT_INTERP, .p_flags = PF_R}, {.p_type = PT_LOAD, .p_flags = PF_R, .p_vaddr = 0x10000000, .p_align = 4096}},
    };
    memcpy(own.head.e_ident, ELFMAG, SELFMAG);
    own.head.e_ident[EI_CLASS] = ELFCLASS64;
    own.head.e_ident[EI_DATA] = ELFDATA2LSB;
    own.head.e_ident[EI_VERSION] = EV_CURRENT;
    snprintf(own.interpreter, sizeof own.interpreter, "%s", in("bare"));
    own.parts[0].p_offset = (char *)own.interpreter - (char *)&own;
    own.parts[0].p_filesz = own.parts[0].p_memsz = strlen(own.interpreter) + 1;
    own.parts[1].p_filesz = own.parts[1].p_memsz = sizeof own;
    int fd = open(scratch("own"), O_WRONLY | O_CREAT, 0755);
    NEED(write(fd, &own, sizeof own));
    close(fd);
    execve(scratch("own"), words, environ);
}
static void script(void) { execve(in("script"), words, environ); }
static void vfork_child(void) {
    if (vfork() == 0) {
        execve(in("tool"), words, environ);
        _exit(1);
    }
    wait(NULL);
}
static void spawned(void) {
    pid_t pid;
    if (posix_spawn(&pid, in("tool"), NULL, NULL, words, environ) == 0) waitpid(pid, NULL, 0);
}
static void thread(void) { in_thread(execve_); }
static void gate(void) {
    // Vectors of 32-bit pointers; without an environment the program would not know where to write.
    char text[4200];
    uint32_t *vector = (uint32_t *)low("................................");
    snprintf(text, sizeof text, "EVADE_OUT=%s", getenv("EVADE_OUT"));
    vector[0] = (uintptr_t)low("tool");
    vector[1] = 0;
    vector[2] = (uintptr_t)low(text);
    vector[3] = 0;
    gate32(11, (long)low(in("tool")), (long)vector, (long)(vector + 2), 0);
}
static void bind_namespace(void) {
    private_mounts();
    bind_dir(protected_dir, scratch("m"));
    execve(scratch("m/tool"), words, environ);
}
static void bind_user_namespace(void) {
    private_user_mounts();
    bind_dir(protected_dir, scratch("m"));
    execve(scratch("m/tool"), words, environ);
}
static void tree_clone(void) {
    int fd = syscall(SYS_open_tree, AT_FDCWD, protected_dir, 1);
    NEED(fd);
    syscall(SYS_execveat, fd, "tool", words, environ, 0);
}
static void overlay_lower(void) {
    char options[8192];
    private_mounts();
    NEED(mkdir(scratch("low"), 0755) | mkdir(scratch("m"), 0755));
    snprintf(options, sizeof options, "lowerdir=%s:%s", protected_dir, scratch("low"));
    NEED(mount("overlay", scratch("m"), "overlay", 0, options));
    execve(scratch("m/tool"), words, environ);
}
static void mapped(void) {
    claim(mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, open(in("tool"), O_RDONLY), 0) != MAP_FAILED);
}
static void mapped_later(void) {
    void *code = mmap(0, 4096, PROT_READ, MAP_PRIVATE, open(in("tool"), O_RDONLY), 0);
    claim(code != MAP_FAILED && mprotect(code, 4096, PROT_READ | PROT_EXEC) == 0);
}

const struct technique exec_techniques[] = {
    {"execve", execve_, RAN, 1},
    {"execveat", execveat_, RAN},
    {"execveat_empty_path", empty_path, RAN, 1},
    {"execveat_dirfd", dirfd_, RAN},
    {"proc_fd", proc_fd, RAN},
    {"proc_root", proc_root, RAN},
    {"symlink", symlink_, RAN},
    {"hard_link", hard_link, RAN},
    {"moved", moved, RAN},
    {"deleted", deleted, RAN},
    {"copied_to_memory", copied_to_memory, RAN},
    {"copied", copied, RAN},
    {"by_the_loader", by_loader, RAN, 1},
    {"by_the_loader_and_a_symlink", by_loader_moved, RAN},
    {"as_an_interpreter", as_interpreter, RAN, 1},
    {"as_an_elf_interpreter", as_elf_interpreter, RAN, 1},
    {"script", script, RAN},
    {"vfork_child", vfork_child, RAN},
    {"spawned", spawned, RAN},
    {"thread", thread, RAN},
    {"gate32", gate, RAN},
    {"bind_namespace", bind_namespace, RAN},
    {"bind_user_namespace", bind_user_namespace, RAN},
    {"open_tree_clone", tree_clone, RAN},
    {"overlay_lower", overlay_lower, RAN},
    {"mapped", mapped, CLAIMED},
    {"mapped_then_protected", mapped_later, CLAIMED},
    {0},
};
