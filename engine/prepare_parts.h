/* SPDX-License-Identifier: MIT */
/*
 * What the parts of prepare share: prepare.c goes through the stages, and each
 * of the others is one of them.
 */
#ifndef PATAS_PREPARE_PARTS_H
#define PATAS_PREPARE_PARTS_H

#include "host.h"
#include "prepare.h"

/* Bytes of a jump: the window of a patch, and what a gap must hold. */
#define JUMP ((unsigned)patas__isa_host()->jump)

/* Mappings looked up last: one for targets, one for replacements. */
PATAS__HIDDEN extern struct patas__prepared {
    struct patas__region target, replacement;
} patas__prepared;

static inline patas_status refuse(patas_error *error, patas_status status,
                                  unsigned reason, uintptr_t target,
                                  uintptr_t address)
{
    *error = (patas_error){
        .status = status,
        .target = target,
        .address = address,
        .reason = reason,
    };
    return status;
}

/* ---- prepare_target.c ---------------------------------------------------- */

/* May request->entry be patched at all? */
PATAS__HIDDEN patas_status
patas__prepare_target(const struct patas__request *request,
                      const struct patas__module *module, patas_error *error);

/* ---- prepare_survey.c ---------------------------------------------------- */

/* Fills in extent and padding, of a long function only if `padded`, and refuses
 * what is no entry. */
PATAS__HIDDEN patas_status patas__prepare_extent(struct patas__request *request,
                                                 struct patas__module *module,
                                                 bool padded,
                                                 patas_error *error);

/* Fills in the survey, from bytes and branches. */
PATAS__HIDDEN patas_status patas__prepare_survey(struct patas__request *request,
                                                 struct patas__module *module,
                                                 patas_error *error);

/* ---- prepare_gap.c ------------------------------------------------------- */

/* Padding that holds a jump and that a short jump reaches, or 0. */
PATAS__HIDDEN uint64_t patas__gap_find(const struct patas__request *request,
                                       struct patas__module *module);

/* Makes a jump to the stub of the request's gap, which is taken from then on.
 */
PATAS__HIDDEN patas_status
patas__gap_write(const struct patas__request *request, patas_error *error);

/* ---- prepare_build.c ----------------------------------------------------- */

/* Moves the head to island memory, or with `dry` finds out whether that can be
 * done. A patas_reason. */
PATAS__HIDDEN unsigned patas__build_head(const struct patas__request *request,
                                         bool dry, struct patas__move *move,
                                         uintptr_t *head);

/* Turns a plan whose stub is found into a record. A patas_reason. */
PATAS__HIDDEN unsigned patas__build(struct patas__request *request,
                                    uint32_t module,
                                    struct patas__target *target);

/* Where the target's stub is, and what it jumps by; then its code. */
PATAS__HIDDEN void patas__build_place(struct patas__target *target,
                                      uintptr_t stub, const uintptr_t *slot);
PATAS__HIDDEN int patas__build_stub(const struct patas__target *target);

#endif
