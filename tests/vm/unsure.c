// Makes the kernel side unsure: `unsure down DEPTH LENGTH` reads a file below so many directories with names of that length, lists
// the last of them, and makes a file elsewhere; `unsure slots COUNT` has so many threads open something and stay. Tells what came of it.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void tell(int fd)
{
    puts(fd >= 0 ? "done" : errno == EACCES ? "refused" : strerror(errno));
}

static int down(int depth, size_t length)
{
    char name[256] = {0};
    memset(name, 'n', length < 255 ? length : 255);
    for (int n = 0; n < depth; n++)
        if (mkdir(name, 0755) || chdir(name)) return 2;
    int fd = open("f", O_CREAT | O_WRONLY, 0644);
    if (fd < 0) return 2;
    close(fd);
    tell(open("f", O_RDONLY));
    tell(open(".", O_RDONLY | O_DIRECTORY));
    tell(open("/data/unsure/after/x", O_CREAT | O_WRONLY, 0644));
    return 0;
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static atomic_int tried, refused;

static void *opens(void *nothing)
{
    int fd = open("/dev/null", O_RDONLY);
    if (fd >= 0) close(fd);
    else if (errno == EACCES) refused++;
    tried++;
    // What a task holds it holds to its end.
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return nothing;
}

static int slots(int count)
{
    pthread_t *threads = calloc(count, sizeof *threads);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 32768);
    pthread_mutex_lock(&gate);
    for (int n = 0; n < count; n++)
        if (pthread_create(&threads[n], &small, opens, NULL)) return 2;
    while (tried < count) usleep(10000);
    printf("%d\n", refused);
    pthread_mutex_unlock(&gate);
    for (int n = 0; n < count; n++) pthread_join(threads[n], NULL);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "down")) return down(atoi(argv[2]), atoi(argv[3]));
    if (argc == 3 && !strcmp(argv[1], "slots")) return slots(atoi(argv[2]));
    return 2;
}
