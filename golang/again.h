/* SPDX-License-Identifier: MIT */
/*
 * The way back from a grown stack, led to the original.
 *
 * When a stack has grown, the function's last block jumps to its entry, to try
 * again. Only the stack check of the original leads there, so once the entry
 * is patched that jump has to go to the relocated head; it may stay so after
 * a restore, since the head goes on in the function.
 */
#ifndef PATAS_GOLANG_AGAIN_H
#define PATAS_GOLANG_AGAIN_H

#include "commit.h"
#include "prologue.h"

/* The edits, in two steps: what nobody executes yet, then the jump. */
struct patas__go_again {
    struct patas__edit steps[2];
    unsigned first; /* 0 = both, 1 = the second only, 2 = none */
};

/* What to write, which is the instruction set's: again_*.c. Any of it may be at
 * most `unit` bytes of aligned memory. Maps landings. */
PATAS__HIDDEN patas_status patas__go_again(const struct patas__go_head *go,
                                           uintptr_t head, unsigned unit,
                                           struct patas__go_again *again);

/* An edit that makes what is at `address` those bytes. */
PATAS__HIDDEN void patas__go_again_edit(struct patas__edit *edit,
                                        uintptr_t address, const uint8_t *bytes,
                                        unsigned size);

/* Writes it, or takes it back. */
PATAS__HIDDEN patas_status
patas__go_again_commit(const struct patas__go_again *again, patas_error *error);
PATAS__HIDDEN void patas__go_again_undo(const struct patas__go_again *again);

#endif
