/* SPDX-License-Identifier: MIT */
/*
 * On arm64: b entry becomes b head, one word.
 */
#include "again.h"

#include "isa.h"

patas_status patas__go_again(const struct patas__go_head *go, uintptr_t head,
                             unsigned unit, struct patas__go_again *again)
{
    enum {
        WORD = 4
    };
    const struct patas__isa *isa = patas__isa_host();
    uintptr_t at = (uintptr_t)go->again;
    uint8_t jump[WORD];
    (void)unit; /* the smallest one will do */
    again->first = 2;
    if (go->shape != PATAS__GO_CHECKED)
        return PATAS_OK;
    /* The head is in reach of the entry; the block, behind a function's whole
     * body, can be too far. */
    if (head - at + isa->reach >= 2 * (uintptr_t)isa->reach)
        return PATAS_ERR_NO_MEMORY;
    isa->put_jump(jump, at, head);
    again->first = 1;
    patas__go_again_edit(&again->steps[1], at, jump, WORD);
    return PATAS_OK;
}
