/* SPDX-License-Identifier: MIT */
/*
 * What an x86 instruction does to rsp or esp, for whoever asks where the caller
 * is.
 */
#include "x86.h"

enum {
    FRAME_STACK = 4 /* the number of rsp in instructions */
};

/* lea disp(%rsp), %rsp */
static int64_t frame_lea(const uint8_t *modrm, bool *known)
{
    if (modrm[0] == 0x64 && modrm[1] == 0x24)
        return -(int64_t)(int8_t)modrm[2];
    if (modrm[0] == 0xa4 && modrm[1] == 0x24)
        return -(int64_t)(int32_t)patas__load32(modrm + 2);
    *known = false;
    return 0;
}

/* add, sub or cmp $imm, %rsp */
static int64_t frame_add(const uint8_t *modrm, unsigned op, bool *known)
{
    int64_t value =
        op == 0x83 ? (int8_t)modrm[1] : (int32_t)patas__load32(modrm + 1);
    switch (modrm[0]) {
    case 0xc4: /* add */
        return -value;
    case 0xec: /* sub */
        return value;
    default:
        *known = *known && modrm[0] == 0xfc; /* cmp */
        return 0;
    }
}

/* Might it be another instruction that writes rsp? Any that names it is
 * taken for one, but for a copy of rsp to elsewhere. */
static bool frame_names_rsp(const uint8_t *bytes,
                            const struct patas__insn *insn, unsigned op)
{
    bool reg_high = insn->rex & 4, rm_high = insn->rex & 1;
    if (op == 0xc8 || op == 0xc9 || op == 0xcf)
        return insn->map == 0; /* enter, leave, iret */
    if (!insn->modrm_at)
        return !rm_high && (op & 7) == FRAME_STACK &&
               ((op & 0xf0) == 0xb0 || (op & 0xf8) == 0x90);
    uint8_t modrm = bytes[insn->modrm_at];
    bool reg = (modrm >> 3 & 7) == FRAME_STACK && !reg_high;
    bool rm = modrm >= 0xc0 && (modrm & 7) == FRAME_STACK && !rm_high;
    if (insn->map == 0 && op == 0x89)
        return rm;
    if (insn->map == 0 && op == 0x8b)
        return reg;
    return reg || rm;
}

/* By how much the stack pointer, of `word` bytes, is lower behind it. */
static int64_t frame_effect(const uint8_t *bytes,
                            const struct patas__insn *insn, int64_t word,
                            bool *known)
{
    const uint8_t *modrm = bytes + insn->modrm_at;
    unsigned op = bytes[insn->opcode_at];
    const unsigned wide = word == 8 ? 8 : 0; /* REX.W: all of rsp */
    bool plain = insn->map == 0 && insn->encoding == PATAS__LEGACY &&
                 !(insn->prefixes & PATAS__PREFIX_66);
    if (plain &&
        ((op & 0xf8) == 0x50 || op == 0x68 || op == 0x6a || op == 0x9c ||
         op == 0xe8 || (op == 0xff && (modrm[0] >> 3 & 7) == 6)))
        return word;
    if (plain && (((op & 0xf8) == 0x58 && (op != 0x5c || insn->rex & 1)) ||
                  op == 0x9d || (op == 0x8f && modrm[0] != 0xc4)))
        return -word;
    if (plain && op == 0x8d && (modrm[0] >> 3 & 7) == FRAME_STACK &&
        (insn->rex & 0xc) == wide)
        return frame_lea(modrm, known);
    if (plain && (op == 0x81 || op == 0x83) && modrm[0] >= 0xc0 &&
        (modrm[0] & 7) == FRAME_STACK && (insn->rex & 9) == wide)
        return frame_add(modrm, op, known);
    if (frame_names_rsp(bytes, insn, op))
        *known = false;
    return 0;
}

int64_t patas__x86_frame_effect_64(const uint8_t *bytes,
                                   const struct patas__insn *insn, bool *known)
{
    return frame_effect(bytes, insn, 8, known);
}

int64_t patas__x86_frame_effect_32(const uint8_t *bytes,
                                   const struct patas__insn *insn, bool *known)
{
    return frame_effect(bytes, insn, 4, known);
}
