/* SPDX-License-Identifier: MIT */
/*
 * How a Go function begins, and what that means for who replaces it.
 *
 *     entry:  cmp  16(%r14), %rsp          does the frame fit the stack?
 *             jbe  grow  ------.
 *             ...body...       |
 *     grow:   spill arguments <'
 *             call morestack
 *             unspill arguments
 *             jmp  entry       <- once the entry is patched, this would run
 *                                 the replacement a second time: `again`
 *
 * dialect.h knows the forms of that. Pure.
 */
#ifndef PATAS_GOLANG_PROLOGUE_H
#define PATAS_GOLANG_PROLOGUE_H

#include "dialect.h"

enum patas__go_shape {
    PATAS__GO_CHECKED, /* has a stack check, and a block that grows it */
    PATAS__GO_LEAF,    /* has none, and calls nobody */
    PATAS__GO_NOSPLIT, /* has none, and calls others: go:nosplit */
    PATAS__GO_UNKNOWN  /* `trouble` is the address that was not understood */
};

struct patas__go_head {
    uint8_t shape;      /* enum patas__go_shape */
    uint8_t again_size; /* bytes of the jump at `again` */
    bool calls;         /* others than who grows the stack */
    uint64_t again;     /* of a CHECKED one: the block's jump to the entry */
    uint64_t last;      /* the instruction in front of it */
    uint64_t padding;   /* bytes of padding right behind that jump, up to 8 */
    uint64_t trouble;
    uint64_t body_end; /* the padding behind the function left out */
    /* Bit k: a branch inside the function goes to entry + k; `again` apart. */
    uint32_t enters;
};

/* The function of `size` bytes at `entry`, its padding included. */
PATAS__HIDDEN void patas__go_head(const struct patas__isa *isa,
                                  const uint8_t *bytes, uint64_t size,
                                  uint64_t entry, struct patas__go_head *head);

#endif
