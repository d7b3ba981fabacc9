/* SPDX-License-Identifier: MIT */
#include "insn.h"

#include "isa/x86/x86.h"

/* jmp *address: relative to nothing in 32-bit code, so no operand to those who
 * move it. */
static bool jumps_by_memory_32(const uint8_t *bytes,
                               const struct patas__insn *insn)
{
    return insn->length == 6 && bytes[0] == 0xff && bytes[1] == 0x25;
}

bool patas__instruction_at(const uint8_t *bytes, size_t size, uint64_t address,
                           struct patas__instruction *out)
{
    const bool wide = sizeof(void *) == 8;
    struct patas__insn insn;

    if (!(wide ? patas__x86_decode_64(bytes, size, address, &insn)
               : patas__x86_decode_32(bytes, size, address, &insn)))
        return false;
    out->length = insn.length;
    out->jump = insn.flow == PATAS__FLOW_JUMP;
    out->has_target = insn.has_target;
    out->target = insn.target;
    out->has_operand = insn.has_operand;
    out->operand = insn.operand;
    if (!wide && jumps_by_memory_32(bytes, &insn)) {
        out->has_operand = true;
        out->operand = bytes[2] | (uint32_t)bytes[3] << 8 |
                       (uint32_t)bytes[4] << 16 | (uint32_t)bytes[5] << 24;
    }
    return true;
}
