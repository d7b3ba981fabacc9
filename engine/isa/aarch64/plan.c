/* SPDX-License-Identifier: MIT */
/*
 * The forms of a patch on AArch64.
 *
 *     one instruction   e     b stub           one aligned store of 4 bytes:
 *                                              nobody can be inside it
 *                       e     bti c, paciasp   where the processor checks that
 *                       e+4   b stub           indirect calls land on a pad
 *     permanent trap    e     brk
 *
 * Behind a pad the jump may be reached by a loop, which means the function's
 * second instruction and not the function; then only the trap is left, on
 * which an indirect call may land, too (Arm ARM D8.4.6, Branch Target
 * exceptions: all but BRK, HLT and the pads).
 */
#include "plan.h"
#include "aarch64.h"

#define A64P_BRK    0xd4200000u
#define A64P_NUMBER 0x7061u /* "pa": another one than debuggers use */
#define A64P_IPS    (1u << 16 | 1u << 17)

/* ---- functions of another convention --------------------------------------
 */

static uint32_t a64_bit(uint32_t word, unsigned at)
{
    return 1u << (word >> at & 31);
}

/* The same for loads and stores. */
static void a64_access_uses(uint32_t word, uint32_t *reads, uint32_t *writes)
{
    bool pair = (word & 0x3a000000) == 0x28000000;
    bool literal = (word & 0x3b000000) == 0x18000000;
    bool indexed = (word & 0x3b200000) == 0x38200000; /* or atomic */
    bool simd = word >> 26 & 1;
    bool load = pair ? word >> 22 & 1 : word >> 22 & 3;
    uint32_t moved = a64_bit(word, 0) | (pair ? a64_bit(word, 10) : 0);

    *reads = literal ? 0 : a64_bit(word, 5);
    if (indexed)
        *reads |= a64_bit(word, 16);
    if (simd)
        return;
    if (literal || load)
        *writes = moved;
    else
        *reads |= moved;
}

/* ... and for what has two operands or three in registers: of conditional
 * compares and of `rmif` the second may be a number. */
static uint32_t a64_operands(uint32_t word)
{
    bool number = (word & 0x1fe00800) == 0x1a400800 || /* ccmp, ccmn */
                  (word & 0x1fe07c00) == 0x1a000400;   /* rmif */
    bool three = (word & 0x1f000000) == 0x1b000000;    /* madd */

    return a64_bit(word, 5) | (number ? 0 : a64_bit(word, 16)) |
           (three ? a64_bit(word, 10) : 0);
}

/* The general registers that an instruction may read and surely writes, as far
 * as x16 and x17 are concerned. C4.1: the groups by bits 25 to 28. */
static void a64_uses(uint32_t word, uint32_t *reads, uint32_t *writes)
{
    const uint32_t rd = a64_bit(word, 0), rn = a64_bit(word, 5);
    const uint32_t rm = a64_bit(word, 16);
    const unsigned group = word >> 25 & 15;

    *reads = *writes = 0;
    if ((group & 14) == 8) { /* data processing, immediate */
        bool movk = (word & 0x7f800000) == 0x72800000;
        bool wide = (word & 0x1f800000) == 0x12800000;
        bool adr = (word & 0x1f000000) == 0x10000000;
        bool extr = (word & 0x1f800000) == 0x13800000;
        *writes = rd;
        *reads = movk ? rd : wide || adr ? 0 : extr ? rn | rm : rn;
    } else if ((group & 5) == 4) {
        a64_access_uses(word, reads, writes);
    } else if ((group & 7) == 5) { /* data processing, register */
        *reads = a64_operands(word);
        *writes = rd;
    } else if ((word & 0xfe000000) == 0xd6000000) { /* br, blr, ret */
        *reads = rn;
    } else if ((word & 0x7c000000) == 0x34000000) { /* cbz, tbz */
        *reads = rd;
    }
}

/*
 * A stub may lose x16, since any linker's veneer may; but what is no function
 * of the AAPCS64 may have been given something there: the loader's resolver,
 * outlined parts of functions. Such code reads it first.
 */
static bool a64_wants_ip(const struct patas__survey *survey, uint64_t *trouble)
{
    uint32_t written = 0;

    for (unsigned at = 0; at + PATAS__A64_SIZE <= survey->size;
         at += PATAS__A64_SIZE) {
        uint32_t word = patas__load32(survey->bytes + at), reads, writes;
        struct patas__insn insn;

        if (at >= survey->room ||
            !survey->isa->decode(survey->bytes + at, survey->size - at,
                                 survey->entry + at, &insn))
            return false;
        a64_uses(word, &reads, &writes);
        if (reads & ~written & A64P_IPS) {
            *trouble = survey->entry + at;
            return true;
        }
        written |= writes;
        if (insn.flow != PATAS__FLOW_NEXT)
            return false;
    }
    return false;
}

/* ---- the forms -------------------------------------------------------------
 */

static unsigned a64_plan_one(const struct patas__survey *survey,
                             struct patas__plan *plan, uint64_t *trouble)
{
    if (survey->at && survey->enters >> survey->at & 1) {
        *trouble = survey->entry + survey->at;
        return PATAS_REASON_BRANCH_IN;
    }
    if (survey->room < survey->at + PATAS__A64_SIZE)
        return PATAS_REASON_TOO_SHORT;
    plan->want = survey->at + PATAS__A64_SIZE;
    return PATAS_REASON_NONE;
}

static unsigned a64_plan_permanent(unsigned flags, struct patas__plan *plan)
{
    if (flags & PATAS_STRICT)
        return PATAS_REASON_STRICT;
    if (!(flags & PATAS_ALLOW_TRAP))
        return PATAS_REASON_TRAP_NOT_ALLOWED;
    plan->at = 0;
    plan->want = PATAS__A64_SIZE;
    return PATAS_REASON_NONE;
}

unsigned patas__a64_plan(const struct patas__survey *survey, unsigned flags,
                         unsigned unit, struct patas__plan *plan,
                         uint64_t *trouble)
{
    (void)unit; /* the smallest one will do */
    plan->written = plan->owned = PATAS__A64_SIZE;
    plan->reach.origin = (uintptr_t)survey->entry;
    if (a64_wants_ip(survey, trouble))
        return PATAS_REASON_CONVENTION;
    if (plan->form == PATAS_FORM_ONE_INSTRUCTION)
        return a64_plan_one(survey, plan, trouble);
    if (plan->form == PATAS_FORM_PERMANENT_TRAP)
        return a64_plan_permanent(flags, plan);
    return PATAS_REASON_LIMIT;
}

unsigned patas__a64_form_bytes(unsigned form, uint64_t at, uint64_t to,
                               uint8_t trap, uint8_t bytes[8])
{
    (void)trap;
    if (form == PATAS_FORM_PERMANENT_TRAP)
        patas__store32(bytes, A64P_BRK | A64P_NUMBER << 5);
    else
        patas__a64_put_jump(bytes, at, to);
    return PATAS__A64_SIZE;
}
