/* SPDX-License-Identifier: MIT */
/*
 * Where thunks and their slots are.
 */
#include "thunk.h"

#include "island.h"

int patas__go_thunk_make(uintptr_t entry, uint64_t kind, uintptr_t *at)
{
    struct patas__go_thunk thunk;
    patas__go_thunk(kind, &thunk);
    int err = patas__island_code(entry, thunk.size, at);
    for (unsigned i = 0; i < PATAS__GO_FIELDS && !err; i++) {
        uintptr_t *slot;
        if (!thunk.at[i])
            continue;
        err = patas__island_slot(*at, &slot);
        patas__go_thunk_name(thunk.code + thunk.at[i], *at + thunk.at[i],
                             (uintptr_t)slot);
    }
    for (unsigned i = 0; i < thunk.backs && !err; i++)
        patas__go_thunk_name(thunk.code + thunk.back[i].field,
                             *at + thunk.back[i].field, *at + thunk.back[i].to);
    return err ? err : patas__island_write(*at, thunk.code, thunk.size);
}

uintptr_t *patas__go_thunk_slot(uintptr_t at, uint64_t kind,
                                enum patas__go_field field)
{
    struct patas__go_thunk thunk;
    patas__go_thunk(kind, &thunk);
    return thunk.at[field]
               ? (uintptr_t *)patas__go_thunk_named(at + thunk.at[field])
               : NULL;
}
