/* SPDX-License-Identifier: MIT */
/*
 * Stages 1 to 6 for one target: from the address that was asked to a record
 * with an island, ready to go live. Nothing that runs has changed by then.
 */
#ifndef PATAS_PREPARE_H
#define PATAS_PREPARE_H

#include "plan.h"
#include "registry.h"

/* What one call of patas asks for, and what it found on the way. */
struct patas__request {
    uintptr_t asked;   /* the target as given */
    uintptr_t entry;   /* ... and what patas__resolve() made of it */
    unsigned flags;    /* PATAS_STRICT ... */
    uint32_t nth;      /* its place in a batch, from 1; 0: by itself */
    bool searched;     /* the caller knows all branches into the window: */
    uint32_t entering; /* bit k: one to entry + k */
    /* Results. */
    uint64_t extent, padding;
    uint8_t passed_by[PATAS_FORM_COUNT]; /* a patas_reason a form */
    uintptr_t in_the_way; /* for the first reason that names an address */
    uintptr_t stub, gap;
    uintptr_t neighbour; /* another target that owns bytes of the window */
    unsigned moved;
    struct patas__survey survey;
    struct patas__plan plan;
};

/* Forgets looked-up mappings: they may have changed between public calls. */
PATAS__HIDDEN void patas__prepare_reset(void);

/* The target record for `request`, made if need be; `dry`: only the request's
 * results. */
PATAS__HIDDEN patas_status patas__prepare(struct patas__request *request,
                                          bool dry, uint32_t *target,
                                          patas_error *error);

/* The record that patas__prepare() would find and use, or 0. */
PATAS__HIDDEN uint32_t
patas__prepare_known(const struct patas__request *request);

/* Another form for a target that is not live yet: kept bytes at any cost. */
PATAS__HIDDEN patas_status patas__prepare_without_trap(uint32_t target,
                                                       patas_error *error);

/* The function that an address stands for; the address itself if nothing is
 * to be followed. */
PATAS__HIDDEN uintptr_t patas__resolve(uintptr_t address, unsigned flags);

/* Is it sure to do so for itself? No other module is looked at. */
PATAS__HIDDEN bool patas__stands_for_itself(const struct patas__module *module,
                                            uintptr_t address, unsigned flags);

/* Is `address` executable memory that may be jumped to? */
PATAS__HIDDEN patas_status patas__check_replacement(uintptr_t address,
                                                    patas_error *error);

/* The record of a pointer in data; made if need be. */
PATAS__HIDDEN patas_status patas__prepare_slot(uintptr_t slot, uint32_t *target,
                                               patas_error *error);

/* The 8 bytes from entry + at on as they are with and without the patch. */
PATAS__HIDDEN void patas__target_bytes(const struct patas__target *target,
                                       uint8_t before[8], uint8_t after[8]);

#endif
