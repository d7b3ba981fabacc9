/* SPDX-License-Identifier: MIT */
/*
 * What a plan needs besides the entry: the head, the stub and its slot, and the
 * record that names them.
 */
#include "prepare_parts.h"

/* It is switched on before a process's first instruction, or never. */
static bool shadow_stack(void)
{
    static int8_t known; /* 0 = not asked yet, else -1 or 1 */
    if (!known)
        known = patas__os_shadow_stack() ? 1 : -1;
    return known > 0;
}

/* Moves `want` bytes or more to island memory. */
static unsigned move_bytes(const struct patas__request *request, size_t want,
                           bool dry, struct patas__move *move, uintptr_t *head)
{
    const struct patas__survey *it = &request->survey;
    enum {
        GROWN = 48
    };
    /* The end of what was surveyed is a boundary, too. */
    const uint32_t bounds = it->starts | 1u << it->cover;
    size_t guess = want + JUMP + GROWN;
    move->plain = it->plain ? bounds & ((2u << it->cover) - 1) : 0;
    if (move->plain >> want)
        guess = want + (unsigned)__builtin_ctz(move->plain >> want) + JUMP;
    move->from = it->entry;
    move->bytes = it->bytes;
    move->size = it->size;
    move->want = want;
    move->lose_ip = true; /* the stub in front of it has used one */
    move->shadow_stack = shadow_stack();
    for (unsigned round = 0; round < 2; round++) {
        if (move->plain ? patas__island_spare(request->entry, guess, head)
                        : patas__island_code(request->entry, guess, head))
            return PATAS_REASON_NO_ADDRESS;
        move->to = *head;
        unsigned reason = patas__isa_host()->relocate(move);
        size_t used = reason || dry ? 0 : move->code_size;
        if (used <= guess)
            patas__island_free(*head + used, guess - used);
        if (reason || dry || used <= guess)
            return reason;
        patas__island_free(*head, guess);
        guess = move->code_size;
    }
    return PATAS_REASON_NO_ADDRESS;
}

unsigned patas__build_head(const struct patas__request *request, bool dry,
                           struct patas__move *move, uintptr_t *head)
{
    const struct patas__plan *plan = &request->plan;
    if (plan->past > plan->want &&
        !move_bytes(request, plan->past, dry, move, head))
        return PATAS_REASON_NONE;
    return move_bytes(request, plan->want, dry, move, head);
}

static void fill_carry(struct patas__target *target,
                       const struct patas__request *request,
                       const struct patas__move *move)
{
    unsigned last = target->form == PATAS_FORM_TRAP_BYTES   ? 4
                    : target->form == PATAS_FORM_SHORT_JUMP ? 1
                                                            : 0;
    for (unsigned k = 1; k <= 4; k++) {
        bool carried =
            k <= last && request->survey.starts >> k & 1 && k < move->moved;
        target->carry[k - 1] = carried ? move->map[k] : 0xff;
    }
}

void patas__build_place(struct patas__target *target, uintptr_t stub,
                        const uintptr_t *slot)
{
    target->stub = (int32_t)(stub - target->entry);
    target->slot = (int32_t)((uintptr_t)slot - stub);
}

int patas__build_stub(const struct patas__target *target)
{
    const struct patas__isa *isa = patas__isa_host();
    const uintptr_t stub = patas__target_island(target);
    uint8_t bytes[PATAS__STUB_MAX];
    const uint8_t *pad = target->at ? (const uint8_t *)target->entry : NULL;
    isa->put_stub(bytes, stub, (uintptr_t)patas__target_slot(target), pad);
    return patas__island_write(stub, bytes, isa->stub);
}

unsigned patas__build(struct patas__request *request, uint32_t module,
                      struct patas__target *target)
{
    struct patas__move move;
    uintptr_t head, *slot;
    unsigned reason = patas__build_head(request, false, &move, &head);
    if (reason) {
        request->in_the_way = (uintptr_t)move.trouble;
        return reason;
    }
    request->moved = (unsigned)move.moved;
    if (patas__island_slot(request->stub, &slot)) {
        patas__island_free(head, move.code_size);
        return PATAS_REASON_NO_ADDRESS;
    }
    target->entry = request->entry;
    target->head = (int32_t)(head - request->entry);
    target->module = (uint16_t)module;
    target->form = (uint8_t)request->plan.form;
    target->owned = request->plan.owned;
    target->written = request->plan.written & 0xfu;
    target->at = request->plan.at & 0xfu;
    memcpy(target->before, request->survey.bytes + target->at,
           sizeof target->before);
    patas__build_place(target, request->stub, slot);
    fill_carry(target, request, &move);
    *slot = head;
    if (patas__island_write(head, move.code, move.code_size) ||
        patas__build_stub(target)) {
        patas__island_slot_free(slot);
        patas__island_free(head, move.code_size);
        return PATAS_REASON_NO_WRITE;
    }
    return PATAS_REASON_NONE;
}

void patas__target_bytes(const struct patas__target *target, uint8_t before[8],
                         uint8_t after[8])
{
    memset(before, 0, 8);
    memcpy(before, target->before, sizeof target->before);
    memcpy(after, before, 8);
    bool gap = target->form == PATAS_FORM_SHORT_JUMP;
    patas__isa_host()->form_bytes(target->form, target->entry + target->at,
                                  gap ? patas__target_gap(target)
                                      : patas__target_island(target),
                                  target->after, after);
}
