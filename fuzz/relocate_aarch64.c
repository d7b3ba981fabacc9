/* SPDX-License-Identifier: MIT */
/*
 * Any A64 words, moved anywhere: refused, or read back with the same operands
 * and the same targets. A broken promise is an abort.
 *
 * The input is { mode, want, distance (8), from (8), words ... }.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../tests/unit/relocate_check_aarch64.h"
#include "isa.h"
#include "patas.h"

enum {
    FUZZ_HEADER = 18
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct patas__move move;
    const char *wrong;

    if (size < FUZZ_HEADER)
        return 0;
    move = (struct patas__move){
        .from = patas__load64(data + 10) & ~(uint64_t)3,
        .bytes = data + FUZZ_HEADER,
        .size = size - FUZZ_HEADER,
        .want = data[1] % 17,
        .shadow_stack = data[0] & 1,
        .lose_ip = data[0] & 2,
    };
    move.to = move.from + (patas__load64(data + 2) & ~(uint64_t)3);
    if (patas__isa_aarch64.relocate(&move) != PATAS_REASON_NONE)
        return 0;
    wrong = a64_check(&move);
    if (wrong) {
        fprintf(stderr, "broken: %s\n", wrong);
        abort();
    }
    return 0;
}
