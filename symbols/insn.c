/* SPDX-License-Identifier: MIT */
#include "insn.h"

#include "isa/x86/x86.h"

bool patas__instruction_at(const uint8_t *bytes, size_t size, uint64_t address,
                           struct patas__instruction *out)
{
    struct patas__insn insn;

    if (!patas__x86_decode_64(bytes, size, address, &insn))
        return false;
    out->length = insn.length;
    out->jump = insn.flow == PATAS__FLOW_JUMP;
    out->has_target = insn.has_target;
    out->target = insn.target;
    out->has_operand = insn.has_operand;
    out->operand = insn.operand;
    return true;
}
