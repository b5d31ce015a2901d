// The program that must not run, without a library: what the kernel enters as another's interpreter finds none of its own headers.
#include <asm/unistd.h>
#include <fcntl.h>

static long call(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}

// Before 6.2 the kernel writes behind an interpreter's last segment: that must let it.
static volatile int written = 1;

__attribute__((used)) void begin(char **stack) {
    static const char name[] = "EVADE_OUT=";
    char **each = stack + written;
    while (*each++) {}
    for (; *each; each++) {
        int at = 0;
        while (name[at] && (*each)[at] == name[at]) at++;
        if (!name[at]) call(__NR_write, call(__NR_open, (long)*each + at, O_WRONLY | O_CREAT, 0600), (long)"ran", 3);
    }
    call(__NR_exit_group, 0, 0, 0);
}

__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call begin\n");
