/* SPDX-License-Identifier: MIT */
/*
 * The edits of a way back, written and taken back in their order.
 */
#include "again.h"

void patas__go_again_edit(struct patas__edit *edit, uintptr_t address,
                          const uint8_t *bytes, unsigned size)
{
    *edit = (struct patas__edit){
        .address = address, .size = (uint8_t)size, .check = (uint8_t)size};
    memcpy(edit->before, (const void *)address, size);
    memcpy(edit->after, bytes, size);
}

patas_status patas__go_again_commit(const struct patas__go_again *again,
                                    patas_error *error)
{
    for (unsigned i = again->first; i < 2; i++) {
        struct patas__edit edit = again->steps[i];
        patas_status status = patas__commit(&edit, 1, error);
        if (status == PATAS_OK)
            continue;
        for (unsigned k = again->first; k < i; k++) {
            struct patas__go_again done = *again;
            done.first = k;
            patas__go_again_undo(&done);
        }
        return status;
    }
    return PATAS_OK;
}

void patas__go_again_undo(const struct patas__go_again *again)
{
    for (unsigned i = 2; i-- > again->first;) {
        patas_error ignored;
        struct patas__edit edit = again->steps[i];
        memcpy(edit.before, again->steps[i].after, sizeof edit.before);
        memcpy(edit.after, again->steps[i].before, sizeof edit.after);
        (void)patas__commit(&edit, 1, &ignored);
    }
}
