// Fills the kernel side's table of tasks with marks of nobody's, as 32,768 threads would, and tells so in the
// pipe that is named.
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static long bpf(int command, union bpf_attr *attr) { return syscall(SYS_bpf, command, attr, sizeof *attr); }

int main(int argc, char **argv) {
    unsigned id = 0;
    for (;;) {
        union bpf_attr attr = {.start_id = id};
        if (bpf(BPF_MAP_GET_NEXT_ID, &attr)) break;
        id = attr.next_id;
        attr = (union bpf_attr){.map_id = id};
        int fd = bpf(BPF_MAP_GET_FD_BY_ID, &attr);
        if (fd < 0) continue;
        struct bpf_map_info info = {0};
        attr = (union bpf_attr){.info = {.bpf_fd = fd, .info_len = sizeof info, .info = (unsigned long)&info}};
        if (bpf(BPF_OBJ_GET_INFO_BY_FD, &attr) || strcmp(info.name, "MARKS")) {
            close(fd);
            continue;
        }
        char value[16] = {0};
        unsigned long key, made = 0, full = 0;
        // No task stands at so low an address. On for a while, for each CPU has a list of free places.
        for (key = 1; full < 256; key++) {
            attr = (union bpf_attr){.map_fd = fd, .key = (unsigned long)&key, .value = (unsigned long)value};
            if (!bpf(BPF_MAP_UPDATE_ELEM, &attr)) made++;
            else if (errno == E2BIG) full++;
            else return 1;
        }
        FILE *pipe = fopen(argv[1], "w");
        fprintf(pipe, "%d\n", made < 30000);
        fclose(pipe);
        return 0;
    }
    return 2;
}
