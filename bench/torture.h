/* SPDX-License-Identifier: MIT */
/* bench/torture: the functions that threads run through, and the threads. */
#ifndef PATAS_BENCH_TORTURE_H
#define PATAS_BENCH_TORTURE_H

#include <pthread.h>
#include <stdatomic.h>

#include "bench.h"

/* EACH(), the functions; TORTURE_ABI, how they are called; TORTURE_PC(). */
#if defined(__aarch64__)
#include "torture_aarch64.h"
#else
#include "torture_x86.h"
#endif

/*
 * Every function answers x + 1 (the readers: the 1 byte they read). Two layers
 * of replacements add to that, so that a result tells whom it came from.
 */
enum {
    LAYERS = 2,
    LAYER_PLAIN = 1 << 16,   /* layer 0 answers itself */
    LAYER_CALLING = 1 << 24, /* layer 1 calls the original, and adds */
    MAX_THREADS = 64,
};

typedef TORTURE_ABI long (*torture_fn)(long x);
typedef TORTURE_ABI long (*torture_call)(torture_fn function, long x);

struct torture_function {
    const char *name;
    torture_fn entry;
    torture_call call;
    unsigned first;   /* bytes of the first instruction */
    unsigned extent;  /* bytes of the function */
    torture_fn never; /* another way in that must never be replaced, or NULL */
    bool reads;       /* answers 1: a byte from the pipe */
};
extern const struct torture_function torture_functions[];
extern const size_t torture_count;

/* The replacements of function `index`. */
patas_fn torture_replacement(size_t index, int layer);
/* What a replacement of layer 1 calls: set before it goes live. */
extern _Atomic(patas_fn) torture_originals[];

/* Shared with the parent, so that a crash leaves the figures. */
struct torture_figures {
    atomic_ulong calls, wrong, patches, restores, switches, batches, aborts;
    atomic_ulong failures, naps; /* calls that failed; naps mid-window */
    atomic_ulong taken;          /* ... since a neighbour owns the bytes */
    size_t functions, by_form[PATAS_FORM_COUNT];
    uint64_t carried, moved, held, commits;
    char trouble[512];
};

struct torture_threads {
    struct torture_figures *figures;
    const bool *used; /* by function index */
    unsigned callers;
    bool all_signals_open; /* no thread blocks signals */
    atomic_int stop;
    atomic_int started;
    int pipe[2];
    atomic_int tids[MAX_THREADS];
    pthread_t threads[MAX_THREADS];
    pthread_t pest, feeder;
};

void torture_start(struct torture_threads *all);
void torture_stop(struct torture_threads *all);

/* Patchers that everybody would write first. `prepare` says false if it can't
 * be tried here; the other two are called in turn. */
struct torture_naive {
    const char *name;
    size_t function; /* index of the one that it patches */
    bool (*prepare)(uint8_t *entry);
    void (*patch)(uint8_t *entry);
    void (*restore)(uint8_t *entry);
};
extern const struct torture_naive torture_naives[2];

/* The proof that the test bites; false if the naive patchers survive. */
bool torture_bite(double seconds, unsigned threads);

#endif
