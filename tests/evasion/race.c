// evade race KIND OP TRIES UID: a thread changes what a name leads to while another uses it.
// Below /r, `o/victim` may be used and `s/victim` may not.
// Without a policy a check precedes each use, as a watcher in userspace makes it: where does the name
// lead now? That it is got round shows that the race is one. As an agent nothing checks but the kernel.
// `evade race move KIND OP 0 UID` only moves, until it is killed.
// Tells, as /r/told: kind, op, tries, how often the open one was used, the shut one, neither.
#include "evade.h"
#include <grp.h>
#include <pthread.h>
#include <time.h>

static char name[64];
static volatile int over;

static void *rewrite_argument(void *letter) {
    for (unsigned n = 0; !over; n++) *(volatile char *)letter = n & 1 ? 'o' : 's';
    return NULL;
}
static void exchange(const char *one, const char *two) {
    while (!over) syscall(SYS_renameat2, AT_FDCWD, one, AT_FDCWD, two, 2);
}
static void *swap_links(void *unused) {
    exchange("/r/way", "/r/other");
    return unused;
}
static void *swap_parents(void *unused) {
    exchange("/r/play/a", "/r/play/b");
    return unused;
}
static void *move_inside(void *unused) {
    // Deeper and back, and never out of where nothing may be used: a torn name may look open.
    while (!over) {
        rename("/r/s/d", "/r/s/1/2/3/4/d");
        rename("/r/s/1/2/3/4/d", "/r/s/d");
    }
    return unused;
}

static const struct kind {
    const char *name, *path;
    void *(*racer)(void *);
} kinds[] = {
    {"argument", "/r/o/victim", rewrite_argument},
    {"links", "/r/way/victim", swap_links},
    {"parents", "/r/play/a/l/victim", swap_parents},
    {"inside", "/r/s/d/victim", move_inside},
    {0},
};

// As a watcher in another process asks: it is told, looks, and answers, and others run meanwhile.
static int leads_to_open(void) {
    char real[4096];
    int open = realpath(name, real) && !strcmp(real, "/r/o/victim");
    usleep(100);
    return open;
}

// Which of the two it was: 'o', 's', or 0.
static char use(int truncating) {
    char letter = 0;
    if (truncating) return truncate(name, 0) ? 0 : '?';
    int fd = open(name, O_RDONLY);
    if (fd < 0 || read(fd, &letter, 1) != 1) letter = 0;
    close(fd);
    return letter;
}

int race(int argc, char **argv) {
    if (argc != 5) return 2;
    const struct kind *kind = kinds;
    while (kind->name && strcmp(kind->name, argv[1])) kind++;
    if (!kind->name) return 2;
    int checking = !strcmp(argv[0], "naive"), truncating = !strcmp(argv[2], "truncate");
    long tries = atol(argv[3]), made = 0, used[256] = {0};
    uid_t uid = atoi(argv[4]);
    NEED(setgroups(0, NULL));
    NEED(setresgid(uid, uid, uid));
    NEED(setresuid(uid, uid, uid));

    strcpy(name, kind->path);
    pthread_t thread;
    // The policy refuses an agent to move things there: one that is none does it.
    int elsewhere = !strcmp(kind->name, "inside");
    if (!strcmp(argv[0], "move")) kind->racer(NULL);
    if (!elsewhere && pthread_create(&thread, NULL, kind->racer, name + 3)) return 3;
    // Until the name has led both ways, the race has not begun: at most a minute.
    struct stat shut = {.st_size = 4};
    for (time_t end = time(NULL) + 60; time(NULL) < end;) {
        int begun = checking ? used['s'] || shut.st_size == 0 : used['o'] + used['?'] && used[0];
        if (elsewhere) begun = used[0] > 0;
        if (made >= tries && begun) break;
        made++;
        if (!checking || leads_to_open()) used[(unsigned char)use(truncating)]++;
        if (truncating && stat("/r/s/victim", &shut)) return 3;
    }
    over = 1;
    if (!elsewhere) pthread_join(thread, NULL);
    // Inside, whatever was used was shut.
    if (elsewhere) used['s'] += used['?'], used['?'] = 0;
    int harmed = truncating && shut.st_size == 0;
    printf("~\t%s\t%s\t%s\t%d\t%ld\t%ld\t%ld\t%ld\n", argv[0], kind->name, argv[2], uid, made,
           used['o'] + used['?'], used['s'] + harmed, used[0]);
    return 0;
}
