/* SPDX-License-Identifier: MIT */
/*
 * What an A64 instruction does to the stack pointer, for whoever asks where the
 * caller is.
 */
#include "aarch64.h"

enum {
    A64F_SP = 31
};

static int64_t a64_field(uint32_t word, unsigned low, unsigned count)
{
    return (int64_t)((uint64_t)(word >> low) << (64 - count)) >> (64 - count);
}

/* Does the instruction, no load or store, have an sp to write to? Operations
 * with an immediate, and add and sub with an extended register; not those that
 * set flags, whose 31 is the zero register. `irg` of the MTE. */
static bool a64_frame_writes(uint32_t word)
{
    if ((word & 0x1f000000) == 0x11000000 || (word & 0x1fe00000) == 0x0b200000)
        return !(word >> 29 & 1);
    if ((word & 0x1f800000) == 0x12000000)
        return (word >> 29 & 3) != 3;
    return (word & 0xffe0fc00) == 0x9ac01000;
}

/* Loads and stores that change their base register, which is sp. */
static int64_t a64_frame_access(uint32_t word, bool *known)
{
    bool pair = (word & 0x3a000000) == 0x28000000;
    unsigned mode = pair ? word >> 23 & 3 : word >> 10 & 3;

    if (pair && mode & 1) { /* post- and pre-indexed */
        unsigned opc = word >> 30;
        bool simd = word >> 26 & 1, load = word >> 22 & 1;
        unsigned scale = simd ? 2 + opc : opc & 2 ? 3 : opc && !load ? 4 : 2;
        return -a64_field(word, 15, 7) * (1 << scale);
    }
    if (pair)
        return 0;
    if ((word & 0x3b200000) == 0x38000000 && mode & 1)
        return -a64_field(word, 12, 9);
    if ((word & 0xbe800000) == 0x0c800000 || /* several SIMD registers, */
        (word & 0xff200400) == 0xf8200400 || /* ldraa, */
        (word & 0xff200000) == 0xd9200000)   /* stg: with or without */
        *known = false;
    return 0;
}

int64_t patas__a64_frame_effect(const uint8_t *bytes,
                                const struct patas__insn *insn, bool *known)
{
    uint32_t word = patas__load32(bytes);
    unsigned group = word >> 25 & 15;
    bool to_sp = (word & 31) == A64F_SP, from_sp = (word >> 5 & 31) == A64F_SP;

    (void)insn;
    if ((group & 5) == 4)
        return from_sp ? a64_frame_access(word, known) : 0;
    if ((word & 0xff800000) == 0xd1000000 && to_sp && from_sp) /* sub sp, sp */
        return (int64_t)(word >> 10 & 0xfff) << (word >> 22 & 1 ? 12 : 0);
    if ((word & 0xff800000) == 0x91000000 && to_sp && from_sp) /* add sp, sp */
        return -((int64_t)(word >> 10 & 0xfff) << (word >> 22 & 1 ? 12 : 0));
    if (to_sp && a64_frame_writes(word))
        *known = false;
    return 0;
}
