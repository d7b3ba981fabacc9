/* SPDX-License-Identifier: MIT */
/*
 * Any bytes, moved anywhere: refused, or read back with the same operands and
 * the same targets. A broken promise is an abort.
 *
 * The input is { mode, want, distance (8), from (8), bytes ... }.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../tests/unit/relocate_check.h"
#include "isa.h"
#include "patas.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    FUZZ_HEADER = 18
};

static void relocate_fuzz(const struct patas__isa *isa, uint64_t mask,
                          const uint8_t *data, size_t size)
{
    struct patas__move move = {
        .from = patas__load64(data + 10) & mask,
        .bytes = data + FUZZ_HEADER,
        .size = size - FUZZ_HEADER,
        .want = data[1] % 17,
        .to = patas__load64(data + 2) & mask,
        .shadow_stack = data[0] & 2,
    };
    const char *wrong;

    move.to = (move.from + move.to) & mask;
    if (isa->relocate(&move) != PATAS_REASON_NONE)
        return;
    wrong = relocate_check(isa, &move);
    if (wrong) {
        fprintf(stderr, "%s: broken: %s\n", isa->name, wrong);
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < FUZZ_HEADER)
        return 0;
    if (data[0] & 1)
        relocate_fuzz(&patas__isa_i386, UINT32_MAX, data, size);
    else
        relocate_fuzz(&patas__isa_x86_64, UINT64_MAX, data, size);
    return 0;
}
