/* SPDX-License-Identifier: MIT */
/*
 * Stage 1: the function that an address means.
 *
 * Followed: a PLT stub (a jump to where a slot says, which lies in the GOT and
 * is bound), an IFUNC symbol's address (the implementation that
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
    PATAS__FOLLOWED_PLT = 1,
    PATAS__FOLLOWED_JUMP = 2,
    PATAS__FOLLOWED_IFUNC = 3
};

/* One step: sets `*next` and returns what was followed, or NOTHING. `image` is
 * the module that holds `address`; the slot of a PLT stub may lie in it only.
 * An unbound (lazy) slot is reported with `*lazy_name` = the symbol's name (the
 * caller looks it up), and *next = 0. An IFUNC's resolver is reported as IFUNC
 * with `*lazy_name` = its name and *next = 0; patas__target_ifunc() knows more.
 * `*lazy_name` is NULL otherwise; it points into the image. */
PATAS__HIDDEN enum patas__followed
patas__target_step(const struct patas__image *image, uint64_t address,
                   bool follow_jumps, uint64_t *next, const char **lazy_name);

/*
 * The implementation that the loader chose for the IFUNC whose resolver is at
 * `resolver`, as a bound GOT slot of any of the images holds it: one that an
 * IRELATIVE relocation with that resolver filled in, else one for a symbol of
 * that name and version. 0 if there is none. The resolver is never called.
 */
PATAS__HIDDEN uint64_t
patas__target_ifunc(const struct patas__image *const *images, unsigned count,
                    uint64_t resolver);

/* What may be a stub at `address`, by a slot that is an aligned word in
 * writable memory of the image; `*size` is the stub's length up to the end of
 * the jump. It may still be any function that ends by a call through a pointer:
 * only patas__target_step() asks what the slot is. */
PATAS__HIDDEN bool patas__target_stub(const struct patas__image *image,
                                      uint64_t address, uint64_t *slot,
                                      uint64_t *size);

/* The instruction at `address`, and the first one from there on that isn't a
 * landing pad. */
PATAS__HIDDEN bool patas__target_decode(const struct patas__image *image,
                                        uint64_t address,
                                        struct patas__insn *insn);
PATAS__HIDDEN bool patas__target_first(const struct patas__image *image,
                                       uint64_t address,
                                       struct patas__insn *insn);

#endif
