// The program that must not run. Dynamic, so that its loader can be asked to run it; and, built so, a library.
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int ran(void) {
    int fd = open(getenv("EVADE_OUT"), O_WRONLY | O_CREAT, 0600);
    return write(fd, "ran", 3) != 3;
}

#ifdef LIBRARY
__attribute__((constructor)) static void loaded(void) { ran(); }
#else
int main(int argc, char **argv) { return argc > 0 && !strcmp(argv[0], "quiet") ? 0 : ran(); }
#endif
