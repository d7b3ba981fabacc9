/* SPDX-License-Identifier: MIT */
/*
 * A64 instructions: what they do to the flow of control, and what in them is
 * relative to the PC. C4.1 and C6.2 are sections of the Arm ARM, DDI 0487.
 *
 *     31   28  25                    0
 *      .  . op0 .                          C4.1
 *           0000  reserved, udf, SME
 *           0010  SVE
 *           100x  data processing, immediate          a64_immediate
 *           101x  branches, exceptions, system        a64_branch
 *           x1x0  loads and stores                    a64_load
 *           x101  data processing, register           a64_register
 *           x111  floating point, SIMD
 */
#include "aarch64.h"

/* Some bits of a word. */
static inline uint32_t a64_bits(uint32_t word, unsigned low, unsigned count)
{
    return word >> low & ((1u << count) - 1);
}

/* The same as a signed number of `unit` bytes each. */
static inline uint64_t a64_offset(uint32_t word, unsigned low, unsigned count,
                                  unsigned unit)
{
    uint64_t sign = (uint64_t)1 << (count - 1);

    return ((a64_bits(word, low, count) ^ sign) - sign) * unit;
}

/* ---- what is found ----------------------------------------------------- */

static bool a64_form(struct patas__insn *insn, enum patas__a64_form form)
{
    insn->encoding = (uint8_t)form;
    return true;
}

static bool a64_flow(struct patas__insn *insn, enum patas__flow flow)
{
    insn->flow = (uint8_t)flow;
    return true;
}

static bool a64_target(struct patas__insn *insn, enum patas__a64_form form,
                       enum patas__flow flow, uint64_t offset)
{
    insn->target = insn->address + offset;
    insn->has_target = true;
    insn->rel_size = PATAS__A64_SIZE;
    a64_flow(insn, flow);
    return a64_form(insn, form);
}

static bool a64_operand(struct patas__insn *insn, enum patas__a64_form form,
                        uint64_t operand)
{
    insn->operand = operand;
    insn->has_operand = true;
    insn->rel_size = PATAS__A64_SIZE;
    return a64_form(insn, form);
}

/* FEAT_PAuth_LR: the label of autiasppc and retaasppc, 16 bits backwards, is
 * the paciasppc that signed (C6.2, AUTIASPPC). */
static bool a64_signer(struct patas__insn *insn, uint32_t word)
{
    return a64_operand(insn, PATAS__A64_FIXED,
                       insn->address - a64_bits(word, 5, 16) * 4);
}

/* ---- C4.1, data processing, immediate ---------------------------------- */

/* The bit mask of a logical immediate (DecodeBitMasks, in J1.3): its element is
 * a power of two, and ones that fill it are none. */
static bool a64_is_bitmask(uint32_t word)
{
    uint32_t n = a64_bits(word, 22, 1);
    uint32_t width = n << 6 | (~a64_bits(word, 10, 6) & 0x3f);

    if (n && !(word >> 31))
        return false;
    if (width < 2)
        return false;
    uint32_t levels = (1u << (31 - __builtin_clz(width))) - 1;
    return (a64_bits(word, 10, 6) & levels) != levels;
}

static bool a64_is_bitfield(uint32_t word)
{
    uint32_t wide = word >> 31;

    return a64_bits(word, 29, 2) != 3 && a64_bits(word, 22, 1) == wide &&
           (wide || !(word & 0x00208000));
}

static bool a64_is_extract(uint32_t word)
{
    uint32_t wide = word >> 31;

    return !(word & 0x60200000) && a64_bits(word, 22, 1) == wide &&
           (wide || !(word & 0x00008000));
}

static bool a64_is_tagged_or_minmax(uint32_t word)
{
    if (a64_bits(word, 22, 1)) /* smax, umax, smin, umin */
        return !(word & 0x60300000);
    return (word & 0xa000c000) == 0x80000000; /* addg, subg */
}

static bool a64_immediate(uint32_t word, struct patas__insn *insn)
{
    uint64_t offset;

    switch (a64_bits(word, 23, 3)) {
    case 0:
    case 1:
        offset = a64_offset(word, 5, 19, 4) | a64_bits(word, 29, 2);
        if (word >> 31)
            return a64_operand(insn, PATAS__A64_ADRP,
                               (insn->address & ~(uint64_t)0xfff) +
                                   offset * 0x1000);
        return a64_operand(insn, PATAS__A64_ADR, insn->address + offset);
    case 2: /* add, sub */
        return true;
    case 3:
        return a64_is_tagged_or_minmax(word);
    case 4:
        return a64_is_bitmask(word);
    case 5: /* movn, movz, movk */
        return a64_bits(word, 29, 2) != 1 && (word >> 31 || !(word & 1u << 22));
    case 6:
        return a64_is_bitfield(word);
    default:
        if ((word & 0xffc0001f) == 0xf380001f) /* autiasppc, autibsppc */
            return a64_signer(insn, word);
        return a64_is_extract(word);
    }
}

/* ---- C4.1, branches, exception generating, system ---------------------- */

/* cbgt and kin, FEAT_CMPBR: greater, greater or equal (with an immediate:
 * less), the same unsigned, equal, not equal; 4 and 5 are none. */
static bool a64_compare(uint32_t word, struct patas__insn *insn)
{
    uint32_t condition = a64_bits(word, 21, 3);
    uint32_t size = a64_bits(word, 14, 2);

    if (condition == 4 || condition == 5)
        return false;
    if (word & 1u << 24) { /* with an immediate, whose lowest bit is 15 */
        if (size & 1)
            return false;
    } else if (size == 1 || (size && word >> 31)) { /* bytes, halves: w only */
        return false;
    }
    return a64_target(insn, PATAS__A64_CB, PATAS__FLOW_BRANCH,
                      a64_offset(word, 5, 9, 4));
}

static bool a64_conditional(uint32_t word, struct patas__insn *insn)
{
    if (!(word & 1u << 24))
        return a64_target(insn, PATAS__A64_B_COND, PATAS__FLOW_BRANCH,
                          a64_offset(word, 5, 19, 4));
    if ((word & 0x00c0001f) != 0x0000001f) /* retaasppc, retabsppc */
        return false;
    a64_flow(insn, PATAS__FLOW_RETURN);
    return a64_signer(insn, word);
}

static bool a64_exception(uint32_t word, struct patas__insn *insn)
{
    uint32_t level = a64_bits(word, 0, 2);

    if (a64_bits(word, 2, 3))
        return false;
    switch (a64_bits(word, 21, 3)) {
    case 0: /* svc, hvc, smc */
        return level != 0 && a64_flow(insn, PATAS__FLOW_SYSCALL);
    case 1: /* brk; linkers fill gaps with brk #0 */
        insn->padding = word == 0xd4200000;
        return level == 0 && a64_flow(insn, PATAS__FLOW_STOP);
    case 2: /* hlt */
    case 3: /* tcancel: control goes to where the transaction began */
        return level == 0 && a64_flow(insn, PATAS__FLOW_STOP);
    case 5: /* dcps1 to dcps3 */
        return level != 0 && a64_flow(insn, PATAS__FLOW_STOP);
    default:
        return false;
    }
}

/* Unassigned hints are NOPs (C6.2, HINT), but only `nop` says that it does
 * nothing on every processor to come. */
static bool a64_hint(uint32_t word, struct patas__insn *insn)
{
    if (a64_bits(word, 0, 5) != PATAS__A64_ZR)
        return false;
    switch (a64_bits(word, 5, 7)) {
    case 0:
        insn->padding = true;
        return true;
    case 25: /* paciasp */
    case 27: /* pacibsp */
    case 34: /* bti c */
    case 36: /* bti j */
    case 38: /* bti jc */
        insn->landing_pad = true;
        return true;
    case 39: /* pacm: the next instruction signs by its own address */
        return a64_form(insn, PATAS__A64_FIXED);
    default:
        return true;
    }
}

static bool a64_is_barrier(uint32_t word)
{
    uint32_t crm = a64_bits(word, 8, 4);

    if (a64_bits(word, 0, 5) != PATAS__A64_ZR)
        return false;
    switch (a64_bits(word, 5, 3)) {
    case 1: /* dsb nXS */
        return (crm & 3) == 2;
    case 3: /* tcommit */
        return crm == 0;
    case 0:
        return false;
    default: /* clrex, dsb, dmb, isb; sb, where crm should be 0 */
        return true;
    }
}

/* What isn't sys, msr or mrs with a register: bits 20 and 19 are clear. */
static bool a64_system_short(uint32_t word, struct patas__insn *insn)
{
    uint32_t rt = a64_bits(word, 0, 5);

    if (a64_bits(word, 16, 8) == 0x23) /* tstart, ttest */
        return a64_bits(word, 12, 4) == 3 && a64_bits(word, 5, 3) == 3 &&
               a64_bits(word, 9, 3) == 0;
    if (a64_bits(word, 21, 3))
        return false;
    switch (a64_bits(word, 12, 4)) {
    case 1: /* wfet, wfit */
        return a64_bits(word, 16, 3) == 3 && a64_bits(word, 6, 6) == 0;
    case 2:
        return a64_bits(word, 16, 3) == 3 && a64_hint(word, insn);
    case 3:
        return a64_bits(word, 16, 3) == 3 && a64_is_barrier(word);
    case 4: /* msr (immediate), cfinv, xaflag, axflag, smstart */
        return rt == PATAS__A64_ZR;
    default:
        return false;
    }
}

/* sysp, mrrs and msrr: of an even register and the next. There is no syslp. */
static bool a64_is_pair(uint32_t word)
{
    if (a64_bits(word, 19, 2) != 1)
        return !(word & 1);
    return !(word & 1u << 21) &&
           (!(word & 1) || a64_bits(word, 0, 5) == PATAS__A64_ZR);
}

static bool a64_system(uint32_t word, struct patas__insn *insn)
{
    if (word & 1u << 23)
        return false;
    if (a64_bits(word, 19, 2) && word & 1u << 22)
        return a64_is_pair(word);
    if (a64_bits(word, 19, 2))
        return true; /* sys, sysl, msr, mrs */
    return a64_system_short(word, insn);
}

/* br, blr, ret, eret and what authenticates first. */
static bool a64_branch_register(uint32_t word, struct patas__insn *insn)
{
    uint32_t op3 = a64_bits(word, 10, 6); /* 2, 3: keys A and B */
    bool plain = op3 == 0 && a64_bits(word, 0, 5) == 0;
    bool keyed = op3 == 2 || op3 == 3;
    bool zero = keyed && a64_bits(word, 0, 5) == PATAS__A64_ZR;
    bool none = a64_bits(word, 5, 5) == PATAS__A64_ZR;

    if (a64_bits(word, 16, 5) != 0x1f)
        return false;
    switch (a64_bits(word, 21, 4)) {
    case 0: /* br, braaz, brabz */
        return (plain || zero) && a64_flow(insn, PATAS__FLOW_JUMP);
    case 8: /* braa, brab */
        return keyed && a64_flow(insn, PATAS__FLOW_JUMP);
    case 1: /* blr, blraaz, blrabz */
        a64_form(insn, PATAS__A64_BLR);
        return (plain || zero) && a64_flow(insn, PATAS__FLOW_CALL);
    case 9: /* blraa, blrab */
        a64_form(insn, PATAS__A64_BLR);
        return keyed && a64_flow(insn, PATAS__FLOW_CALL);
    case 2: /* ret; retaa; retaasppcr, which takes the address from xm */
        return (plain || (keyed && none)) && a64_flow(insn, PATAS__FLOW_RETURN);
    case 4: /* eret, eretaa, eretab */
        return none && (plain || zero) && a64_flow(insn, PATAS__FLOW_RETURN);
    case 5: /* drps */
        return none && plain && a64_flow(insn, PATAS__FLOW_RETURN);
    default:
        return false;
    }
}

static bool a64_branch(uint32_t word, struct patas__insn *insn)
{
    bool link = word >> 31;

    switch (a64_bits(word, 29, 2)) {
    case 0: /* b, bl */
        return a64_target(insn, link ? PATAS__A64_BL : PATAS__A64_B,
                          link ? PATAS__FLOW_CALL : PATAS__FLOW_JUMP,
                          a64_offset(word, 0, 26, 4));
    case 1:
        if (word & 1u << 25)
            return a64_target(insn, PATAS__A64_TBZ, PATAS__FLOW_BRANCH,
                              a64_offset(word, 5, 14, 4));
        return a64_target(insn, PATAS__A64_CBZ, PATAS__FLOW_BRANCH,
                          a64_offset(word, 5, 19, 4));
    case 2:
        if (!(word >> 31))
            return !(word & 1u << 25) && a64_conditional(word, insn);
        if (word & 1u << 25)
            return a64_branch_register(word, insn);
        return word & 1u << 24 ? a64_system(word, insn)
                               : a64_exception(word, insn);
    default:
        return !(word & 1u << 25) && a64_compare(word, insn);
    }
}

/* ---- the others -------------------------------------------------------- */

static bool a64_load(uint32_t word, struct patas__insn *insn)
{
    /* cpyp, cpym, cpye, setp ... (FEAT_MOPS) stand in a row: an exception in
     * a later one may set the PC to where the first must be (C6.2, CPYFP). */
    if ((word & 0x3b200c00) == 0x19000400)
        return a64_form(insn, PATAS__A64_FIXED);
    if ((word & 0x3b000000) != 0x18000000)
        return true;
    if ((word & 0xc4000000) == 0xc4000000) /* a SIMD prefetch: unallocated */
        return false;
    return a64_operand(insn, PATAS__A64_LITERAL,
                       insn->address + a64_offset(word, 5, 19, 4));
}

/* paciasppc and its kin sign x30 by their own address (FEAT_PAuth_LR). */
static bool a64_register(uint32_t word, struct patas__insn *insn)
{
    switch (word) {
    case 0xdac1a3fe: /* paciasppc */
    case 0xdac1a7fe: /* pacibsppc */
        insn->landing_pad = true;
        return a64_form(insn, PATAS__A64_FIXED);
    case 0xdac183fe: /* pacnbiasppc */
    case 0xdac187fe: /* pacnbibsppc */
        return a64_form(insn, PATAS__A64_FIXED);
    default:
        return true;
    }
}

static bool a64_any(uint32_t word, struct patas__insn *insn)
{
    switch (a64_bits(word, 25, 4)) {
    case 0:
        if (word >> 31) /* SME */
            return true;
        /* udf; zeros are #0, and may be data */
        return word <= 0xffff && a64_flow(insn, PATAS__FLOW_STOP);
    case 1:
    case 3:
        return false;
    case 4:
    case 6:
    case 12:
    case 14:
        return a64_load(word, insn);
    case 5:
    case 13:
        return a64_register(word, insn);
    case 8:
    case 9:
        return a64_immediate(word, insn);
    case 10:
    case 11:
        return a64_branch(word, insn);
    default: /* SVE, floating point, SIMD */
        return true;
    }
}

bool patas__a64_decode(const uint8_t *bytes, size_t size, uint64_t address,
                       struct patas__insn *insn)
{
    __builtin_memset(insn, 0, sizeof *insn);
    insn->address = address;
    if (size < PATAS__A64_SIZE || address % PATAS__A64_SIZE ||
        !a64_any(patas__load32(bytes), insn))
        return false;
    insn->length = PATAS__A64_SIZE;
    return true;
}
