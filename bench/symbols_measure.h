/* SPDX-License-Identifier: MIT */
/* How long a name takes in this process: bench/symbols, and what it puts into
 * other programs. */
#ifndef PATAS_BENCH_SYMBOLS_MEASURE_H
#define PATAS_BENCH_SYMBOLS_MEASURE_H

#include <patas/symbols.h>

#include <stdio.h>
#include <time.h>

struct figures {
    double cold, warm; /* milliseconds */
    long kilobytes;    /* of private memory that the first search took */
    size_t functions;  /* in the process; 0: not counted */
    patas_status status;
};

static inline double now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static inline long private_kilobytes(void)
{
    char line[256];
    long size = 0, one;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");

    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "Private_Dirty: %ld", &one) == 1)
            size += one;
    }
    if (file)
        fclose(file);
    return size;
}

/* `name` NULL: the functions are counted. */
static inline struct figures measure(const char *name)
{
    enum {
        WARM_MS = 20
    };
    struct figures figures = {0};
    patas_found *found = NULL;
    patas_fn function;
    int rounds = 0;

    if (!name) {
        figures.status = patas_find_all("*", &found, NULL);
        figures.functions = found ? found->count : 0;
        patas_found_free(found);
        return figures;
    }
    long before = private_kilobytes();
    double start = now_ms();
    figures.status = patas_find(name, &function, NULL);
    figures.cold = now_ms() - start;
    figures.kilobytes = private_kilobytes() - before;
    start = now_ms();
    do {
        (void)!patas_find(name, &function, NULL);
        rounds++;
    } while (now_ms() - start < WARM_MS);
    figures.warm = (now_ms() - start) / rounds;
    return figures;
}

#endif
