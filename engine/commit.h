/* SPDX-License-Identifier: MIT */
/*
 * Stage 7: the batch goes live.
 *
 * One store of an aligned unit for each edit, one sync of the cores for all;
 * never in phases. The pages are made writable for the stores alone, and get
 * back exactly the protection that they had.
 */
#ifndef PATAS_COMMIT_H
#define PATAS_COMMIT_H

#include "os.h"
#include "patas.h"

/* One change of at most 8 bytes, inside one aligned unit of 8 or 16. */
struct patas__edit {
    uintptr_t address;
    uint8_t before[8], after[8];
    uint8_t size;    /* bytes that change */
    uint8_t check;   /* bytes of `before` that must be there, >= size */
    uint32_t target; /* whose edit it is, 0: nobody's */
    bool data : 1;   /* a pointer in data: nobody executes it */
    bool done : 1;
    /* Of the first edit of a run of pages: how many it has, and what the
     * protection was. */
    uint32_t run : 27, prot : 5;
};

/* All edits, or none. On failure the status and *error (target, address,
 * os_errno, reason) say what was in the way. The edits are sorted. */
PATAS__HIDDEN patas_status patas__commit(struct patas__edit *edits,
                                         size_t count, patas_error *error);

/* The size of the units that can be written at once here: 16 where pages may
 * be made writable (asked once, of the page at `address`), 8 where only
 * /proc/self/mem writes, 0 where nothing does. */
PATAS__HIDDEN unsigned patas__commit_unit(uintptr_t address);

#endif
