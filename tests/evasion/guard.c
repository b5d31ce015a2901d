// What an agent that is root, or shares a user with others, could do to the machine, to rgt and to its neighbours
// under a policy that allows it all. Each says itself whether it went through, and undoes it.
#include "evade.h"
#include <linux/perf_event.h>
#include <linux/reboot.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/io.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/swap.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <linux/bpf.h>
#include <linux/fs.h>

static void opens(const char *path, int how) { claim(open(path, how) >= 0); }
static void of_target(const char *file, int how) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", target, file);
    opens(path, how);
}

static void core_pattern(void) { opens("/proc/sys/kernel/core_pattern", O_WRONLY); }
// Another instance of proc, which no policy's path names.
static void own_proc(void) {
    private_mounts();
    NEED(mkdir(scratch("p"), 0755));
    NEED(mount("proc", scratch("p"), "proc", 0, NULL));
    opens(scratch("p/sys/kernel/core_pattern"), O_WRONLY);
}
static void bound_proc(void) {
    private_mounts();
    NEED(mkdir(scratch("p"), 0755));
    NEED(mount("/proc/sys/kernel", scratch("p"), NULL, MS_BIND, NULL));
    opens(scratch("p/core_pattern"), O_WRONLY);
}
static void release_agent(void) {
    private_mounts();
    NEED(mkdir(scratch("c"), 0755));
    NEED(mount("cgroup", scratch("c"), "cgroup", 0, "none,name=evade"));
    opens(scratch("c/release_agent"), O_WRONLY);
    umount(scratch("c"));
}
static void tracing(void) {
    private_mounts();
    NEED(mkdir(scratch("t"), 0755));
    NEED(mount("tracefs", scratch("t"), "tracefs", 0, NULL));
    opens(scratch("t/tracing_on"), O_WRONLY);
}
static void sysrq(void) {
    int fd = open("/proc/sysrq-trigger", O_WRONLY);
    claim(fd >= 0 && write(fd, "h", 1) == 1);
}
// Into a directory whose names leave no room for any more, and back: it is too deep for others to remove.
enum { DEPTH = 60 };
static const char *far_name(void) {
    static char name[256];
    memset(name, 'n', 255);
    return name;
}
static void go_far(void) {
    NEED(chdir(scratch_dir));
    for (int depth = 0; depth < DEPTH; depth++) {
        NEED(mkdir(far_name(), 0755));
        NEED(chdir(far_name()));
    }
}
static void come_back(void) {
    for (int depth = 0; depth < DEPTH; depth++) {
        NEED(chdir(".."));
        NEED(rmdir(far_name()));
    }
}
static void sysrq_from_far_away(void) {
    char way[1024] = "";
    go_far();
    // An absolute name would need no room.
    for (int up = 0; up < DEPTH + 8; up++) strcat(way, "../");
    strcat(way, "proc/sysrq-trigger");
    int fd = open(way, O_WRONLY);
    claim(fd >= 0 && write(fd, "h", 1) == 1);
    come_back();
}
static void settings(void) { opens("/proc/sys/kernel/panic", O_WRONLY); }
static void sysfs(void) { opens("/sys/kernel/rcu_expedited", O_WRONLY); }
static void kcore(void) { opens("/proc/kcore", O_RDONLY); }
static void memory(void) { opens("/dev/mem", O_RDONLY); }
static void memory_by_another_name(void) {
    NEED(mknod(scratch("m"), S_IFCHR | 0600, makedev(1, 1)));
    opens(scratch("m"), O_RDONLY);
}
static void disk(void) { claim(mknod(scratch("d"), S_IFBLK | 0600, makedev(7, 0)) == 0); }

static void pins(void) {
    claim(mkdir("/sys/fs/bpf/evade", 0755) == 0);
    rmdir("/sys/fs/bpf/evade");
}
static void over_pins(void) {
    private_mounts();
    claim(mount("tmpfs", "/sys/fs/bpf", "tmpfs", 0, NULL) == 0);
}
static void state(void) {
    claim(mkdir("/var/lib/rgt/evade", 0755) == 0);
    rmdir("/var/lib/rgt/evade");
}
static void sealing_key(void) { opens("/var/lib/rgt/keys/seal.key", O_RDONLY); }
static void ledger(void) {
    claim(mkdir("/ledger/evade", 0755) == 0);
    rmdir("/ledger/evade");
}
static void control_socket(void) {
    claim(rename("/run/rgt/control.sock", "/run/rgt/away") == 0);
    rename("/run/rgt/away", "/run/rgt/control.sock");
}
// Who holds it is taken for a daemon.
static void lock(void) { opens("/run/rgt/lock", O_RDONLY); }
static void ledgers_flags(void) {
    int fd = open("/ledger", O_RDONLY | O_DIRECTORY), none = 0, flags = FS_NODUMP_FL;
    claim(ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0);
    ioctl(fd, FS_IOC_SETFLAGS, &none);
}
// What the next daemon finds in its place would be the agent's.
static void state_from_above(void) {
    claim(rename("/var/lib", "/var/away") == 0);
    rename("/var/away", "/var/lib");
}
static void state_exchanged(void) {
    NEED(mkdir("/var/other", 0755));
    claim(syscall(SYS_renameat2, AT_FDCWD, "/var/other", AT_FDCWD, "/var/lib", 2 /* RENAME_EXCHANGE */) == 0);
    // Back again, or nothing.
    if (rmdir("/var/other")) {
        syscall(SYS_renameat2, AT_FDCWD, "/var/other", AT_FDCWD, "/var/lib", 2);
        rmdir("/var/other");
    }
}
static void runtime_covered(void) {
    claim(mount("none", "/run", "tmpfs", 0, NULL) == 0);
    umount("/run");
}
static void state_covered(void) {
    int made = syscall(SYS_fsopen, "tmpfs", 0);
    NEED(made);
    NEED(syscall(SYS_fsconfig, made, 6 /* FSCONFIG_CMD_CREATE */, NULL, NULL, 0));
    int tree = syscall(SYS_fsmount, made, 0, 0);
    NEED(tree);
    claim(syscall(SYS_move_mount, tree, "", AT_FDCWD, "/var/lib", 4 /* MOVE_MOUNT_F_EMPTY_PATH */) == 0);
    // A mount whose descriptor is open is busy.
    close(tree);
    umount("/var/lib");
}
// What is mounted in a namespace of one's own, on what is shared with the first, comes up in that as well.
static void cover_runtime_of_peers(void) {
    NEED(unshare(CLONE_NEWNS));
    claim(mount("none", "/run", "tmpfs", 0, NULL) == 0);
    umount("/run");
}
static void runtime_covered_by_a_peer(void) {
    NEED(mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL));
    in_child(cover_runtime_of_peers);
    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}
static void program_from_above(void) {
    claim(rename("/usr/bin", "/usr/away") == 0);
    rename("/usr/away", "/usr/bin");
}
static void program(void) {
    claim(rename("/usr/bin/rgt", "/usr/bin/rgt.away") == 0);
    rename("/usr/bin/rgt.away", "/usr/bin/rgt");
}

// Pulled into the agent's own cgroup, a stranger would be the agent's.
static void stranger_into_own_cgroup(void) {
    char path[512], pid[16];
    own_cgroup(path, sizeof path, "cgroup.procs");
    int fd = open(path, O_WRONLY);
    snprintf(pid, sizeof pid, "%d", target);
    claim(fd >= 0 && write(fd, pid, strlen(pid)) > 0);
}
static void cgroup_outside(void) {
    claim(mkdir("/sys/fs/cgroup/evade2", 0755) == 0);
    rmdir("/sys/fs/cgroup/evade2");
}

static void oom_score(void) { of_target("oom_score_adj", O_WRONLY); }
static void environment(void) { of_target("environ", O_RDONLY); }
static void nice_(void) { claim(setpriority(PRIO_PROCESS, target, 5) == 0); }
static void affinity(void) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(0, &set);
    claim(sched_setaffinity(target, sizeof set, &set) == 0);
}
static void scheduler(void) {
    struct sched_param none = {0};
    claim(sched_setscheduler(target, SCHED_BATCH, &none) == 0);
}
static void io_priority(void) { claim(syscall(SYS_ioprio_set, 1, target, 2 << 13 | 7) == 0); }
static void owner_of_a_group(void) {
    int pair[2];
    NEED(pipe(pair));
    claim(fcntl(pair[0], F_SETOWN, -target) == 0);
}
// One's own group may have others in it.
static void owner_is_own_group(void) {
    int pair[2];
    NEED(setpgid(0, target));
    NEED(pipe(pair));
    NEED(fcntl(pair[0], F_SETSIG, SIGKILL));
    NEED(fcntl(pair[0], F_SETFL, O_ASYNC | O_NONBLOCK));
    NEED(fcntl(pair[0], F_SETOWN, -target));
    write(pair[1], "x", 1);
}
static void owner_in_memory(void) {
    int pair[2];
    struct f_owner_ex owner = {F_OWNER_PID, target};
    NEED(pipe(pair));
    claim(fcntl(pair[0], F_SETOWN_EX, &owner) == 0);
}
static void owner_of_a_socket(void) {
    int owner = target, fd = socket(AF_INET, SOCK_DGRAM, 0);
    claim(ioctl(fd, FIOSETOWN, &owner) == 0);
}

static void bpf_(void) {
    union bpf_attr first = {.start_id = 0};
    claim(syscall(SYS_bpf, BPF_MAP_GET_NEXT_ID, &first, sizeof first) == 0);
}
static void perf(void) {
    struct perf_event_attr event = {.type = PERF_TYPE_SOFTWARE, .size = sizeof event, .config = PERF_COUNT_SW_TASK_CLOCK,
                                    .exclude_kernel = 1};
    claim(syscall(SYS_perf_event_open, &event, 0, -1, -1, 0) >= 0);
}
static void module(void) {
    // Of one that is not there: what counts is whether it may ask.
    claim(syscall(SYS_delete_module, "evade", O_NONBLOCK) < 0 && errno == ENOENT);
}
static void reboot_(void) { claim(reboot(LINUX_REBOOT_CMD_CAD_OFF) == 0); }
static void swap(void) { claim(swapon("/e/no-such-file", 0) < 0 && errno == ENOENT); }
static void timezone_(void) {
    struct timezone none = {0};
    claim(syscall(SYS_settimeofday, NULL, &none) == 0);
}
static void ports(void) { claim(iopl(3) == 0); }
static void accounting(void) { claim(syscall(SYS_acct, NULL) == 0); }
static void typed(void) {
    int outer, inner;
    NEED(openpty(&outer, &inner, NULL, NULL, NULL));
    claim(ioctl(inner, TIOCSTI, "x") == 0);
}

// Still running what it was started from, it is told that this is busy: what counts is whether it may ask.
static void another_program(void) {
    int other = open("/bin/busybox", O_RDONLY);
    claim(prctl(PR_SET_MM, PR_SET_MM_EXE_FILE, other, 0, 0) < 0 && errno == EBUSY);
}
// Without privilege it takes a user namespace, and an option whose upper half the kernel does not look at.
static void another_program_by_map(void) {
    struct prctl_mm_map map = {.brk = (unsigned long)sbrk(0), .exe_fd = open("/bin/busybox", O_RDONLY)};
    unsigned long long fields[52] = {0};
    char line[1024] = "", *at;
    FILE *stat = fopen("/proc/self/stat", "r");
    NEED(stat && fgets(line, sizeof line, stat) ? 0 : -1);
    at = strrchr(line, ')') + 4;
    for (int field = 4; field < 52; field++) fields[field] = strtoull(at, &at, 10);
    map.start_code = fields[26];
    map.end_code = fields[27];
    map.start_stack = fields[28];
    map.start_data = fields[45];
    map.end_data = fields[46];
    map.start_brk = fields[47];
    map.arg_start = fields[48];
    map.arg_end = fields[49];
    map.env_start = fields[50];
    map.env_end = fields[51];
    if (geteuid() != 0) NEED(unshare(CLONE_NEWUSER));
    claim(prctl(PR_SET_MM, 1ul << 32 | PR_SET_MM_MAP, &map, sizeof map, 0) < 0 && errno == EBUSY);
}

static void asks(const char *broker) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    socklen_t size = broker_name(&name, broker);
    claim(connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&name, size) == 0);
}
static void docker(void) { asks("/e/docker.sock"); }
static void docker_by_a_link(void) {
    NEED(symlink("/e/docker.sock", scratch("way")));
    asks(scratch("way"));
}
static void docker_from_far_away(void) {
    go_far();
    NEED(symlink("/e/docker.sock", "way"));
    asks("way");
    NEED(unlink("way"));
    come_back();
}
static void systemd(void) { asks("/e/systemd/private"); }
static void tmux(void) { asks("/e/tmux-0/default"); }
static void session_bus(void) { asks("@/tmp/dbus-evade"); }

const struct technique guard_techniques[] = {
    {"core_pattern", core_pattern, CLAIMED, 1},
    {"core_pattern_in_another_proc", own_proc, CLAIMED, 1},
    {"core_pattern_by_a_bind", bound_proc, CLAIMED},
    {"release_agent", release_agent, CLAIMED},
    {"tracefs_elsewhere", tracing, CLAIMED},
    {"sysrq", sysrq, CLAIMED},
    {"sysrq_from_far_away", sysrq_from_far_away, CLAIMED, 1},
    {"sysctl", settings, CLAIMED},
    {"sysfs", sysfs, CLAIMED},
    {"kcore", kcore, CLAIMED},
    {"memory", memory, CLAIMED, 1},
    {"memory_by_another_name", memory_by_another_name, CLAIMED},
    {"disk_made", disk, CLAIMED},
    {"pins", pins, CLAIMED, 1},
    {"mount_over_pins", over_pins, CLAIMED},
    {"state", state, CLAIMED, 1},
    {"sealing_key", sealing_key, CLAIMED, 1},
    {"ledger", ledger, CLAIMED},
    {"control_socket", control_socket, CLAIMED},
    {"lock", lock, CLAIMED},
    {"ledgers_flags", ledgers_flags, CLAIMED},
    {"program", program, CLAIMED},
    {"runtime_covered", runtime_covered, CLAIMED, 1},
    {"runtime_covered_by_a_peer", runtime_covered_by_a_peer, CLAIMED},
    {"state_covered", state_covered, CLAIMED},
    {"program_from_above", program_from_above, CLAIMED},
    {"state_from_above", state_from_above, CLAIMED, 1},
    {"state_exchanged", state_exchanged, CLAIMED},
    {"stranger_into_own_cgroup", stranger_into_own_cgroup, CLAIMED, 1},
    {"cgroup_outside", cgroup_outside, CLAIMED},
    {"oom_score", oom_score, CLAIMED},
    {"environment", environment, CLAIMED, 1},
    {"nice", nice_, CLAIMED, 1},
    {"affinity", affinity, CLAIMED},
    {"scheduler", scheduler, CLAIMED},
    {"io_priority", io_priority, CLAIMED},
    {"owner_of_a_group", owner_of_a_group, CLAIMED},
    {"owner_is_own_group", owner_is_own_group, TOUCHED},
    {"owner_in_memory", owner_in_memory, CLAIMED},
    {"owner_of_a_socket", owner_of_a_socket, CLAIMED, 1},
    {"bpf", bpf_, CLAIMED, 1},
    {"perf", perf, CLAIMED, 1},
    {"module", module, CLAIMED},
    {"reboot", reboot_, CLAIMED, 1},
    {"swap", swap, CLAIMED, 1},
    {"clock", timezone_, CLAIMED, 1},
    {"ports", ports, CLAIMED, 1},
    {"accounting", accounting, CLAIMED},
    {"typed", typed, CLAIMED, 1},
    {"another_program", another_program, CLAIMED, 1},
    {"another_program_by_map", another_program_by_map, CLAIMED, 1},
    {"docker", docker, CLAIMED, 1},
    {"docker_by_a_link", docker_by_a_link, CLAIMED},
    {"docker_from_far_away", docker_from_far_away, CLAIMED},
    {"systemd", systemd, CLAIMED},
    {"tmux", tmux, CLAIMED},
    {"session_bus", session_bus, CLAIMED, 1},
    {0},
};
