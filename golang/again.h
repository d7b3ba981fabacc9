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

/* What to write. Any of it may be at most `unit` bytes of aligned memory.
 * PATAS_ERR_NO_ROOM if no rewrite fits. Maps landings. */
PATAS__HIDDEN patas_status patas__go_again(const struct patas__go_head *go,
                                           uintptr_t entry, uintptr_t head,
                                           unsigned unit,
                                           struct patas__go_again *again);

/* The same by a trap, where no other rewrite fits. */
PATAS__HIDDEN patas_status patas__go_again_trap(const struct patas__go_head *go,
                                                uintptr_t head,
                                                struct patas__go_again *again);

/* Writes it, or takes it back. */
PATAS__HIDDEN patas_status
patas__go_again_commit(const struct patas__go_again *again, patas_error *error);
PATAS__HIDDEN void patas__go_again_undo(const struct patas__go_again *again);

#endif
