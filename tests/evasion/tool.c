// The program that must not run. Dynamic, so that its loader can be asked to run it.
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

int main(void) {
    int fd = open(getenv("EVADE_OUT"), O_WRONLY | O_CREAT, 0600);
    return write(fd, "ran", 3) != 3;
}
