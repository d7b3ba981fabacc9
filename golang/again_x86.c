/* SPDX-License-Identifier: MIT */
/*
 * On amd64 and 386:
 *
 *     e9 d0 d1 d2 d3              the displacement alone changes
 *     e9 d0 | d1 d2 d3            ... its upper part: a landing fits the rest
 *     eb d0   cc cc cc            the padding first, which nobody runs
 *     eb | d0   cc cc cc          ... then the opcode; d0 stays
 *     48 8b 44 24 08   eb d0      no padding: the move in front of it, which
 *                                 the landing makes up for
 *     eb d0                       nothing of that: a byte that traps
 */
#include "again.h"

#include "island.h"
#include "land.h"
#include "registry.h"
#include "trap.h"

enum {
    JUMP = 5,
    NEAR = 0xe9
};

static bool one_unit(uintptr_t address, unsigned size, unsigned unit)
{
    return address % unit + size <= unit;
}

static bool jump_to(uint8_t jump[JUMP], uintptr_t from, uintptr_t to)
{
    intptr_t away = (intptr_t)(to - (from + JUMP));
    jump[0] = NEAR;
    patas__store32(jump + 1, (uint32_t)away);
    return away == (int32_t)away;
}

/* A jump at `from` whose displacement has `count` low bytes as they are. */
static bool jump_kept(uint8_t jump[JUMP], uintptr_t from, unsigned count,
                      uintptr_t to)
{
    uintptr_t landing = to;
    uint32_t kept = patas__load32((const void *)(from + 1));
    if ((count || !jump_to(jump, from, to)) &&
        patas__go_land(from + JUMP, kept, count, to, &landing))
        return false;
    return jump_to(jump, from, landing);
}

static patas_status near_jump(uintptr_t at, uintptr_t head, unsigned unit,
                              struct patas__go_again *again)
{
    uint8_t jump[JUMP];
    unsigned in_first = unit - (unsigned)(at % unit);
    unsigned kept = in_first >= JUMP ? 0 : in_first - 1;
    again->first = 1;
    if (!jump_kept(jump, at, kept, head))
        return PATAS_ERR_NO_MEMORY;
    patas__go_again_edit(&again->steps[1], at + 1 + kept, jump + 1 + kept,
                         4 - kept);
    return PATAS_OK;
}

static patas_status short_jump(uintptr_t at, uintptr_t head, unsigned unit,
                               struct patas__go_again *again)
{
    uint8_t jump[JUMP];
    unsigned in_first = unit - (unsigned)(at % unit);
    unsigned kept = in_first == 1 ? 1 : 0;
    if (!jump_kept(jump, at, kept, head))
        return PATAS_ERR_NO_MEMORY;
    if (in_first >= JUMP) {
        again->first = 1;
        patas__go_again_edit(&again->steps[1], at, jump, JUMP);
        return PATAS_OK;
    }
    unsigned live = in_first == 1 ? 2 : in_first;
    again->first = 0;
    patas__go_again_edit(&again->steps[0], at + live, jump + live, JUMP - live);
    patas__go_again_edit(&again->steps[1], at, jump, in_first);
    return PATAS_OK;
}

/* The move in front of the jump, made up for: it has no operand that is
 * relative to the PC. */
static patas_status over_move(const struct patas__go_head *go, uintptr_t head,
                              unsigned unit, struct patas__go_again *again)
{
    enum {
        MOST = 16
    };
    uint8_t jump[JUMP], code[MOST + JUMP];
    uintptr_t from = (uintptr_t)go->last, there;
    size_t size = (size_t)(go->again - go->last);
    if (size < JUMP || size > MOST || !one_unit(from, JUMP, unit))
        return PATAS_ERR_NO_ROOM;
    if (patas__island_code(from, size + JUMP, &there))
        return PATAS_ERR_NO_MEMORY;
    memcpy(code, (const void *)from, size);
    if (!jump_to(code + size, there + size, head) ||
        !jump_to(jump, from, there))
        return PATAS_ERR_NO_MEMORY;
    if (patas__island_write(there, code, size + JUMP))
        return PATAS_ERR_DENIED;
    again->first = 1;
    patas__go_again_edit(&again->steps[1], from, jump, JUMP);
    return PATAS_OK;
}

/* A move from the stack: 8b, 0f b6, f3 0f 10 ... with (%rsp) as its base. */
static bool loads_stack(const struct patas__go_head *go)
{
    struct patas__insn insn;
    const uint8_t *bytes = (const uint8_t *)(uintptr_t)go->last;
    size_t size = (size_t)(go->again - go->last);
    if (!patas__isa_host()->decode(bytes, size, go->last, &insn) ||
        insn.length != size || insn.flow != PATAS__FLOW_NEXT || insn.rel_size ||
        insn.has_operand || !insn.modrm_at)
        return false;
    return (bytes[insn.modrm_at] & 7) == 4 && bytes[insn.modrm_at] < 0xc0 &&
           bytes[insn.modrm_at + 1] == 0x24;
}

/*
 * The last resort: a byte that traps, and a record by which the trap handler
 * sends whoever meets it to the head. Only a stack that grows comes here.
 */
static patas_status trap_instead(const struct patas__go_head *go,
                                 uintptr_t head, struct patas__go_again *again)
{
    unsigned count;
    uintptr_t at = (uintptr_t)go->again, *slot;
    uint8_t trap = patas__trap_bytes(&count)[0];
    again->first = 1;
    patas__go_again_edit(&again->steps[1], at, &trap, 1);
    uint32_t index = patas__target_new();
    if (!index || patas__island_slot(at + JUMP, &slot)) {
        if (index)
            patas__target_forget(index);
        return PATAS_ERR_NO_MEMORY;
    }
    *slot = head;
    struct patas__target *target = patas__target_get(index);
    target->entry = at;
    target->form = PATAS_FORM_PERMANENT_TRAP;
    target->head = (int32_t)(head - at);
    /* There is no stub: the way to the slot begins at the entry. */
    target->stub = 0;
    target->slot = (int32_t)((uintptr_t)slot - at);
    target->state = PATAS__INSTALLED;
    target->seen_live = 1;
    target->written = 1;
    target->owned = 1;
    target->after = trap;
    memset(target->carry, 0xff, sizeof target->carry);
    if (!patas__target_publish(index)) {
        patas__target_forget(index);
        return PATAS_ERR_NO_MEMORY;
    }
    return patas__trap_arm() ? PATAS_ERR_DENIED : PATAS_OK;
}

patas_status patas__go_again(const struct patas__go_head *go, uintptr_t head,
                             unsigned unit, struct patas__go_again *again)
{
    uintptr_t at = (uintptr_t)go->again;
    again->first = 2;
    if (go->shape != PATAS__GO_CHECKED)
        return PATAS_OK;
    if (go->again_size == JUMP)
        return near_jump(at, head, unit, again);
    if (go->padding >= JUMP - 2)
        return short_jump(at, head, unit, again);
    patas_status status = PATAS_ERR_NO_ROOM;
    if (loads_stack(go))
        status = over_move(go, head, unit, again);
    return status == PATAS_ERR_NO_ROOM ? trap_instead(go, head, again) : status;
}
