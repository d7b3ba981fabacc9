/* SPDX-License-Identifier: MIT */
/*
 * A batch, from its members to their commit: what the public functions share.
 * All of it runs under the engine's lock.
 */
#ifndef PATAS_BATCH_H
#define PATAS_BATCH_H

#include "registry.h"

/* One member: a patch that comes, or one that goes. */
struct patas__member {
    uint32_t patch;
    uint32_t generation; /* of a patch that goes: it may go elsewhere first */
    bool restore;
    uint8_t before; /* its flags, while the commit is under way */
};

/* All members, or none. */
PATAS__HIDDEN patas_status patas__members_commit(struct patas__member *members,
                                                 size_t count,
                                                 patas_error *error);

/* Stores what a call of this target must reach. For a data slot this writes
 * the slot itself. */
PATAS__HIDDEN patas_status patas__target_redirect(uint32_t target,
                                                  patas_error *error);

struct patas__commit_stats {
    uint64_t commits, threads_held, threads_moved;
    bool armed; /* the trap handler is installed */
};
PATAS__HIDDEN struct patas__commit_stats patas__members_stats(void);

#endif
