// Attempts what two policies forbid in turn, again and again, until /tmp/w/swapped is there. Its last line counts what
// both forbid and went through all the same, the rounds, and how often each policy refused what it alone forbids.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static int opens(const char *path, int flags) {
    int fd = open(path, flags);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

int main(void) {
    unsigned long leaks = 0, rounds = 0, by_a = 0, by_b = 0;
    // A label, under the first policy; both forbid `after` to whoever has it.
    if (!opens("/data/mark", O_RDONLY)) return 2;
    while (access("/tmp/w/swapped", F_OK)) {
        leaks += opens("/data/both/f", O_RDONLY);
        leaks += unlink("/data/both/f") == 0;
        // One forbids to write it and the other to cut it, two hooks apart: no mixture of them allows both.
        leaks += opens("/data/mixed", O_WRONLY | O_TRUNC);
        leaks += opens("/data/after", O_RDONLY);
        by_a += !opens("/data/a/f", O_RDONLY);
        by_b += !opens("/data/b/f", O_RDONLY);
        rounds++;
        // The daemon has the same processor, and an emulated one: it must keep up.
        struct timespec pause = {0, 40000000};
        nanosleep(&pause, NULL);
    }
    printf("%lu %lu %lu %lu\n", leaks, rounds, by_a, by_b);
    return 0;
}
