/* SPDX-License-Identifier: MIT */
/*
 * LD_PRELOAD of bench/symbols: measures in a program that knows nothing of it,
 * when all of its libraries are loaded and before it begins, and ends it.
 *
 *     PATAS_BENCH_NAME   what is looked for; none: the functions are counted
 *     PATAS_BENCH_FILE   the program it is meant for, not a shell before it
 *     PATAS_BENCH_FD     where the figures go
 */
#include "symbols_measure.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("PATAS_BENCH_NAME");
    const char *file = getenv("PATAS_BENCH_FILE");
    const char *fd = getenv("PATAS_BENCH_FD");
    char own[4096];
    ssize_t length = readlink("/proc/self/exe", own, sizeof own - 1);

    if (!file || !fd || length < 0)
        return;
    own[length] = 0;
    if (strcmp(own, file) != 0)
        return;
    struct figures figures = measure(name);
    _exit(write(atoi(fd), &figures, sizeof figures) != (ssize_t)sizeof figures);
}
