/* SPDX-License-Identifier: MIT */
#include "insn.h"

#include "isa/aarch64/aarch64.h"

bool patas__instruction_at(const uint8_t *bytes, size_t size, uint64_t address,
                           struct patas__instruction *out)
{
    struct patas__insn insn;

    if (!patas__a64_decode(bytes, size, address, &insn))
        return false;
    out->length = insn.length;
    out->jump = insn.flow == PATAS__FLOW_JUMP;
    out->has_target = insn.has_target;
    out->target = insn.target;
    out->has_operand = insn.has_operand;
    out->operand = insn.operand;
    return true;
}

/* b, bl, b.cond, cbz, tbz: every word is an instruction, or data. */
bool patas__branch_at(const uint8_t *bytes, size_t at, size_t size,
                      uint64_t address, struct patas__branch *out)
{
    struct patas__insn insn;

    if ((address + at) % PATAS__A64_SIZE || size - at < PATAS__A64_SIZE ||
        !patas__a64_decode(bytes + at, PATAS__A64_SIZE, address + at, &insn) ||
        !insn.has_target)
        return false;
    out->at = address + at;
    out->target = insn.target;
    out->call = insn.flow == PATAS__FLOW_CALL;
    return true;
}

/* brk #0, of which some bytes may be those that were there. */
bool patas__is_breakpoint(const uint8_t *bytes, size_t size)
{
    return size == 4 && patas__load32(bytes) == 0xd4200000;
}

enum {
    ADRP = 1, /* the page of the slot, then a load from it */
    LITERAL
};

/* The slot that the instructions load from, and by which register they jump. */
static unsigned loads_from(const uint8_t *bytes, uintptr_t address,
                           uintptr_t *slot, uint32_t *reg)
{
    const uint32_t first = patas__load32(bytes);
    const uint32_t second = patas__load32(bytes + 4);
    struct patas__insn insn;

    *reg = first & 31;
    if (!patas__a64_decode(bytes, 4, address, &insn) || !insn.has_operand)
        return 0;
    if ((first & 0xff000000) == 0x58000000) { /* ldr xn, literal */
        *slot = (uintptr_t)insn.operand;
        return LITERAL;
    }
    if ((first & 0x9f000000) != 0x90000000 ||
        (second & 0xffc003ff) != (0xf9400000 | *reg << 5 | *reg))
        return 0;
    *slot = (uintptr_t)insn.operand + (second >> 10 & 0xfff) * 8;
    return ADRP;
}

/*
 * ldr xn, literal; br xn     what most patchers write
 * adrp xn; ldr xn; br xn     linkers' stubs, and islands of patas
 */
bool patas__trampoline(const uint8_t bytes[16], uintptr_t address,
                       uintptr_t *to, uintptr_t *slot)
{
    uint32_t reg;
    const unsigned form = loads_from(bytes, address, slot, &reg);

    *to = 0;
    if (!form)
        return false;
    const uint32_t last = patas__load32(bytes + (form == ADRP ? 8 : 4));
    return last == (0xd61f0000 | reg << 5);
}
