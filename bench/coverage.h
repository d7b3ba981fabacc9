/* SPDX-License-Identifier: MIT */
/* bench/coverage: what its parts tell each other. */
#ifndef PATAS_BENCH_COVERAGE_H
#define PATAS_BENCH_COVERAGE_H

#include "bench.h"

enum {
    REASONS = 64
};

/* What became of one library; shared with children, so that a crash leaves
 * what was known before it. */
struct coverage {
    size_t functions, patched, refused;
    bool told; /* refusals are in `trouble` already */
    bool debug;
    bool allow_trap; /* in: a permanent trap is better than nothing */
    size_t by_form[PATAS_FORM_COUNT];
    size_t by_reason[REASONS];
    double patch_seconds;
    /* bytes that changed outside of what a patch owns, or stayed changed
     * after all was restored */
    size_t neighbours, left_changed;
    /* the work */
    bool has_work, outputs_known;
    size_t executed;
    uint64_t calls;
    size_t output_bytes;
    bool same_patched, same_restored, same_twice;
    /* the single steps */
    size_t stepped;   /* functions */
    size_t compared;  /* register sets that reached a verdict */
    size_t undecided; /* functions without one */
    size_t wrong, data_bytes_wrong;
    char patch_end[64], work_end[64], step_end[64];
    char trouble[8192];
};

void coverage_trouble(struct coverage *result, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* All functions of the library, in one batch, to `stubs`. */
bool coverage_patch(struct coverage *result,
                    const struct bench_library *library,
                    struct bench_stubs *stubs, patas_patch **patches);

/* Single-steps every patched function beside the unpatched one. */
void coverage_step(struct coverage *result,
                   const struct bench_library *library);

#endif
