#include "evade.h"
int race(int argc, char **argv) { return 2; }
