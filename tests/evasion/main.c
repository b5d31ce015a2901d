// evade setup UID · run FAMILY UID LOG · effects UID · serve UID · own PATH · race …
// With `few` in the environment variable EVADE only sentinels take part.
#include "evade.h"
#include <dirent.h>
#include <grp.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>

static const struct family families[] = {
    {"delete", delete_techniques}, {"read", read_techniques}, {"create", create_techniques},
    {"exec", exec_techniques},     {"net", net_techniques},   {"leave", leave_techniques},
    {"guard", guard_techniques},   {"kernel", kernel_techniques},
    {"others", others_techniques}, {"way", way_techniques},
    {"written", written_techniques}, {"numbers", numbers_techniques},
    {0},
};

const char *protected_dir, *scratch_dir;
int port;
pid_t target;
static char protected_room[256], scratch_room[256], unix_room[108], token[64];
uid_t user;

const char *unix_path(void) { return unix_room; }

static void choose(const struct family *family, const struct technique *technique) {
    snprintf(protected_room, sizeof protected_room, "/e/%s/%d/%s", family->name, user, technique->name);
    snprintf(scratch_room, sizeof scratch_room, "/s/%s/%d/%s", family->name, user, technique->name);
    snprintf(unix_room, sizeof unix_room, "/e/unix.%d.%s", user, technique->name);
    snprintf(token, sizeof token, "secret-%s", technique->name);
    protected_dir = protected_room;
    scratch_dir = scratch_room;
    port = (strcmp(family->name, "way") ? 3000 : 3500) + (int)(technique - family->techniques);
}

typedef void each(const struct family *, const struct technique *);
static void for_each(const char *name, each *call) {
    int few = getenv("EVADE") && !strcmp(getenv("EVADE"), "few");
    for (const struct family *family = families; family->name; family++) {
        if (name && strcmp(name, family->name)) continue;
        for (const struct technique *one = family->techniques; one->name; one++) {
            if (few && !one->sentinel) continue;
            choose(family, one);
            call(family, one);
        }
    }
}

static void make_dirs(const char *path, uid_t owner) {
    char room[256];
    snprintf(room, sizeof room, "%s", path);
    for (char *at = room + 1; (at = strchr(at, '/')); *at++ = '/') {
        *at = 0;
        if (mkdir(room, 0777) == 0) chmod(room, 0777);
    }
    NEED(mkdir(room, 0777));
    NEED(chmod(room, 0777));
    NEED(chown(room, owner, owner));
}

static void make_own(const char *name, const char *text, mode_t mode) {
    NEED(make_file(in(name), text));
    NEED(chmod(in(name), mode));
    NEED(chown(in(name), user, user));
}

static void set_up(const struct family *family, const struct technique *technique) {
    char text[80];
    (void)technique;
    make_dirs(protected_dir, user);
    make_dirs(scratch_dir, user);
    snprintf(text, sizeof text, "%s\n", token);
    make_own("victim", text, 0644);
    NEED(mkdir(in("sub"), 0755));
    NEED(chown(in("sub"), user, user));
    if (!strcmp(family->name, "read")) make_own(token, "", 0644);
    if (strcmp(family->name, "exec") && strcmp(family->name, "written")) return;
    static const char *const programs[] = {"tool", "bare"};
    for (int i = 0; i < 2; i++) {
        char command[8300];
        snprintf(command, sizeof command, "cp /usr/local/bin/evade-%s %s", programs[i], in(programs[i]));
        if (system(command)) exit(3);
        NEED(chown(in(programs[i]), user, user));
    }
    make_own("script", "#!/bin/sh\nprintf ran >\"$EVADE_OUT\"\n", 0755);
}

static int holds(const char *path, const char *text, int exactly) {
    char bytes[4096] = "";
    int fd = open(path, O_RDONLY);
    ssize_t size = fd < 0 ? 0 : read(fd, bytes, sizeof bytes - 1);
    close(fd);
    bytes[size < 0 ? 0 : size] = 0;
    if (exactly) return !strcmp(bytes, text);
    return memmem(bytes, size < 0 ? 0 : size, text, strlen(text)) != NULL;
}

static int victim_changed(void) {
    char text[80];
    snprintf(text, sizeof text, "%s\n", token);
    return !holds(in("victim"), text, 1);
}

static int flags_of(const char *path) {
    int flags = 0, fd = open(path, O_RDONLY);
    ioctl(fd, FS_IOC_GETFLAGS, &flags);
    close(fd);
    return flags & FS_NODUMP_FL;
}

static int entries(void) {
    DIR *dir = opendir(protected_dir);
    int count = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir));) count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

static int added(void) {
    struct stat at;
    NEED(stat(in("victim"), &at));
    return entries() != 2 || victim_changed() || (at.st_mode & 0777) != 0644 || at.st_mtime == 1 || at.st_uid != user || flags_of(in("victim"));
}

static void tell(const struct family *family, const struct technique *technique) {
    char heard[256];
    int effect = 0;
    snprintf(heard, sizeof heard, "/e/heard.%d.%s", user, technique->name);
    switch (technique->effect) {
    case HARMED: effect = victim_changed() || access(in("sub"), F_OK); break;
    case LEAKED: effect = holds(scratch("got"), token, 0); break;
    case ADDED: effect = added(); break;
    case MANY: effect = entries() > 2 + 3; break;
    case RAN: effect = holds(scratch("got"), "ran", 0); break;
    case CLAIMED: effect = holds(scratch("got"), "claimed", 0); break;
    case HEARD:
    case TOUCHED: effect = !access(heard, F_OK); break;
    }
    printf("%d\t%s\t%s\t%d\n", user, family->name, technique->name, effect);
}

static FILE *journal;

// Between two techniques lies more than the daemon's clock, taken at its start, is ever off.
enum { SLACK_MS = 15 };

// As records write it: as text, one follows the other as in time.
static const char *now(int off_ms) {
    static char texts[2][64];
    static int next;
    char *text = texts[next++ % 2];
    struct timespec at;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &at);
    long long ns = at.tv_sec * 1000000000LL + at.tv_nsec + off_ms * 1000000LL;
    at = (struct timespec){ns / 1000000000, ns % 1000000000};
    gmtime_r(&at.tv_sec, &parts);
    size_t size = strftime(text, sizeof texts[0], "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + size, sizeof texts[0] - size, ".%09ldZ", at.tv_nsec);
    return text;
}

static void in_its_process(const struct technique *technique) {
    char path[128], *out;
    setpgid(0, 0);
    if (asprintf(&out, "%s/got", scratch_dir) < 0) exit(3);
    setenv("EVADE_OUT", out, 1);
    snprintf(path, sizeof path, "/e/pid.%d.%s", user, technique->name);
    FILE *file = fopen(path, "r");
    if (file && fscanf(file, "%d", &target) != 1) exit(3);
    if (technique->effect == TOUCHED && target <= 0) exit(3);
    NEED(setgroups(0, NULL));
    NEED(setresgid(user, user, user));
    NEED(setresuid(user, user, user));
    // Else an ordinary user's process could not write its own maps.
    prctl(PR_SET_DUMPABLE, 1);
    NEED(chdir(scratch_dir));
    int err = open("err", O_WRONLY | O_CREAT, 0666), null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(null, 1);
    dup2(err, 2);
    technique->run();
    exit(0);
}

static void attempt(const struct family *family, const struct technique *technique) {
    int status = 0;
    usleep(2 * SLACK_MS * 1000);
    const char *start = now(-SLACK_MS);
    pid_t pid = fork();
    if (pid == 0) in_its_process(technique);
    // Orphans come to this process: all must have ended before the next begins.
    for (int wait = 0;; wait++) {
        int each;
        pid_t ended = waitpid(-1, &each, WNOHANG);
        if (ended == pid) status = each;
        if (ended < 0) break;
        if (ended == 0) {
            if (wait == 2500) kill(-pid, SIGKILL);
            if (wait > 5000) break;
            usleep(2000);
        }
    }
    fprintf(journal, "%d\t%s\t%s\t%s\t%s\t%d\n", user, family->name, technique->name, start, now(SLACK_MS),
            WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status));
    // A child must not have anything of it left to write.
    fflush(journal);
}

int main(int argc, char **argv) {
    const char *verb = argc > 1 ? argv[1] : "";
    umask(0);
    if (!strcmp(verb, "own") && argc == 3) return chown(argv[2], 12345, -1) != 0;
    if (!strcmp(verb, "race")) return race(argc - 2, argv + 2); // who, kind, op, tries, user
    if (argc < 3) return 2;
    user = atoi(argv[strcmp(verb, "run") ? 2 : 3]);
    if (!strcmp(verb, "setup")) {
        for_each(NULL, set_up);
    } else if (!strcmp(verb, "effects")) {
        for_each(NULL, tell);
    } else if (!strcmp(verb, "serve")) {
        for_each("net", listen_for);
        for_each("way", listen_for);
        for_each("leave", make_target);
        for_each("others", make_target);
        for_each("guard", make_target);
        listen_as_brokers();
        listen_as_giver();
        serve();
    } else if (!strcmp(verb, "run") && argc == 5) {
        journal = fopen(argv[4], "w");
        if (!journal) return 3;
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        for_each(argv[2], attempt);
        return fclose(journal) ? 3 : 0;
    } else {
        return 2;
    }
    return 0;
}
