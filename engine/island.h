/* SPDX-License-Identifier: MIT */
/*
 * Stage 6: executable memory that satisfies a plan.
 *
 *     stub   jmp *slot(%rip)        where the displacement of the patch points
 *     head   relocated code, jmp    anywhere in reach
 *     slot   8 bytes of data        where calls go now; one store changes it
 *
 * No page is ever writable and executable at once. A fresh unit is filled
 * while it is writable and made executable by patas__island_publish(); what
 * comes later is written through /proc/self/mem.
 *
 * Everything here runs under the engine's lock.
 */
#ifndef PATAS_ISLAND_H
#define PATAS_ISLAND_H

#include "bytes.h"

enum patas__byte {
    PATAS__BYTE_FREE, /* any value will do */
    PATAS__BYTE_TRAP, /* must be one of patas__trap_bytes() */
    PATAS__BYTE_FIXED /* must be `value` */
};

/* Where a stub may be: constraints on the displacement's bytes, low first. */
struct patas__reach {
    uintptr_t origin; /* what the displacement counts from */
    uint8_t kind[4];  /* enum patas__byte; FIXED only from some byte upwards */
    uint8_t value[4];
};

/* Finds a place for a stub. Returns a patas_reason: NONE, NO_ADDRESS, BUDGET
 * (it would take one more mapping of its own, and there are `budget` of them
 * already). With `dry` nothing is mapped or taken. */
PATAS__HIDDEN unsigned patas__island_stub(const struct patas__reach *reach,
                                          size_t budget, bool dry,
                                          uintptr_t *stub);

/* `size` bytes of code near `origin`, within about 1.8 GB; 0 or ENOMEM. */
PATAS__HIDDEN int patas__island_code(uintptr_t origin, size_t size,
                                     uintptr_t *code);

/* The same for code that names nothing but `origin`, by a jump back to it. */
PATAS__HIDDEN int patas__island_spare(uintptr_t origin, size_t size,
                                      uintptr_t *code);

/* A slot within reach of a stub or thunk at `stub`; 0 or ENOMEM. */
PATAS__HIDDEN int patas__island_slot(uintptr_t stub, uintptr_t **slot);
PATAS__HIDDEN void patas__island_slot_free(uintptr_t *slot);

/* Gives bytes back: nobody may run them any more, or ever could. */
PATAS__HIDDEN void patas__island_free(uintptr_t code, size_t size);

/* Fills bytes that were taken; 0 or an errno value. */
PATAS__HIDDEN int patas__island_write(uintptr_t code, const void *bytes,
                                      size_t size);

/* A batch of many fills fresh units; one by itself may write into old ones. */
PATAS__HIDDEN void patas__island_mode(bool batch);

/* Closes what the writes opened. */
PATAS__HIDDEN void patas__island_close(void);

/* All that was written may run from now on; 0 or an errno value. */
PATAS__HIDDEN int patas__island_publish(void);

/* True for an address inside an island; for self-checks. */
PATAS__HIDDEN bool patas__island_holds(uintptr_t address);

struct patas__island_stats {
    size_t code_bytes, data_bytes, mappings;
};
PATAS__HIDDEN struct patas__island_stats patas__island_count(void);

#endif
