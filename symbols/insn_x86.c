/* SPDX-License-Identifier: MIT */
#include "insn.h"

#include "isa/x86/x86.h"

/* Calls and jumps of five bytes, whatever they begin in. */
bool patas__branch_at(const uint8_t *bytes, size_t at, size_t size,
                      uint64_t address, struct patas__branch *out)
{
    if (size - at < 5)
        return false;
    const uint8_t first = bytes[at];
    const bool jcc = (first & 0xf0) == 0x80 && at && bytes[at - 1] == 0x0f;
    if (first != 0xe8 && first != 0xe9 && !jcc)
        return false;
    const int32_t distance = (int32_t)patas__load32(bytes + at + 1);
    out->at = address + at - jcc;
    out->target = address + at + 5 + (uint64_t)(int64_t)distance;
    out->call = first == 0xe8;
    return true;
}

bool patas__is_breakpoint(const uint8_t *bytes, size_t size)
{
    return size == 1 && bytes[0] == 0xcc;
}

static uintptr_t address_of(const uint8_t *bytes)
{
    return sizeof(uintptr_t) == 8 ? (uintptr_t)patas__load64(bytes)
                                  : patas__load32(bytes);
}

/* mov $to,%reg; jmp *%reg with all bits of an address; in 32-bit code also
 * push $to; ret: as many trampolines are. */
bool patas__trampoline(const uint8_t bytes[16], uintptr_t address,
                       uintptr_t *to, uintptr_t *slot)
{
    const bool wide = sizeof *to == 8;
    bool high = false; /* r8 to r15 */

    (void)address;
    *slot = 0;
    if (!wide && bytes[0] == 0x68 && bytes[5] == 0xc3) {
        *to = address_of(bytes + 1);
        return true;
    }
    if (wide) {
        if ((*bytes & 0xfe) != 0x48)
            return false;
        high = *bytes++ & 1;
    }
    const uint8_t *jump = bytes + 1 + sizeof *to;
    if (high && *jump++ != 0x41)
        return false;
    if ((bytes[0] & 0xf8) != 0xb8 || jump[0] != 0xff ||
        jump[1] != (0xe0 | (bytes[0] & 7)))
        return false;
    *to = address_of(bytes + 1);
    return true;
}

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
