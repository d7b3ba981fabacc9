/* SPDX-License-Identifier: MIT */
/*
 * Stage 1: the function that an address means.
 *
 * Followed: a PLT stub (`[endbr64] [bnd] jmp *slot(%rip)` whose slot lies in
 * the GOT and is bound), an IFUNC symbol's address (the implementation that
 * the loader chose is what the GOT holds; a bare resolver address is resolved
 * through the symbol's type by way of the GOT, never by calling it). With
 * PATAS_FOLLOW also a function that is a lone `jmp rel`. Nothing else.
 */
#ifndef PATAS_TARGET_H
#define PATAS_TARGET_H

#include "image.h"

/* What is followed, in order; for the plan's text. */
enum patas__followed {
    PATAS__FOLLOWED_NOTHING = 0,
    PATAS__FOLLOWED_PLT     = 1,
    PATAS__FOLLOWED_JUMP    = 2
};

/* One step: sets `*next` and returns what was followed, or NOTHING. `image` is
 * the module that holds `address`; the slot of a PLT stub may lie in it only.
 * An unbound (lazy) slot is reported with `*lazy_symbol` = index of the symbol
 * in .dynsym (the caller looks it up), and *next = 0. */
PATAS__HIDDEN enum patas__followed patas__target_step(
    const struct patas__image *image, uint64_t address, bool follow_jumps,
    uint64_t *next, const char **lazy_name);

#endif
